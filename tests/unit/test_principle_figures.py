"""Which principle: Shapley values against all orders, figures against labels made anew, planted weights found again."""

from itertools import permutations

import numpy as np
import pytest
from scipy import special, stats
from sklearn.metrics import cohen_kappa_score

from benchmarks.principles import HARMFUL, KNOWN, harm_run, order_run, simulate
from rlaif.feedback.aggregate import label_verdicts
from rlaif.numbers.bootstrap import cluster_bootstrap
from rlaif.numbers.figures import Estimate, NotDefined
from rlaif.numbers.logistic import fit_logistic
from rlaif.numbers.pooling import pooled
from rlaif.numbers.principle_figures import principle_figures
from rlaif.numbers.shapley import shapley_sides
from rlaif.numbers.weighed_columns import weigh_columns
from rlaif.numbers.weighted_votes import WeightedVotes, sides
from rlaif.records import Message, PrincipleVerdict, Prompt, Response, ResponsePair
from rlaif.settings import LabelSettings

# --- Shapley


def parts_with_ties(seed, rows, width):
    """Small integers: sums that are exactly 0 are common, and so are silent principles."""
    return np.random.default_rng(seed).integers(-3, 4, size=(rows, width)).astype(float)


def by_all_orders(parts):
    """The definition: what each principle changes when it joins, the mean over all orders."""
    orders = list(permutations(range(len(parts))))
    found = np.zeros(len(parts))
    for order in orders:
        total = 0.0
        for place in order:
            found[place] += np.sign(total + parts[place]) - np.sign(total)
            total += parts[place]
    return found / len(orders)


def test_shapley_values_are_the_mean_over_all_orders():
    parts = parts_with_ties(0, 60, 5)
    found = shapley_sides(parts)
    assert found.orders == 0
    assert found.values == pytest.approx(np.array([by_all_orders(row) for row in parts]), abs=1e-12)


@pytest.mark.parametrize("max_cells", [1 << 26, 0], ids=["exact", "sampled"])
def test_shapley_values_add_up_to_the_side_of_the_label_and_silence_has_none(max_cells):
    parts = parts_with_ties(1, 300, 7)
    found = shapley_sides(parts, max_cells=max_cells)
    assert found.values.sum(axis=1) == pytest.approx(sides(parts.sum(axis=1)), abs=1e-12)
    assert (found.values[parts == 0] == 0).all()


def test_the_error_stated_for_sampled_shapley_values_is_the_error_they_have():
    parts = np.random.default_rng(2).normal(size=(400, 6))
    exact = shapley_sides(parts).values
    sampled = [shapley_sides(parts, seed=seed, max_cells=0) for seed in range(40)]
    weights = np.full(len(parts), 1 / len(parts))
    errors = np.array([(one.values - exact).mean(axis=0) for one in sampled])
    stated = np.mean([one.error_of_mean(weights) for one in sampled])
    assert errors.std() == pytest.approx(stated, rel=0.2)  # 240 errors: a standard deviation is known to 5 %
    assert abs(errors.mean()) < 4 * stated / np.sqrt(errors.size)


# --- regressions


def test_weights_are_maximum_likelihood_of_all_columns_and_the_penalty_says_which_are_needed():
    votes = simulate(np.random.default_rng(4), 2000, np.array([2.0, 1.0, 0.5, 0.0, 0.0, 0.0]))
    columns = {str(place): column for place, column in enumerate(votes.odds.T)}
    found, plain = weigh_columns(columns, votes.people, votes.codes), fit_logistic(columns, votes.people, votes.codes)
    assert [found.weight(name) for name in columns] == [plain.estimate(name) for name in columns]
    assert [found.is_kept(name) for name in "012"] == [True] * 3
    assert (np.abs(found.shrunk[:3]) < plain.coefficients[:3]).all()
    assert not all(found.is_kept(name) for name in "345")


def test_votes_that_are_foretold_perfectly_have_shrunken_weights_without_an_interval():
    odds = np.random.default_rng(5).normal(size=(60, 2))
    columns = {"a": odds[:, 0], "b": odds[:, 1]}
    found = weigh_columns(columns, (odds @ [2.0, 1.0] > 0).astype(float), np.arange(60))
    assert found.weight("a").value > found.weight("b").value > 0
    assert found.weight("a").low is None
    assert "foretold" in found.weight("a").because


