"""Pairs that others made from known rules (ICAI's synthetic sets): of all rules tried, the known ones come out on top.

The rules are written down here as patterns, beside others that the pairs were not made from; a *simulated* judge has an
opinion where a pattern is found in one of the two answers alone. Whose votes: the published preferences, themselves
simulated by a rule. 30, 30 and 60 pairs of 3, 3 and 6 prompts: values, without intervals.
"""

import csv
import re

import numpy as np
import pytest

from rlaif.numbers.principle_figures import principle_figures
from rlaif.numbers.weighted_votes import WeightedVotes
from tests.parity.published_data import folder

ORTHOGONAL = {"cats": r"(?i)\bcats?\b", "blue": r"(?i)\bblue\b", "lemon": r"(?i)\blemon\b"}
ALIGNED = {
    "truthful": r"\A(?!.*\bParis\b)",
    "names a place": r"(?i)\b(Bath|Edinburgh|Lake District|Cornwall|Isle|Wales|Scotland|Cotswolds|London|York)\b",
    "willing": r"(?i)of course",
}
SETS = {
    "synthetic_data_orthogonal_adcbg.csv": ORTHOGONAL,
    "synthetic_data_aligned_vqvtb.csv": ALIGNED,
    "synthetic_data_mixed_vqvtb_adcbg.csv": {**ORTHOGONAL, **ALIGNED},
}
OTHERS = {
    "exclaims": r"!",
    "says cheers": r"Cheers",
    "gives a reason": r"(?i)\bbecause\b|\bdue to\b",
    "addresses the reader": r"(?i)\byou(r|'re)?\b",
    "has a comma": r",",
    "refreshing": r"(?i)refreshing",
    "once upon a time": r"(?i)once upon a time",
    "many words": r"(\S+\s+){25}",
    "begins with the": r"\A\s*The\b",
}


def opinions(pattern: str, pairs) -> np.ndarray:
    """P(a is better) of a simulated judge that follows the pattern; NaN where it is in both answers or in neither."""
    found = np.array([[re.search(pattern, text, re.DOTALL) is not None for text in pair] for pair in pairs])
    return np.where(found[:, 0] == found[:, 1], np.nan, np.where(found[:, 0], 0.9, 0.1))


def read(name: str) -> WeightedVotes:
    with (folder("icai_synthetic") / name).open(newline="") as file:
        rows = list(csv.DictReader(file))
    texts = [tuple(row[f"text_{side}"].partition("Output:") for side in "ab") for row in rows]
    pairs = [(a[2], b[2]) for a, b in texts]
    rules = {**SETS[name], **OTHERS}
    return WeightedVotes(
        names=tuple(rules),
        probabilities=np.stack([opinions(pattern, pairs) for pattern in rules.values()], axis=1),
        weights=np.ones(len(rules)),
        people=np.array([float(row["preferred_text"] == "text_a") for row in rows]),
        codes=np.unique([a[0] for a, _ in texts], return_inverse=True)[1],
    )


@pytest.mark.parametrize("name", SETS)
def test_the_rules_that_the_pairs_were_made_from_come_out_on_top(name):
    votes = read(name)
    found = principle_figures(votes, num_resamples=100)
    known = set(SETS[name])
    by_worth = list(reversed(found.order))
    strengths = {one: figures["strength"].value for one, figures in found.by_principle.items()
                 if hasattr(figures["strength"], "value")}  # fmt: skip
    by_strength = sorted(strengths, key=lambda one: -strengths[one])
    assert set(by_worth[: len(known)]) == known
    assert set(by_strength[: len(known)]) == known
    for one in known:
        assert found.by_principle[one]["kappa"].value > 0.8
