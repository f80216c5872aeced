"""Pairs that others made from known rules (ICAI's synthetic sets): of all rules tried, the known ones come out on top.

The rules are written down here as patterns, beside others that the pairs were not made from; a *simulated* judge has an
opinion where a pattern is found in one of the two answers alone. Whose votes: the published preferences, themselves
simulated by a rule. 30, 30 and 60 pairs of 3, 3 and 6 prompts: values, without intervals.

What no figure can tell apart is a rule and its shadow: in the aligned set, the answers that begin with "The" are the
truthful ones, and their preferences follow that rule as exactly as the ones they were made from. It stands by itself.
"""

import csv
import re

import numpy as np
import pytest

from rlaif.numbers.figures import Estimate
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
}
SHADOW = r"\A\s*The\b"


def opinions(pattern: str, pairs) -> np.ndarray:
    """P(a is better) of a simulated judge that follows the pattern; NaN where it is in both answers or in neither."""
    found = np.array([[re.search(pattern, text, re.DOTALL) is not None for text in pair] for pair in pairs])
    return np.where(found[:, 0] == found[:, 1], np.nan, np.where(found[:, 0], 0.9, 0.1))


def read(name: str, rules) -> WeightedVotes:
    with (folder("icai_synthetic") / name).open(newline="") as file:
        rows = list(csv.DictReader(file))
    texts = [tuple(row[f"text_{side}"].partition("Output:") for side in "ab") for row in rows]
    pairs = [(a[2], b[2]) for a, b in texts]
    return WeightedVotes(
        names=tuple(rules),
        probabilities=np.stack([opinions(pattern, pairs) for pattern in rules.values()], axis=1),
        weights=np.ones(len(rules)),
        people=np.array([float(row["preferred_text"] == "text_a") for row in rows]),
        codes=np.unique([a[0] for a, _ in texts], return_inverse=True)[1],
    )


@pytest.mark.parametrize("name", SETS)
def test_the_rules_that_the_pairs_were_made_from_come_out_on_top(name):
    found = principle_figures(read(name, {**SETS[name], **OTHERS}), num_resamples=100)
    known = set(SETS[name])
    strengths = {one: figures["strength"] for one, figures in found.by_principle.items()}
    spoken = sorted((one for one in strengths if isinstance(strengths[one], Estimate)),
                    key=lambda one: -strengths[one].value)  # fmt: skip
    assert set(spoken[: len(known)]) == known
    assert set(found.order[-len(known) :]) == known
    assert all(found.by_principle[one]["kappa"].value == 1.0 for one in known)


def test_the_shadow_of_a_rule_is_as_good_as_the_rule():
    name = "synthetic_data_aligned_vqvtb.csv"
    found = principle_figures(read(name, {**ALIGNED, "begins with the": SHADOW}), num_resamples=100)
    assert found.by_principle["begins with the"]["kappa"].value == 1.0
    assert found.by_principle["begins with the"]["kappa"].n == 17