def test_weights_in_the_judges_labels_are_those_of_the_constitution():
    weights = np.array([3.0, 1.0, 2.0, 0.5])
    everywhere = simulate(np.random.default_rng(6), 200, KNOWN[:4], weights)
    heard = np.where(everywhere.heard, everywhere.probabilities, 0.6)  # nobody is silent, so all labels weigh alike
    votes = WeightedVotes(names=("a", "b", "c", "d"), probabilities=heard, weights=weights, people=everywhere.people,
                          codes=everywhere.codes)  # fmt: skip
    found = principle_figures(votes, num_resamples=100).by_principle
    typical = np.sqrt((votes.odds**2).mean(axis=0))
    expected = weights / weights.sum() * typical
    assert [found[name]["judge_weight"].value for name in votes.names] == pytest.approx(expected, rel=1e-3)


# --- figures against labels made anew


def as_pair(number):
    prompt = Prompt(messages=(Message("user", f"Question {number}?"),))
    texts = (Response(prompt_id=prompt.id, text=text, policy="", sample_index=0, finish_reason="stop", prompt_tokens=0,
                      output_tokens=0) for text in ("one", "two"))  # fmt: skip
    return ResponsePair(prompt, *sorted(texts, key=lambda one: one.id))


def label_without(votes, row, kind, left_out=None):
    """The label as `rlaif generate` makes it, of all principles but one."""
    verdicts = tuple(
        PrincipleVerdict(principle_id=name, outcome="ok", probability=None if np.isnan(p) else float(p),
                         shown_first=None, shown_second=None, weight=float(weight), reason="")
        for name, p, weight in zip(votes.names, votes.probabilities[row], votes.weights, strict=True)
        if name != left_out
    )  # fmt: skip
    settings = LabelSettings(kind=kind)
    return label_verdicts(as_pair(0), verdicts, probability_floor=votes.floor, settings=settings).probability


def agreement_of(probabilities, people):
    """Ties, and what has no label left, are a coin's."""
    hits = [
        0.5 if p is None or p == 0.5 else s if p > 0.5 else 1 - s for p, s in zip(probabilities, people, strict=True)
    ]
    return float(np.mean(hits))


@pytest.mark.parametrize("kind", ["soft", "majority"])
def test_dropping_a_principle_is_making_the_labels_without_it(kind):
    drawn = simulate(np.random.default_rng(7), 120, HARMFUL[:4], np.array([2.0, 1.0, 0.5, 1.5]))
    votes = WeightedVotes(names=drawn.names, probabilities=drawn.probabilities, weights=drawn.weights,
                          people=drawn.people, codes=drawn.codes, kind=kind)  # fmt: skip
    rows = np.flatnonzero(votes.counted)
    found = principle_figures(votes, num_resamples=100)
    whole = agreement_of([label_without(votes, row, kind) for row in rows], votes.people[rows])
    assert found.agreement.value == pytest.approx(whole, abs=1e-12)
    for name in votes.names:
        without = agreement_of([label_without(votes, row, kind, name) for row in rows], votes.people[rows])
        assert found.by_principle[name]["drop_one"].value == pytest.approx(without - whole, abs=1e-12)


def test_the_soft_label_is_the_pool_of_its_principles():
    votes = simulate(np.random.default_rng(8), 50, KNOWN, np.arange(6.0))
    for row in range(50):
        heard = votes.heard[row] & (votes.weights > 0)
        expected = np.nan
        if heard.any():
            expected = pooled(list(votes.probabilities[row, heard]), list(votes.weights[heard]), votes.floor)[0]
        assert votes.pooled[row] == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_kappa_is_that_of_every_pair_and_its_mirror_image():
    votes = simulate(np.random.default_rng(9), 200, KNOWN)
    found = principle_figures(votes, num_resamples=100).by_principle
    for place, name in enumerate(votes.names):
        said = votes.probabilities[:, place]
        clear = np.abs(said - 0.5) > 0.05  # NaN is no opinion
        own, people = said[clear] > 0.5, votes.people[clear] > 0.5
        kappa = cohen_kappa_score(np.concatenate([own, ~own]), np.concatenate([people, ~people]))
        assert found[name]["opinion"].value == pytest.approx(clear.sum() / 200)
        assert found[name]["kappa"].value == pytest.approx(kappa)
        assert found[name]["strength"].value == pytest.approx(kappa * clear.sum() / 200)
        assert (found[name]["kappa"].n, found[name]["opinion"].n) == (clear.sum(), 200)


def test_which_answer_is_called_the_first_changes_nothing():
    votes = simulate(np.random.default_rng(16), 120, HARMFUL[:4])
    turned = np.arange(120) % 3 == 0
    other = WeightedVotes(
        names=votes.names, probabilities=np.where(turned[:, None], 1 - votes.probabilities, votes.probabilities),
        weights=votes.weights, people=np.where(turned, 1 - votes.people, votes.people), codes=votes.codes,
    )  # fmt: skip
    first, second = (principle_figures(one, num_resamples=100) for one in (votes, other))
    assert first.order == second.order
    for name in votes.names:
        for what, one in first.by_principle[name].items():
            assert second.by_principle[name][what].value == pytest.approx(one.value, abs=1e-6), what


