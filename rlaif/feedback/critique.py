"""Critiques: the judge's reasons in words for the pairs of the dataset, under the principle that weighed most.

They are written after the label and stay out of it; what is said here never changes a probability.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rlaif.constitution import Constitution, Principle
from rlaif.engines.base import Completion, Failure, ModelIdentity, Request, Sampling
from rlaif.feedback.ask import Asking, Session, Value, ask
from rlaif.feedback.judge import comparison_messages
from rlaif.feedback.keys import CRITIQUE_VERSION, comparison_key
from rlaif.feedback.progress import Progress
from rlaif.records import Critique, Outcome, Pair, Response, ResponsePair
from rlaif.settings import JudgeSettings
from rlaif.store import Store
from rlaif.templates import Template

Place = tuple[str, Response, Response, Principle]  # the key, the responses in the order shown, what is asked about


def deciding_principle(pair: Pair) -> str:
    """The id of the principle with the largest share for the chosen response (the first by id among equals)."""
    return max(sorted(pair.shares), key=lambda name: pair.shares[name])


@dataclass(frozen=True, slots=True)
class CritiqueStage:
    """The critic's requests. `places` says, by pair, the key and what is shown under it."""

    asking: Asking
    places: Mapping[str, Place]


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
    what = {"critique": CRITIQUE_VERSION, "max_tokens": settings.critique_max_tokens}
    requests: dict[str, Request] = {}
    places: dict[str, Place] = {}
    for pair in pairs:
        x, y = sorted((pair.chosen, pair.rejected), key=lambda response: response.id)
        principle = principles[deciding_principle(pair)]
        key = comparison_key(what, x, y, principle.judging_content(), template, identity)
        messages = comparison_messages(template, ResponsePair(pair.prompt, x, y), principle, x, y)
        requests[key] = Request(id=key, messages=messages, sampling=Sampling(max_tokens=settings.critique_max_tokens))
        places[pair.id] = (key, x, y, principle)
    asking = Asking(
        name=f"critique with {settings.model}",
        kind="critiques",
        requests=requests,
        read=_value,
        outcome=lambda value: value["outcome"],
    )
    return CritiqueStage(asking, places)


def with_critiques(
    pairs: Sequence[Pair],
    constitution: Constitution,
    settings: JudgeSettings,
    *,
    template: Template,
    session: Session,
    store: Store,
    progress: Progress,
) -> tuple[Pair, ...]:
    """The same pairs, each with a critique."""
    stage = critique_stage(pairs, constitution, settings, template=template, identity=session.model.identity)
    values = ask(stage.asking, session=session, store=store, progress=progress)
    return tuple(replace(pair, critique=_critique(pair.id, *stage.places[pair.id], values)) for pair in pairs)


def _value(answer: Completion | Failure) -> Value:
    if isinstance(answer, Failure):
        outcome: Outcome = "failed" if answer.kind == "failed" else "refused"
        return {"outcome": outcome, "text": "", "reason": answer.reason}
    if answer.finish_reason == "length":
        outcome, reason = "truncated", f"cut after {answer.output_tokens} tokens"
    elif not answer.text.strip():
        outcome, reason = "abstained", "empty critique"
    else:
        outcome, reason = "ok", ""
    return {
        "outcome": outcome,
        "text": answer.text.strip(),
        "reason": reason,
        "prompt_tokens": answer.prompt_tokens,
        "output_tokens": answer.output_tokens,
    }


def _critique(
    pair_id: str, key: str, first: Response, second: Response, principle: Principle, values: dict[str, Value]
) -> Critique:
    value = values[key]
    return Critique(
        key=key,
        pair_id=pair_id,
        first_id=first.id,
        second_id=second.id,
        principle_id=principle.id,
        outcome=value["outcome"],
        text=value["text"],
        reason=value["reason"],
    )
