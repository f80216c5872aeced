"""An engine without a model: every answer is a pure function of its request, and faults come on demand.

For tests, for documentation, and for dry runs of a constitution on a machine without anything: the whole road runs in
seconds and twice the same. What an answer says is made up from the request's content (never its id, its place or the
clock), or by rules handed in; how a request fails is decided by `Faults`.

    ScriptedEngine(rules=[prefer(lambda text: "sorry" in text)])
    ScriptedEngine(faults=Faults(failed=0.1, abstain=0.05, crash_after=100))

Reached from settings with `kind: scripted`; the model's name is then part of every answer, so two names disagree.
"""

import hashlib
import math
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rlaif.engines.base import Answer, Closing, Completion, EngineCounters, Failure, FailureKind, ModelIdentity, Request
from rlaif.engines.order import request_turns
from rlaif.engines.prepare import too_long
from rlaif.engines.thinking import split_unknown
from rlaif.errors import EngineCrashed
from rlaif.identity import digest

Rule = Callable[[Request], "str | Sequence[float] | None"]
"""What to answer: a text, the probabilities of the choices, or None to leave it to the next rule."""

_TEXT = """the answer says what is known and what is not it helps with the question and stays kind short plain honest
some would add an example here others would stop and ask first because the request leaves room for doubt"""
_WORDS = tuple(_TEXT.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Trouble on demand. Shares are of all requests, drawn by content; `by_id` names requests one by one.

    `failed`, `refused`: failures as values. `truncated`: text that ends with "length". `abstain`: nearly all
    probability outside the choices. `unparsed`: text that holds no answer. `crash_after`: the engine dies when it has
    given that many answers. `delay_s`: seconds each answer takes.
    """

    failed: float = 0.0
    refused: float = 0.0
    truncated: float = 0.0
    abstain: float = 0.0
    unparsed: float = 0.0
    by_id: Mapping[str, FailureKind] = field(default_factory=dict)
    crash_after: int | None = None
    delay_s: float = 0.0


class ScriptedEngine(Closing):
    """`calls` holds every request it was asked, in order: what a test counts."""

    def __init__(
        self,
        model: str = "scripted",
        *,
        rules: Sequence[Rule] = (),
        faults: Faults | None = None,
        max_model_len: int = 32_768,
    ) -> None:
        self.model = model
        self.max_model_len = max_model_len
        self.calls: list[Request] = []
        self._rules, self._faults = tuple(rules), faults or Faults()
        self._counted = EngineCounters(computed_tokens=0)

    @property
    def identity(self) -> ModelIdentity:
        return scripted_identity(self.model)

    def complete(self, requests: Iterable[Request]) -> Iterator[Answer]:
        for request in requests:
            if self._faults.crash_after is not None and len(self.calls) >= self._faults.crash_after:
                raise EngineCrashed(
                    f"the scripted engine crashed after {len(self.calls)} answers, as told", do="Run it again to go on."
                )
            self.calls.append(request)
            if self._faults.delay_s:
                time.sleep(self._faults.delay_s)
            answer = self._answer(request)
            self._count(answer)
            yield answer

    def counters(self) -> EngineCounters:
        return self._counted

    def close(self) -> None:
        """Nothing to give back; `calls` stays readable."""

    def _answer(self, request: Request) -> Answer:
        prompt_tokens = sum(len(text.split()) + 1 for _, text in request_turns(request))
        if prompt_tokens + 1 > self.max_model_len:
            return too_long(request, prompt_tokens, self.max_model_len)
        kind = self._failure_kind(request)
        if kind is not None:
            return Failure(request_id=request.id, kind=kind, reason=f"{kind}, as told", prompt_tokens=prompt_tokens)
        said = next((found for rule in self._rules if (found := rule(request)) is not None), None)
        if request.choices:
            return self._verdict(request, prompt_tokens, said)
        return self._text(request, prompt_tokens, said)

    def _failure_kind(self, request: Request) -> FailureKind | None:
        if request.id in self._faults.by_id:
            return self._faults.by_id[request.id]
        if self._draw(request, "failed") < self._faults.failed:
            return "failed"
        if self._draw(request, "refused") < self._faults.refused:
            return "refused"
        return None

    def _verdict(self, request: Request, prompt_tokens: int, said: object) -> Completion:
        if said is None or isinstance(said, str):
            weights = [0.02 + self._draw(request, f"choice {choice}") for choice in request.choices]
            covered = 0.999
            probabilities = [covered * weight / math.fsum(weights) for weight in weights]
        else:
            probabilities = [float(value) for value in said]  # type: ignore[attr-defined]  # a sequence, by Rule
            if len(probabilities) != len(request.choices):
                raise ValueError(f"a rule gave {len(probabilities)} probabilities for {len(request.choices)} choices")
        if self._draw(request, "abstain") < self._faults.abstain:
            probabilities = [value * 0.01 for value in probabilities]
        return Completion(
            request_id=request.id,
            text="",
            finish_reason="stop",
            prompt_tokens=prompt_tokens,
            output_tokens=1,
            choice_logprobs=tuple(math.log(value) if value > 0 else -math.inf for value in probabilities),
            uncovered=max(0.0, 1.0 - math.fsum(probabilities)),
            choice_method="first_token",
        )

    def _text(self, request: Request, prompt_tokens: int, said: object) -> Completion:
        words = said.split() if isinstance(said, str) else self._made_up(request)
        text = said if isinstance(said, str) else " ".join(words).capitalize() + "."
        limit = request.sampling.max_tokens
        is_cut = len(words) > limit
        if self._draw(request, "truncated") < self._faults.truncated:
            limit, is_cut = max(1, min(limit, len(words) // 2)), True
        if self._draw(request, "unparsed") < self._faults.unparsed:
            text, is_cut = "I would rather talk about something else.", False
        split = split_unknown(" ".join(words[:limit]) if is_cut else text, may_be_opened=False)
        return Completion(
            request_id=request.id,
            text=split.text,
            finish_reason="length" if is_cut else "stop",
            prompt_tokens=prompt_tokens,
            output_tokens=min(len(words), limit),
            thinking=split.thinking,
            is_thinking_open=split.is_open,
        )

    def _made_up(self, request: Request) -> list[str]:
        draw = random.Random(self._draw(request, "text"))  # noqa: S311  # made-up words, not a secret
        return draw.choices(_WORDS, k=draw.randint(6, 36))

    def _draw(self, request: Request, what: str) -> float:
        """A number in [0, 1) that depends on what is asked and on `what`; a greedy request has no seed in it."""
        seed = request.sampling.seed if request.sampling.temperature > 0 else None
        asked = [self.model, what, seed, *request_turns(request)]
        return int.from_bytes(hashlib.sha256(repr(asked).encode()).digest()[:7], "big") / 2**56

    def _count(self, answer: Answer) -> None:
        before = self._counted
        output = answer.output_tokens if isinstance(answer, Completion) else 0
        self._counted = EngineCounters(
            requests=before.requests + 1,
            prompt_tokens=before.prompt_tokens + answer.prompt_tokens,
            computed_tokens=(before.computed_tokens or 0) + answer.prompt_tokens,
            output_tokens=before.output_tokens + output,
        )


def scripted_identity(model: str) -> ModelIdentity:
    """The identity of a scripted model: its name is all it is."""
    return ModelIdentity(
        name=model, weights=digest({"scripted": model}), chat_template=digest({"scripted": ""}), dtype="none"
    )


def prefer(is_good: Callable[[str], bool], *, probability: float = 0.9) -> Rule:
    """A judge's rule: prefer the answer that is good; where both or neither are, 0.5.

    It applies to requests with two choices whose text shows both answers between tags, as the judge's template does.
    """

    def rule(request: Request) -> Sequence[float] | None:
        shown = shown_answers(request)
        if shown is None or len(request.choices) != 2:
            return None
        good = [is_good(text) for text in shown]
        if good[0] == good[1]:
            return (0.5, 0.5)
        return (probability, 1 - probability) if good[0] else (1 - probability, probability)

    return rule


def shown_answers(request: Request) -> tuple[str, str] | None:
    """The two answers a judging request shows between <response_a> and <response_b> tags; None where it shows none."""
    text = "\n".join(message.content for message in request.messages)
    found = [re.search(rf"<response_{name}>\n(.*?)\n</response_{name}>", text, re.DOTALL) for name in "ab"]
    first, second = found
    return (first[1], second[1]) if first and second else None
