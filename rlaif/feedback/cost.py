"""What missing requests cost: tokens read and written, seconds by this machine's measured rates, money by set prices.

Tokens are counted by the model's own tokenizer. Of very many requests all characters are counted, and tokens only of
a part, in runs of neighbours so that what they share is seen; the part gives the tokens per character.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rlaif.engines.base import Request
from rlaif.engines.counting import PromptCounter
from rlaif.engines.order import prefix_order
from rlaif.numbers.prefix import common_prefix, prefix_tree_tokens

_TOKENISED = 4_000  # requests at the most: a few seconds
_NEIGHBOURS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What this machine measured: seconds per call by stage, seconds of loading by model. Absent: never measured."""

    per_call_s: Mapping[str, float]
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


def count_prompt_tokens(requests: Sequence[Request], counter: PromptCounter) -> tuple[int, int]:
    """(tokens of all prompts, tokens of their prefix tree)."""
    ordered = prefix_order(requests)
    part = neighbours(ordered, _TOKENISED)
    tokens = [counter.tokens(request) for request in part]
    exact = sum(map(len, tokens)), prefix_tree_tokens(tokens)
    if len(part) == len(ordered):
        return exact
    (all_read, all_new), (read, new) = characters(ordered), characters(part)
    return round(exact[0] * all_read / read), round(exact[1] * all_new / new)


def characters(ordered: Sequence[Request]) -> tuple[int, int]:
    """(characters of all prompts, those a prompt does not share with the one before it), of prompts in prefix order."""
    texts = ["\n".join(message.content for message in request.messages) for request in ordered]
    new = [len(text) - common_prefix(before, text) for before, text in pairwise(["", *texts])]
    return sum(map(len, texts)), sum(new)


def neighbours(ordered: Sequence[Request], most: int) -> list[Request]:
    """At most about `most` of the requests in whole runs of neighbours, evenly over all of them."""
    if len(ordered) <= most:
        return list(ordered)
    runs = [ordered[start : start + _NEIGHBOURS] for start in range(0, len(ordered), _NEIGHBOURS)]
    wanted = max(1, most // _NEIGHBOURS)
    taken = [runs[number * len(runs) // wanted] for number in range(wanted)]
    return [request for run in taken for request in run]


def bill(
    stage: str,
    model: str,
    requests: Sequence[Request],
    *,
    counter: PromptCounter | None,
    expected: Output,
    name: str,
    rates: Rates,
    prices: Prices,
) -> Bill:
    """What these requests cost. `name` is the stage as timings name it; nothing to ask needs no counter."""
    prompt, shared = count_prompt_tokens(requests, counter) if counter else (0, 0)
    output = round(len(requests) * expected.per_call)
    per_call = rates.per_call_s.get(name)
    return Bill(
        stage=stage,
        model=model,
        calls=len(requests),
        prompt_tokens=prompt,
        shared_tokens=shared,
        output_tokens=output,
        is_output_measured=expected.is_measured,
        seconds=_seconds(len(requests), per_call),
        money=money(prompt, output, prices),
    )


def _seconds(calls: int, per_call_s: float | None) -> float | None:
    if calls == 0:
        return 0.0
    return None if per_call_s is None else calls * per_call_s


def money(prompt_tokens: int, output_tokens: int, prices: Prices) -> float | None:
    """None where no price is set; a price that is not set counts nothing beside one that is."""
    if prices.prompt is None and prices.output is None:
        return None
    return (prompt_tokens * (prices.prompt or 0.0) + output_tokens * (prices.output or 0.0)) / 1e6
