"""What a principle with a check says of two answers. Computed from the texts alone, so never asked and never stored.

Each answer is scored by itself, and the better score wins outright:

    P(x ≻ y) = 1 where x scores higher, 0 where y does, 0.5 where both score alike (a tie)

The size of the difference does not enter: a score says how far an answer passes, not how sure that is, and checks that
give 1 or 0 should not weigh more than those with grades. How far a check can move a label is its `weight`, and
`pairs.probability_floor` bounds it as it bounds a judge. Without a score for one of the two there is no verdict, and
the reason is kept. Both places show the same probability, because there is no order to be shown in.
"""

from collections.abc import Sequence
from functools import lru_cache

from pydantic import TypeAdapter

from rlaif.checks import Check, Scored, Unscored, describe, score
from rlaif.constitution import Constitution, Principle
from rlaif.records import PrincipleVerdict, Prompt, Response, ResponsePair

_CHECK: TypeAdapter[Check] = TypeAdapter(Check)


def check_verdicts(pair: ResponsePair, constitution: Constitution) -> list[PrincipleVerdict]:
    """The verdicts of the checks that apply to the pair's prompt, in the constitution's order."""
    return [check_verdict(pair, principle) for principle in constitution.checked_for_tags(pair.prompt.tags)]


def check_verdict(pair: ResponsePair, principle: Principle) -> PrincipleVerdict:
    """One check on one pair."""
    x, y = (score_answer(principle, pair.prompt, response) for response in (pair.x, pair.y))
    silent = next((one for one in (x, y) if isinstance(one, Unscored)), None)
    probability = None
    if isinstance(x, Scored) and isinstance(y, Scored):
        probability = 0.5 if x.value == y.value else float(x.value > y.value)
    return PrincipleVerdict(
        principle_id=principle.id,
        outcome=silent.outcome if silent else ("tie" if probability == 0.5 else "ok"),
        probability=probability,
        shown_first=probability,
        shown_second=probability,
        weight=principle.weight,
        reason=silent.reason if silent else "",
    )


def what_was_found(pair: ResponsePair, principle: Principle) -> str:
    """A check's verdict in words, with x as response A: the reason where a check decided."""
    assert principle.check is not None
    said = []
    for letter, response in zip("AB", (pair.x, pair.y), strict=True):
        found = score_answer(principle, pair.prompt, response)
        said.append(
            f"response {letter} {found.value:g}" if isinstance(found, Scored) else f"response {letter} no score"
        )
    probability = check_verdict(pair, principle).probability
    follows = "neither follows" if probability in (None, 0.5) else f"response {'A' if probability else 'B'} follows"
    return f"The check {describe(principle.check)} gives {said[0]} and {said[1]}, so {follows} the principle better."


def score_answer(principle: Principle, prompt: Prompt, response: Response) -> Scored | Unscored:
    """How one answer does under a principle's check."""
    assert principle.check is not None
    return _score(principle.check.model_dump_json(), prompt, response.text)


def in_order(verdicts: Sequence[PrincipleVerdict], constitution: Constitution) -> tuple[PrincipleVerdict, ...]:
    """Judged and computed verdicts together, in the order the constitution has their principles."""
    place = {principle.id: i for i, principle in enumerate(constitution.principles)}
    return tuple(sorted(verdicts, key=lambda verdict: place[verdict.principle_id]))


@lru_cache(maxsize=1 << 14)
def _score(check: str, prompt: Prompt, text: str) -> Scored | Unscored:
    """An answer meets several others, and is scored once."""
    conversation = [message.as_dict() for message in prompt.messages]
    return score(_CHECK.validate_json(check), text, reference=prompt.reference, conversation=conversation)
