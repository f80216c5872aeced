"""How many labels are enough: by hand, and by labelling simulated pairs."""

import numpy as np
import pytest

from rlaif.numbers.bootstrap import cluster_bootstrap
from rlaif.numbers.figures import NotDefined
from rlaif.numbers.intervals import estimate, mean_measure
from rlaif.numbers.sample_size import Resemblance, pairs_needed, variance_of_mean, vote_correlations


def labelled(generator, prompts, pairs_per_prompt=4, people=3):
    """Votes whose rate has a prompt's and a pair's own part: 0.7 on average."""
    of_prompt = generator.beta(0.7 * 6, 0.3 * 6, prompts).repeat(pairs_per_prompt)
    of_pair = generator.beta(of_prompt * 4, (1 - of_prompt) * 4)
    votes = (generator.random((len(of_pair), people)) < of_pair[:, None]).astype(float)
    return votes, np.arange(prompts).repeat(pairs_per_prompt)


def test_independent_votes_are_the_textbooks():
    """0.03 at p = 1/2: (1.96 / 0.03)² / 4 = 1,067.1; Student's t asks for two more."""
    assert pairs_needed(0.03, Resemblance(0.5, 0.0, 0.0)) in range(1068, 1073)


def test_the_variance_by_hand():
    """p = 0.8, 10 pairs, 2 people, 5 pairs to a prompt: 0.16 / 20 · (1 + 0.5 + 2 · 4 · 0.1) = 0.0184."""
    found = Resemblance(0.8, 0.5, 0.1)
    assert variance_of_mean(found, pairs=10, people=2, pairs_per_prompt=5) == pytest.approx(0.0184)


def test_votes_that_all_go_together_count_once():
    alone = pairs_needed(0.05, Resemblance(0.6, 1.0, 1.0))
    together = pairs_needed(0.05, Resemblance(0.6, 1.0, 1.0), people=3, pairs_per_prompt=4)
    assert together == pytest.approx(4 * alone, abs=4)


def test_correlations_are_those_that_were_planted():
    """Beta rates: a prompt's part is 1 / 7 of the variance; of the rest a pair's part is 1 / 5."""
    found = vote_correlations(*labelled(np.random.default_rng(0), 20_000))
    assert found.rate == pytest.approx(0.7, abs=0.01)
    assert found.same_prompt == pytest.approx(1 / 7, abs=0.01)
    assert found.same_pair == pytest.approx(1 / 7 + 6 / 7 / 5, abs=0.01)


@pytest.mark.parametrize(("people", "pairs_per_prompt"), [(1, 1), (3, 4)])
def test_the_foretold_number_gives_the_wanted_half_width_within_a_tenth(people, pairs_per_prompt):
    generator = np.random.default_rng(people)
    wanted = 0.04
    pilot, clusters = labelled(generator, 5000, pairs_per_prompt, people)
    pairs = pairs_needed(wanted, vote_correlations(pilot, clusters), people=people, pairs_per_prompt=pairs_per_prompt)
    widths = []
    for run in range(30):
        votes, prompts = labelled(generator, round(pairs / pairs_per_prompt), pairs_per_prompt, people)
        figure = estimate(cluster_bootstrap(prompts, num_resamples=999, seed=run), mean_measure(votes.mean(axis=1)))
        widths.append((figure.high - figure.low) / 2)
    assert np.mean(widths) == pytest.approx(wanted, rel=0.1)


def test_what_cannot_be_foretold_is_refused():
    assert isinstance(vote_correlations(np.full((3, 2), np.nan), np.arange(3)), NotDefined)
    assert isinstance(vote_correlations(np.ones((3, 2)), np.arange(3)), NotDefined)
    with pytest.raises(ValueError, match="half_width"):
        pairs_needed(0.7, Resemblance(0.5, 0.0, 0.0))
