"""Which answers can be compared: the distinct, complete answers to one prompt, two at a time.

Two answers that are equal, white space at their ends aside, are one, and an empty or cut answer is no fair opponent:
none of these reaches the judge, and each is counted. Answers that say nearly the same can be left out likewise, or be
counted only: of several the first drawn stays, so that drawing more never takes away one that has been judged.
"""

from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from rlaif.feedback.sample import Sample
from rlaif.overlap import find_duplicates
from rlaif.records import Prompt, Response, ResponsePair

NEAR_DUPLICATE = "answer near-duplicate of another"


@dataclass(frozen=True, slots=True)
class Pairing:
    """The comparable pairs, in the order of the prompts, and what did not become one."""

    pairs: tuple[ResponsePair, ...]
    left_out: dict[str, int]


def pair_up(
    samples: Iterable[Sample], *, likeness: float | None = None, stand_ins: Container[str] = frozenset()
) -> Pairing:
    """All pairs of distinct answers to each prompt. `left_out` counts answers, and prompts with fewer than two.

    With a `likeness`, an answer that is at least so like one before it is left out. `stand_ins` are the ids of
    responses whose text is not their own: they are like no other.
    """
    left_out: Counter[str] = Counter()
    pairs: list[ResponsePair] = []
    for prompt, responses in _by_prompt(samples, left_out):
        alike = frozenset() if likeness is None else _alike(responses, likeness, stand_ins)
        apart = [response for response in responses if response.id not in alike]
        left_out[NEAR_DUPLICATE] += len(alike)
        left_out["prompt with fewer than two different answers"] += len(apart) < 2
        pairs.extend(_all_pairs(prompt, sorted(apart, key=lambda response: response.id)))
    return Pairing(tuple(pairs), {reason: count for reason, count in left_out.items() if count})


def count_near_duplicates(samples: Iterable[Sample], likeness: float, stand_ins: Container[str] = frozenset()) -> int:
    """How many answers `pair_up` would leave out for their likeness."""
    return sum(len(_alike(own, likeness, stand_ins)) for _, own in _by_prompt(samples, Counter()))


def _by_prompt(samples: Iterable[Sample], left_out: Counter[str]) -> list[tuple[Prompt, list[Response]]]:
    """The distinct answers to each prompt as they were drawn; what is none is counted."""
    by_prompt: dict[str, tuple[Prompt, dict[str, Response]]] = {}
    for sample in samples:
        _, responses = by_prompt.setdefault(sample.prompt.id, (sample.prompt, {}))
        if sample.response is None:
            left_out[f"answer {sample.outcome}"] += 1
        elif (said := sample.response.text.strip()) in responses:
            left_out["answer equal to another"] += 1
        else:
            responses[said] = sample.response
    return [(prompt, list(responses.values())) for prompt, responses in by_prompt.values()]


def _alike(responses: Sequence[Response], likeness: float, stand_ins: Container[str]) -> frozenset[str]:
    """The ids of the answers that say nearly the same as one before them."""
    own = [response for response in responses if response.id not in stand_ins]
    found = find_duplicates([response.text for response in own], threshold=likeness)
    return frozenset(own[one.index].id for one in found)


def _all_pairs(prompt: Prompt, responses: Sequence[Response]) -> list[ResponsePair]:
    return [ResponsePair(prompt, x, y) for x, y in combinations(responses, 2)]
