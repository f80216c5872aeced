"""What missing requests cost: tokens read and written, seconds by this machine's measured rates, money by set prices.

Tokens are counted by the model's own tokenizer. Of very many requests only a part is rendered, and of that only a part
is put into tokens; both parts are runs of neighbours, so that what requests share is seen. The tokens per character
come from the smaller part, the characters per request from the larger.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from rlaif.engines.base import Request
from rlaif.engines.counting import PromptCounter
from rlaif.engines.order import prefix_order, request_turns
from rlaif.numbers.prefix import common_prefix, prefix_tree_tokens

T = TypeVar("T")

_RENDERED = 400_000  # requests, about: some ten seconds
_CALL = 5.0
_WRITTEN = 5.0
_TOKENISED = 4_000  # requests, about: a few seconds
_NEIGHBOURS = 100  # requests of a run that is tokenised
_LONG_RUN = 5_000  # of one that is rendered: long beside one prompt's requests, whose run it may cut


def effort(calls: int, read_tokens: int, output_tokens: int) -> float:
    """How much work this is for a model, as if all of it were tokens to read.

    A call has a cost of its own, and a token written costs more than one read. How much more differs between machines;
    what a machine measured sets the scale, and these two set only how that carries over to work of another mixture.
    """
    return _CALL * calls + read_tokens + _WRITTEN * output_tokens


@dataclass(frozen=True, slots=True)
class Rate:
    """Seconds per `effort`. `reads_once`: the engine computes a beginning that prompts share only once."""

    seconds: float
    reads_once: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What this machine measured: rates by stage, seconds of loading by model. Absent: never measured."""

    by_stage: Mapping[str, Rate]
    loading_s: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Per million tokens; None where none is set."""

    prompt: float | None
    output: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """One stage of one model. `shared_tokens` are what is read when every shared beginning is read once."""

    stage: str
    model: str
    calls: int
    prompt_tokens: int
    shared_tokens: int
    output_tokens: int
    is_output_measured: bool
    seconds: float | None
    money: float | None


@dataclass(frozen=True, slots=True)
class Output:
    """Tokens of an answer on average; measured on stored answers, or guessed."""

    per_call: float
    is_measured: bool


class TokenCount:
    """Tokens of all prompts of a stage (`prompt`) and of their prefix trees (`shared`), block after block."""

    def __init__(self, counter: PromptCounter, num_blocks: int = 1) -> None:
        self._counter = counter
        self._rendered, self._tokenised = _RENDERED // num_blocks, _TOKENISED // num_blocks
        self.prompt = self.shared = 0

    def add(self, requests: Mapping[str, Request], keys: Sequence[str]) -> None:
        """The requests with these keys, which stand in the order of their stage: neighbours are alike."""
        rendered = neighbours(keys, self._rendered, _LONG_RUN)
        prompt, shared = self._count(prefix_order(requests[key] for key in rendered))
        self.prompt += round(prompt * len(keys) / len(rendered))
        self.shared += round(shared * len(keys) / len(rendered))

    def _count(self, ordered: Sequence[Request]) -> tuple[float, float]:
        part = neighbours(ordered, self._tokenised, _NEIGHBOURS)
        tokens = [self._counter.tokens(request) for request in part]
        exact = sum(map(len, tokens)), prefix_tree_tokens(tokens)
        if len(part) == len(ordered):
            return exact
        (all_read, all_new), (read, new) = characters(ordered), characters(part)
        return exact[0] * all_read / read, exact[1] * all_new / new


def characters(ordered: Sequence[Request]) -> tuple[int, int]:
    """(characters of all prompts, those a prompt does not share with the one before it), of prompts in prefix order."""
    texts = ["\n".join(text for _, text in request_turns(request)) for request in ordered]
    new = [len(text) - common_prefix(before, text) for before, text in pairwise(["", *texts])]
    return sum(map(len, texts)), sum(new)


def neighbours(ordered: Sequence[T], most: int, length: int) -> Sequence[T]:
    """At most about `most` of them in whole runs of `length`, evenly over all."""
    if len(ordered) <= most:
        return ordered
    runs = [ordered[start : start + length] for start in range(0, len(ordered), length)]
    wanted = max(1, most // length)
    taken = [runs[number * len(runs) // wanted] for number in range(wanted)]
    return [one for run in taken for one in run]


def bill(
    stage: str,
    model: str,
    calls: int,
    *,
    tokens: tuple[int, int],
    expected: Output,
    rate: Rate | None,
    prices: Prices,
) -> Bill:
    """What these calls cost. `tokens`: of all prompts, and of their prefix trees."""
    output = round(calls * expected.per_call)
    prompt, shared = tokens
    seconds = None
    if rate or not calls:
        seconds = rate.seconds * effort(calls, shared if rate.reads_once else prompt, output) if rate else 0.0
    return Bill(
        stage=stage,
        model=model,
        calls=calls,
        prompt_tokens=prompt,
        shared_tokens=shared,
        output_tokens=output,
        is_output_measured=expected.is_measured,
        seconds=seconds,
        money=money(prompt, output, prices),
    )


def money(prompt_tokens: int, output_tokens: int, prices: Prices) -> float | None:
    """None where no price is set; a price that is not set counts nothing beside one that is."""
    if prices.prompt is None and prices.output is None:
        return None
    return (prompt_tokens * (prices.prompt or 0.0) + output_tokens * (prices.output or 0.0)) / 1e6
