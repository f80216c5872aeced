"""Judging: every pair, under every principle that applies to it, in both orders; one principle per request.

The verdict is not text. It is the log-probability of each choice at the first position of the judge's answer, read by
token id (`rlaif/engines/choices.py`). What is stored are those numbers; whether they amount to a verdict is decided
on reading, so that a threshold can change without asking again.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rlaif.constitution import Constitution, Principle
from rlaif.engines.base import Completion, Failure, ModelIdentity, Request, Sampling
from rlaif.errors import SettingsError, TemplateError
from rlaif.feedback.ask import Asking, Requests, Value
from rlaif.feedback.keys import VERDICT_VERSION, ComparisonKeys
from rlaif.feedback.principles_drawn import principles_asked
from rlaif.numbers.pooling import choice_probability
from rlaif.records import Judgment, Message, Outcome, Response, ResponsePair
from rlaif.settings import JudgeSettings, Settings
from rlaif.templates import Template, render_conversation

Comparison = tuple[ResponsePair, Principle, Response, Response]  # the pair, and its responses in the order shown


@dataclass(frozen=True, slots=True)
class JudgeStage:
    """The judge's requests. `places` says which comparison a key stands for."""

    asking: Asking
    places: Mapping[str, Comparison]
    min_covered: float

    def judgments(self, values: Mapping[str, Value]) -> dict[str, list[Judgment]]:
        """The judgments of the values there are, by pair: principles in the constitution's order, x first, then y."""
        judgments: dict[str, list[Judgment]] = defaultdict(list)
        for key, place in self.places.items():
            if key in values:
                judgments[place[0].id].append(verdict_judgment(key, place, values[key], self.min_covered))
        return dict(judgments)


def judge_stage(
    pairs: Sequence[ResponsePair],
    constitution: Constitution,
    settings: JudgeSettings,
    *,
    template: Template,
    identity: ModelIdentity,
) -> JudgeStage:
    """What the judge is asked about these pairs. No model is needed to know it."""
    if len(template.choices) != 2:
        raise TemplateError(
            f"template {template.name!r} has {len(template.choices)} choices.",
            do="A comparison needs two, e.g. `choices: [A, B]`: the response shown first, and the one shown second.",
        )
    what = {"verdict": VERDICT_VERSION}
    keys = ComparisonKeys(what, template, identity)
    key_of = {principle.id: keys.under(principle.judging_content()) for principle in constitution.enabled}
    places: dict[str, Comparison] = {}
    for pair in pairs:
        for principle in principles_asked(pair, constitution, settings):
            for first, second in ((pair.x, pair.y), (pair.y, pair.x)):
                key = key_of[principle.id](first, second, pair.prompt.messages)
                places[key] = (pair, principle, first, second)
    sampling = Sampling(max_tokens=1)
    asking = Asking(
        name=f"judge with {settings.model}",
        kind="judgments",
        requests=Requests(
            places,
            lambda key, place: Request(
                id=key, messages=comparison_messages(template, *place), sampling=sampling, choices=template.choices
            ),
        ),
        read=verdict_value,
        outcome=lambda value: read_verdict(value, settings.min_covered)[0],
    )
    return JudgeStage(asking, places, settings.min_covered)


def refuse_several_judges(settings: Settings, what: str) -> None:
    """SettingsError where it is not one judge that compares all pairs, which `what` rests on."""
    if settings.judges.others:
        raise SettingsError(
            f"judges.others names further judges, but `{what}` asks `judge` alone.",
            do="Add --set 'judges.others=[]' to ask it alone; what others stored stays.",
        )
    if settings.schedule.kind != "all":
        raise SettingsError(
            f"schedule.kind is {settings.schedule.kind!r}, but `{what}` compares all pairs.",
            do="Add --set schedule.kind=all for it.",
        )


def count_judgments(pairs: Sequence[ResponsePair], constitution: Constitution, settings: JudgeSettings) -> int:
    """How many judgments these pairs need: both orders of every principle that applies, or of as many as are drawn."""
    most = settings.principles_per_pair or len(constitution.principles)
    return sum(2 * min(most, len(constitution.judged_for_tags(pair.prompt.tags))) for pair in pairs)


def comparison_messages(
    template: Template, pair: ResponsePair, principle: Principle, first: Response, second: Response
) -> tuple[Message, ...]:
    """The one message a judge sees: what is shared between requests first, the principle last."""
    text = template.render(
        conversation=render_conversation(pair.prompt.messages),
        response_a=first.text,
        response_b=second.text,
        principle=principle_block(principle),
        question=principle.question or "",
    )
    return (Message("user", text),)


def principle_block(principle: Principle) -> str:
    """A principle as the judge reads it: its text, then its examples."""
    lines = [principle.text]
    for example in principle.examples:
        lines += ["", f"Example. {example.conversation}", f"A: {example.response_a}", f"B: {example.response_b}"]
        lines.append(f"Better: {example.better}." + (f" {example.why}" if example.why else ""))
    return "\n".join(lines)


def verdict_value(answer: Completion | Failure) -> Value:
    """What is kept of an answer. A log-probability of minus infinity has no JSON number and is kept as null."""
    if isinstance(answer, Failure):
        return {"outcome": "failed" if answer.kind == "failed" else "refused", "reason": answer.reason}
    if answer.choice_logprobs is None:
        return {"outcome": "failed", "reason": "the engine gave no log-probabilities"}
    first, second = (value if math.isfinite(value) else None for value in answer.choice_logprobs)
    return {
        "logprob_a": first,
        "logprob_b": second,
        "uncovered": answer.uncovered,
        "choice_method": answer.choice_method,
        "prompt_tokens": answer.prompt_tokens,
        "output_tokens": answer.output_tokens,
    }


def read_verdict(value: Value, min_covered: float) -> tuple[Outcome, str, float | None]:
    """(outcome, reason, P(the response shown first is better)) of a stored value. No probability, no verdict."""
    if "outcome" in value:
        return value["outcome"], value["reason"], None
    logprob_a, logprob_b = (-math.inf if value[name] is None else value[name] for name in ("logprob_a", "logprob_b"))
    covered = math.exp(logprob_a) + math.exp(logprob_b)
    if covered < min_covered or covered == 0.0:
        return "abstained", f"only {covered:.3f} of the probability is on the choices", None
    return ("tie" if logprob_a == logprob_b else "ok"), "", choice_probability(logprob_a, logprob_b)


def verdict_judgment(key: str, place: Comparison, value: Value, min_covered: float) -> Judgment:
    pair, principle, first, second = place
    outcome, reason, probability = read_verdict(value, min_covered)
    return Judgment(
        key=key,
        pair_id=pair.id,
        first_id=first.id,
        second_id=second.id,
        principle_id=principle.id,
        outcome=outcome,
        reason=reason,
        logprob_a=value.get("logprob_a"),
        logprob_b=value.get("logprob_b"),
        probability_a=probability,
        uncovered=value.get("uncovered"),
        choice_method=value.get("choice_method"),
        prompt_tokens=value.get("prompt_tokens", 0),
        output_tokens=value.get("output_tokens", 0),
    )
