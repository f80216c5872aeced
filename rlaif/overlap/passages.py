"""Passages of benchmarks inside other texts: a run of n words of a benchmark example that stands in a text as well.

As in GPT-3 (Brown et al. 2020, arXiv:2005.14165, appendix C): words without case and punctuation, runs of 13 words;
examples shorter than that count whole, down to 8 words, and still shorter ones cannot be looked for and are counted.
Runs shared by many examples are the benchmark's own boilerplate ("choose the correct answer from the following ...")
and count for nothing; GPT-3 ignored runs found in more than 10 documents.

A run found is evidence that a text was copied. None found is no proof of the contrary: paraphrases and translations
pass (Yang et al. 2023, arXiv:2311.04850).
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from rlaif.overlap.words import runs, words_of

RUN_WORDS = 13
FEWEST_WORDS = 8
MOST_EXAMPLES = 10


@dataclass(frozen=True, slots=True)
class Match:
    """What a text shares with benchmark examples: the first shared run, whose it is, and the share of the text's runs
    of that length that are shared."""

    example: str
    run: str
    share: float


class Passages:
    """The runs of benchmark examples, ready to be looked up. Examples are (name, text); names go into findings."""

    def __init__(self, examples: Iterable[tuple[str, str]], *, run_words: int = RUN_WORDS) -> None:
        if run_words < 1:
            raise ValueError(f"a run has words, not {run_words}")
        self.run_words = run_words
        self.num_examples = 0
        self.num_too_short = 0
        owners: dict[bytes, list[str]] = defaultdict(list)
        lengths: set[int] = set()
        for name, text in examples:
            words = words_of(text)
            self.num_examples += 1
            if len(words) < min(FEWEST_WORDS, run_words):
                self.num_too_short += 1
                continue
            length = min(len(words), run_words)
            lengths.add(length)
            for key in {_key(run) for run in runs(words, length)}:
                if len(owners[key]) <= MOST_EXAMPLES:
                    owners[key].append(name)
        self._owner = {key: names[0] for key, names in owners.items() if len(names) <= MOST_EXAMPLES}
        self.num_common = len(owners) - len(self._owner)
        self._lengths = sorted(lengths, reverse=True)

    def find(self, text: str) -> Match | None:
        """What this text shares with an example; the longest runs are looked for first."""
        words = words_of(text)
        for length in self._lengths:
            if length > len(words):
                continue
            own = runs(words, length)
            shared = [(run, owner) for run in own if (owner := self._owner.get(_key(run))) is not None]
            if shared:
                return Match(shared[0][1], shared[0][0], len(shared) / len(own))
        return None


def _key(run: str) -> bytes:
    return hashlib.blake2b(run.encode("utf-8", "surrogatepass"), digest_size=16).digest()
