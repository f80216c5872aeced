"""Texts that say nearly the same as an earlier one.

Two texts are compared by the Jaccard similarity of their sets of word runs (shingles; Broder 1997, "On the resemblance
and containment of documents"). Candidates come from MinHash signatures in bands (datasketch), so n texts are not
compared n² times; every candidate is then compared exactly, so the sketch can miss a duplicate and cannot invent one.
The bands are set so that a pair exactly at the threshold is found with a probability of at least 0.99.

The first of several is kept, and only kept texts have duplicates: from a to b to c the wording may drift, and c is
judged by its likeness to a.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rlaif.overlap.words import runs, words_of

NUM_HASHES = 128
RECALL = 0.99  # of pairs exactly at the threshold; more alike ones are found more surely
_COMPARE_ALL = 64  # texts up to which comparing everything with everything is cheaper than sketches


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Text number `index` is like the earlier text number `of`. `is_exact`: they are equal, character by character."""

    index: int
    of: int
    similarity: float
    is_exact: bool


def find_duplicates(texts: Sequence[str], *, threshold: float, shingle_words: int = 3) -> list[Duplicate]:
    """The texts whose likeness to an earlier, kept text is at least the threshold, each with the one most like it.

    `threshold` is in (0, 1]; at 1 the words must have the same runs. Usual: 0.7 to 0.9.
    """
    if not 0.0 < threshold <= 1.0 or shingle_words < 1:
        raise ValueError(f"a threshold is in (0, 1] and a shingle has words, not {threshold} and {shingle_words}")
    shingles = [_shingles(text, shingle_words) for text in texts]
    kept = _AllKept() if len(texts) <= _COMPARE_ALL else _Banded(threshold)
    found: list[Duplicate] = []
    for index, own in enumerate(shingles):
        alike = [(jaccard(own, shingles[other]), -other) for other in kept.near(own)]
        similarity, of = max(alike, default=(0.0, 0))
        if similarity >= threshold:
            found.append(Duplicate(index, -of, similarity, texts[index] == texts[-of]))
        else:
            kept.add(index, own)
    return found


def jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    """The share of what either has that both have."""
    return len(one & other) / len(one | other)


def bands_for(threshold: float, num_hashes: int = NUM_HASHES) -> tuple[int, int]:
    """(bands, rows) with the most rows, and so the fewest false candidates, that still find what they must.

    Two sets of similarity s agree in one band of r rows with probability s^r, and in at least one of b bands with
    1 - (1 - s^r)^b (Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", section 3.4.2).
    """
    enough = [
        rows
        for rows in range(1, num_hashes // 2 + 1)
        if 1.0 - (1.0 - threshold**rows) ** (num_hashes // rows) >= RECALL
    ]
    rows = max(enough, default=1)
    return num_hashes // rows, rows


class _AllKept:
    """Few texts: every kept one is a candidate."""

    def __init__(self) -> None:
        self._kept: list[int] = []

    def near(self, shingles: frozenset[str]) -> Iterator[int]:
        return iter(self._kept)

    def add(self, index: int, shingles: frozenset[str]) -> None:
        self._kept.append(index)


class _Banded:
    """Many texts: candidates are those whose signatures agree in a band. The seed is fixed, so findings are, too."""

    def __init__(self, threshold: float) -> None:
        from datasketch import MinHash, MinHashLSH

        self._empty = MinHash(num_perm=NUM_HASHES, seed=1)
        self._index = MinHashLSH(num_perm=NUM_HASHES, params=bands_for(threshold))
        self._last: tuple[frozenset[str], MinHash] | None = None

    def near(self, shingles: frozenset[str]) -> Iterator[int]:
        signature = self._empty.copy()
        signature.update_batch([shingle.encode() for shingle in shingles])
        self._last = shingles, signature
        return iter(sorted(self._index.query(signature)))

    def add(self, index: int, shingles: frozenset[str]) -> None:
        assert self._last is not None  # a text is looked up before it is kept
        assert self._last[0] is shingles
        self._index.insert(index, self._last[1])


def _shingles(text: str, num_words: int) -> frozenset[str]:
    """Never empty: a text without words stands for itself, marks and all."""
    return frozenset(runs(words_of(text), num_words)) or frozenset([f"\0{text.strip()}"])
