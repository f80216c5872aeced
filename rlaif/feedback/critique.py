"""Critiques: the judge's reasons in words for the pairs of the dataset, under the principle that weighed most.

They are written after the label and stay out of it; what is said here never changes a probability.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rlaif.constitution import Constitution
from rlaif.engines.base import Completion, Failure, ModelIdentity, Request, Sampling
from rlaif.engines.thinking import cut_reason
from rlaif.feedback.ask import Asking, Requests, Value
from rlaif.feedback.judge import Comparison, comparison_messages
from rlaif.feedback.keys import CRITIQUE_VERSION, ComparisonKeys
from rlaif.records import Critique, Outcome, Pair, ResponsePair
from rlaif.settings import JudgeSettings
from rlaif.templates import Template


def deciding_principle(pair: Pair) -> str:
    """The id of the principle with the largest share for the chosen response (the first by id among equals)."""
    return max(sorted(pair.shares), key=lambda name: pair.shares[name])


@dataclass(frozen=True, slots=True)
class CritiqueStage:
    """The critic's requests. `places` says which comparison a key stands for."""

    asking: Asking
    places: Mapping[str, Comparison]

    def attach(self, pairs: Sequence[Pair], values: Mapping[str, Value]) -> tuple[Pair, ...]:
        """The same pairs, each with its critique."""
        written = {place[0].id: _critique(key, place, values[key]) for key, place in self.places.items()}
        return tuple(replace(pair, critique=written[pair.id]) for pair in pairs)


def critique_stage(
    pairs: Sequence[Pair],
    constitution: Constitution,
    settings: JudgeSettings,
    *,
    template: Template,
    identity: ModelIdentity,
) -> CritiqueStage:
    """What is asked about the dataset's pairs. The responses are shown in the order of their ids, not of the label."""
    principles = {principle.id: principle for principle in constitution.principles}
    keys = ComparisonKeys(
        {"critique": CRITIQUE_VERSION, "max_tokens": settings.critique_max_tokens}, template, identity
    )
    key_of = {name: keys.under(principle.judging_content()) for name, principle in principles.items()}
    places: dict[str, Comparison] = {}
    for pair in pairs:
        x, y = sorted((pair.chosen, pair.rejected), key=lambda response: response.id)
        name = deciding_principle(pair)
        places[key_of[name](x, y, pair.prompt.messages)] = (ResponsePair(pair.prompt, x, y), principles[name], x, y)
    sampling = Sampling(max_tokens=settings.critique_max_tokens)
    asking = Asking(
        name=f"critique with {settings.model}",
        kind="critiques",
        requests=Requests(
            places,
            lambda key, place: Request(id=key, messages=comparison_messages(template, *place), sampling=sampling),
        ),
        read=_value,
        outcome=lambda value: value["outcome"],
    )
    return CritiqueStage(asking, places)


def _value(answer: Completion | Failure) -> Value:
    if isinstance(answer, Failure):
        outcome: Outcome = "failed" if answer.kind == "failed" else "refused"
        return {"outcome": outcome, "text": "", "reason": answer.reason}
    if cut := cut_reason(answer):
        outcome, reason = "truncated", cut
    elif not answer.text.strip():
        outcome, reason = "abstained", "empty critique"
    else:
        outcome, reason = "ok", ""
    return {
        "outcome": outcome,
        "text": answer.text.strip(),
        **({"thinking": answer.thinking} if answer.thinking else {}),
        "reason": reason,
        "prompt_tokens": answer.prompt_tokens,
        "output_tokens": answer.output_tokens,
    }


def _critique(key: str, place: Comparison, value: Value) -> Critique:
    pair, principle, first, second = place
    return Critique(
        key=key,
        pair_id=pair.id,
        first_id=first.id,
        second_id=second.id,
        principle_id=principle.id,
        outcome=value["outcome"],
        text=value["text"],
        reason=value["reason"],
    )
