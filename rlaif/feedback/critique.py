"""Critiques: the judge's reasons in words for the pairs of the dataset, under the principle that weighed most.

They are written after the label and stay out of it; what is said here never changes a probability. Where that
principle has a check, nobody is asked: what the check found is the reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rlaif.constitution import Constitution, Principle
from rlaif.engines.base import Completion, Failure, ModelIdentity, Request, Sampling
from rlaif.engines.thinking import cut_reason
from rlaif.feedback.ask import Asking, Requests, Value
from rlaif.feedback.check_verdicts import what_was_found
from rlaif.feedback.judge import Comparison, comparison_messages
from rlaif.feedback.keys import CRITIQUE_VERSION, ComparisonKeys
from rlaif.identity import digest
from rlaif.records import Critique, Outcome, Pair, ResponsePair
from rlaif.settings import JudgeSettings
from rlaif.templates import Template


def deciding_principle(pair: Pair) -> str:
    """The id of the principle with the largest share for the chosen response (the first by id among equals)."""
    return max(sorted(pair.shares), key=lambda name: pair.shares[name])


@dataclass(frozen=True, slots=True)
class CritiqueStage:
    """The critic's requests. `places` says which comparison a key stands for, `computed` what checks say, by pair."""

    asking: Asking
    places: Mapping[str, Comparison]
    computed: Mapping[str, Critique]

    def attach(self, pairs: Sequence[Pair], values: Mapping[str, Value]) -> tuple[Pair, ...]:
        """The same pairs, each with its critique."""
        written = {place[0].id: _critique(key, place, values[key]) for key, place in self.places.items()}
        all_of_them = written | dict(self.computed)
        return tuple(replace(pair, critique=all_of_them[pair.id]) for pair in pairs)


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
    computed: dict[str, Critique] = {}
    for pair in pairs:
        x, y = sorted((pair.chosen, pair.rejected), key=lambda response: response.id)
        own, principle = ResponsePair(pair.prompt, x, y), principles[deciding_principle(pair)]
        if principle.check is None:
            places[key_of[principle.id](x, y, pair.prompt.messages)] = (own, principle, x, y)
        else:
            computed[pair.id] = _found(own, principle)
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
    return CritiqueStage(asking, places, computed)


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


def _found(pair: ResponsePair, principle: Principle) -> Critique:
    """A critique that is computed."""
    return Critique(
        key=digest({"found": principle.judging_content(), "pair": pair.id}),
        pair_id=pair.id,
        first_id=pair.x.id,
        second_id=pair.y.id,
        principle_id=principle.id,
        outcome="ok",
        text=what_was_found(pair, principle),
    )


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
