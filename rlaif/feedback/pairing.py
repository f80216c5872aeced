"""Which answers can be compared: the distinct, complete answers to one prompt, two at a time.

Two equal answers are one response, and an empty or cut answer is no fair opponent: none of these reaches the judge,
and each is counted.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from rlaif.feedback.sample import Sample
from rlaif.records import Prompt, Response, ResponsePair


@dataclass(frozen=True, slots=True)
class Pairing:
    """The comparable pairs, in the order of the prompts, and what did not become one."""

    pairs: tuple[ResponsePair, ...]
    left_out: dict[str, int]


def pair_up(samples: Iterable[Sample]) -> Pairing:
    """All pairs of distinct answers to each prompt. `left_out` counts answers, and prompts with fewer than two."""
    by_prompt: dict[str, tuple[Prompt, dict[str, Response]]] = {}
    left_out: Counter[str] = Counter()
    for sample in samples:
        _, responses = by_prompt.setdefault(sample.prompt.id, (sample.prompt, {}))
        if sample.response is None:
            left_out[f"answer {sample.outcome}"] += 1
        elif sample.response.id in responses:
            left_out["answer equal to another"] += 1
        else:
            responses[sample.response.id] = sample.response
    pairs: list[ResponsePair] = []
    for prompt, responses in by_prompt.values():
        if len(responses) < 2:
            left_out["prompt with fewer than two different answers"] += 1
        pairs.extend(_all_pairs(prompt, sorted(responses.values(), key=lambda response: response.id)))
    return Pairing(tuple(pairs), dict(left_out))


def _all_pairs(prompt: Prompt, responses: Sequence[Response]) -> list[ResponsePair]:
    return [ResponsePair(prompt, x, y) for x, y in combinations(responses, 2)]