def test_worth_adds_up_to_the_agreement_beyond_a_coin_and_shares_to_one():
    votes = simulate(np.random.default_rng(10), 300, HARMFUL)
    found = principle_figures(votes, num_resamples=200)
    sums = {what: sum(one[what].value for one in found.by_principle.values())
            for what in ("worth", "label_share", "disagreement_share")}  # fmt: skip
    assert sums["worth"] == pytest.approx(found.agreement.value - 0.5, abs=1e-12)
    assert sums["label_share"] == pytest.approx(1.0)
    assert sums["disagreement_share"] == pytest.approx(1.0)


def test_intervals_are_those_of_resampled_prompts():
    """The drop-one change and its percentile interval, by a loop that copies the rows of every resample."""
    votes = simulate(np.random.default_rng(11), 80, HARMFUL[:3])
    bootstrap = cluster_bootstrap(votes.codes, num_resamples=300, seed=5)
    found = principle_figures(votes, bootstrap=bootstrap).by_principle[votes.names[0]]["drop_one"]
    change = votes.lean * (sides(votes.sums - votes.parts[:, 0]) - sides(votes.sums))
    replicates = []
    for weights in (row for block in bootstrap.weights() for row in block):
        drawn = np.repeat(np.arange(80), weights[votes.codes])
        replicates.append(change[drawn].sum() / votes.counted[drawn].sum())
    assert found.value == pytest.approx(change.sum() / votes.counted.sum())
    assert found.low == pytest.approx(np.quantile(replicates, 0.025), abs=0.02)  # BCa moves the ends a little
    assert found.high == pytest.approx(np.quantile(replicates, 0.975), abs=0.02)


# --- what cannot be told


def test_silent_and_duplicate_principles_are_named_and_spoil_nothing():
    drawn = simulate(np.random.default_rng(12), 200, KNOWN[:3])
    silent, copied = np.full(200, np.nan), drawn.probabilities[:, 0]
    votes = WeightedVotes(
        names=("a", "b", "c", "silent", "copy"),
        probabilities=np.column_stack([drawn.probabilities, silent, copied]),
        weights=np.ones(5), people=drawn.people, codes=drawn.codes,
    )  # fmt: skip
    found = principle_figures(votes, num_resamples=100)
    assert isinstance(found.by_principle["a"]["people_weight"], Estimate)
    for name in ("silent", "copy"):
        assert "silent on every pair" in found.by_principle[name]["people_weight"].because
        assert found.kept[name] is None
    assert found.by_principle["silent"]["opinion"].value == 0.0
    assert "no opinion" in found.by_principle["silent"]["strength"].because
    assert found.by_principle["silent"]["worth"].value == 0.0


def test_without_peoples_votes_nothing_is_defined_and_nothing_fails():
    votes = simulate(np.random.default_rng(13), 20, KNOWN)
    nobody = WeightedVotes(names=votes.names, probabilities=votes.probabilities, weights=votes.weights,
                           people=np.full(20, np.nan), codes=votes.codes)  # fmt: skip
    found = principle_figures(nobody, num_resamples=100)
    assert isinstance(found.agreement, NotDefined)
    for figures in found.by_principle.values():
        assert all(isinstance(one, NotDefined) for name, one in figures.items() if name != "opinion")


def test_few_prompts_give_values_without_intervals():
    votes = simulate(np.random.default_rng(14), 10, KNOWN)
    found = principle_figures(votes, num_resamples=100)
    assert found.agreement.low is None
    assert "too few" in found.agreement.because
    assert "too few" in found.by_principle[votes.names[0]]["people_weight"].because


# --- simulated people: what was planted is found (all 200 runs: `make bench-principles`)


@pytest.mark.slow
def test_the_order_of_known_weights_is_found_again_at_500_simulated_pairs():
    runs = [order_run(seed, 500, num_resamples=100) for seed in range(20)]
    assert np.mean([one["tau"] for one in runs]) >= 0.9


@pytest.mark.slow
def test_a_planted_harmful_principle_comes_first():
    runs = [harm_run(seed, 500, num_resamples=100) for seed in range(20)]
    assert np.mean([one["harmful_first"] for one in runs]) >= 0.95


def test_simulated_people_follow_their_weights():
    votes = simulate(np.random.default_rng(15), 20_000, KNOWN)
    typical = votes.odds / np.sqrt(0.8)
    expected = special.expit(typical @ KNOWN)
    assert np.corrcoef(expected, votes.people)[0, 1] > 0.5
    slope = stats.linregress(expected, votes.people)
    assert slope.slope == pytest.approx(1.0, abs=0.05)
