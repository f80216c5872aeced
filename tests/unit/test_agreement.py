"""Agreement of two raters and of a panel, ties in three ways: against other libraries, hand and slow loops."""

import itertools

import krippendorff
import numpy as np
import pytest
from sklearn import metrics
from statsmodels.stats import inter_rater

from rlaif.numbers.accuracy import accuracy_measures
from rlaif.numbers.agreement import agreement_measures, confusion_columns, gwet_ac1, gwet_ac2, linear_weights
from rlaif.numbers.bootstrap import cluster_bootstrap
from rlaif.numbers.choices import (
    FIRST,
    MISSING,
    SECOND,
    TIE,
    choices_of_probabilities,
    one_hot,
    shares,
    shares_of_probabilities,
)
from rlaif.numbers.figures import NotDefined
from rlaif.numbers.intervals import estimates
from rlaif.numbers.panel import (
    ac2_measure,
    coincidence_columns,
    fleiss_kappa,
    gwet_columns,
    krippendorff_alpha,
    panel_measures,
)


def values(measures, rows):
    found = estimates(cluster_bootstrap(np.arange(rows), num_resamples=2), measures)
    return {name: getattr(figure, "value", None) for name, figure in found.items()}


@pytest.fixture
def raters():
    generator = np.random.default_rng(1)
    first = generator.integers(0, 3, 200)
    return first, np.where(generator.random(200) < 0.6, first, generator.integers(0, 3, 200))


# --- ties


def test_a_tie_as_a_class_as_half_a_vote_and_left_out():
    """Four pairs: both first; first and tie; both tie; second and missing."""
    one, other = np.array([FIRST, FIRST, TIE, SECOND]), np.array([FIRST, TIE, TIE, MISSING])
    expected = {"class": (2 / 3, 3), "half": ((1 + 0.5 + 0.5) / 3, 3), "drop": (1.0, 1)}
    for ties, (agreement, n) in expected.items():
        measures = agreement_measures(shares(one, ties), shares(other, ties))
        found = estimates(cluster_bootstrap(np.arange(4)), measures)["agreement"]
        assert (found.value, found.n) == (pytest.approx(agreement), n)


def test_half_votes_are_what_fair_coins_make_on_average(raters):
    first, second = raters
    generator = np.random.default_rng(2)
    sums = np.zeros(4)
    for _ in range(2000):
        one, other = (np.where(r == TIE, generator.choice([FIRST, SECOND], 200), r) for r in (first, second))
        sums += confusion_columns(shares(one, "drop"), shares(other, "drop")).sum(axis=0)
    half = confusion_columns(shares(first, "half"), shares(second, "half")).sum(axis=0)
    assert sums / 2000 == pytest.approx(half, abs=0.5)


def test_a_foreign_alphabet_is_refused():
    with pytest.raises(ValueError, match=r"outside 0 … 1 .*\[2\]"):
        one_hot(np.array([1, 2, 1]), 2)
    with pytest.raises(ValueError, match="codes of type int"):
        shares(np.array(["1", "2"]), "class")
    with pytest.raises(ValueError, match="outside"):
        shares_of_probabilities([0.2, 1.2])


def test_probabilities_become_choices_and_shares():
    given = np.array([0.9, 0.52, 0.5, 0.1, np.nan])
    assert choices_of_probabilities(given, 0.05).tolist() == [FIRST, TIE, TIE, SECOND, MISSING]
    assert shares_of_probabilities(given)[[0, 4]].tolist() == [[0.9, pytest.approx(0.1)], [0, 0]]


# --- two raters


def test_kappas_are_scikit_learns(raters):
    first, second = raters
    found = values(agreement_measures(one_hot(first, 3), one_hot(second, 3)), 200)
    for name, weights in (("cohen_kappa", None), ("linear_kappa", "linear"), ("quadratic_kappa", "quadratic")):
        assert found[name] == pytest.approx(metrics.cohen_kappa_score(first, second, weights=weights), abs=1e-12)


def test_scott_pabak_and_ac1_by_hand():
    """Table 45 15 / 25 15 of 100: agreement 0.6; habits (0.65, 0.35).

    π: chance 0.4225 + 0.1225 = 0.545, so 0.055 / 0.455. PABAK: 2 · 0.6 − 1. AC1: chance 2 · 0.65 · 0.35 = 0.455.
    """
    sums = np.array([45.0, 15, 25, 15])
    first, second = np.repeat([0, 0, 1, 1], sums.astype(int)), np.repeat([0, 1, 0, 1], sums.astype(int))
    found = values(agreement_measures(one_hot(first, 2), one_hot(second, 2)), 100)
    assert found["scott_pi"] == pytest.approx(0.055 / 0.455)
    assert found["pabak"] == pytest.approx(0.2)
    assert found["gwet_ac1"] == pytest.approx(0.145 / 0.545)
    assert found["cohen_kappa"] == pytest.approx((0.6 - (0.6 * 0.7 + 0.4 * 0.3)) / (1 - 0.54))


def test_two_raters_ac_is_the_panels_where_both_saw_everything(raters):
    votes = one_hot(np.stack(raters, axis=1), 3)
    sums = confusion_columns(votes[:, 0], votes[:, 1]).sum(axis=0)
    panel = values(panel_measures(votes), 200)
    assert gwet_ac1(sums) == pytest.approx(panel["gwet_ac1"], abs=1e-12)
    assert gwet_ac2(sums, linear_weights(3)) == pytest.approx(panel["gwet_ac2_linear"], abs=1e-12)


def test_every_statistic_of_many_tables_at_once_is_that_of_each(raters):
    first, second = (one_hot(rater, 3) for rater in raters)
    columns = confusion_columns(first, second)
    tables = np.stack([columns[:start].sum(axis=0) for start in (50, 120, 200)])
    for measure in agreement_measures(first, second).values():
        together = measure.statistic.of_sums(tables)
        assert together == pytest.approx([float(measure.statistic.of_sums(table)) for table in tables], abs=1e-15)


# --- accuracy


def test_precision_recall_and_f1_are_scikit_learns(raters):
    truth, said = raters
    found = values(accuracy_measures(one_hot(truth, 3), one_hot(said, 3)), 200)
    per_class = metrics.precision_recall_fscore_support(truth, said)
    for score, witness in zip(("precision", "recall", "f1"), per_class[:3], strict=True):
        assert [found[f"{score}/{name}"] for name in ("first", "tie", "second")] == pytest.approx(witness)
        assert found[score] == pytest.approx(witness.mean())
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(truth, said))


def test_a_class_never_said_has_no_precision_unless_the_caller_counts_it_as_nothing():
    truth, said = one_hot(np.array([0, 1, 2, 0]), 3), one_hot(np.array([0, 2, 2, 0]), 3)
    found = estimates(cluster_bootstrap(np.arange(4)), accuracy_measures(truth, said))
    assert isinstance(found["precision/tie"], NotDefined)
    assert isinstance(found["precision"], NotDefined)
    assert found["recall/tie"].value == 0
    counted = values(accuracy_measures(truth, said, missing=0.0), 4)
    witness = metrics.precision_score([0, 1, 2, 0], [0, 2, 2, 0], average="macro", zero_division=0)
    assert counted["precision"] == pytest.approx(witness)


# --- a panel

# Raw data "4 raters, 12 subjects" of Gwet 2014, as shipped with irrCAC 0.4.4; 0 is missing. Its figures there:
# Fleiss 0.76117, AC1 0.77544, α 0.74342; AC2 linear 0.85874, quadratic 0.91400; α with quadratic weights 0.84911.
GWET_RATINGS = "1101 2232 3333 3333 2222 1234 4444 1121 2222 0555 0011 0030"
# Of our own, 3 classes, fifth of the votes missing; irrCAC 0.4.4 with 12 digits.
SPARSE = "2.0 21. 102 00. 1.0 000 02. 120 010 202 .2. 111"


def gwet_votes():
    codes = np.array([[int(digit) - 1 for digit in row] for row in GWET_RATINGS.split()])
    return one_hot(codes, 5)


def sparse_codes():
    return np.array([[MISSING if digit == "." else int(digit) for digit in row] for row in SPARSE.split()])


def test_gwets_textbook_panel_with_missing_votes():
    found = values(panel_measures(gwet_votes()), 12)
    assert round(found["fleiss_kappa"], 5) == 0.76117
    assert round(found["gwet_ac1"], 5) == 0.77544
    assert round(found["gwet_ac2_linear"], 5) == 0.85874
    assert round(found["gwet_ac2_quadratic"], 5) == 0.91400


def test_a_sparse_panel_is_irrcacs():
    votes = one_hot(sparse_codes(), 3)
    found = values(panel_measures(votes) | {"linear": ac2_measure(votes, linear_weights(3))}, 12)
    assert found["fleiss_kappa"] == pytest.approx(-0.025519287834, abs=1e-11)
    assert found["gwet_ac1"] == pytest.approx(0.012289225493, abs=1e-11)
    assert found["linear"] == pytest.approx(-0.057999668355, abs=1e-11)
    assert found["gwet_ac2_quadratic"] == pytest.approx(-0.125789315425, abs=1e-11)


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_alpha_is_that_of_the_krippendorff_package(level):
    for votes, codes in ((gwet_votes(), None), (one_hot(sparse_codes(), 3), sparse_codes())):
        given = np.where(votes.any(axis=2), votes.argmax(axis=2), -1) if codes is None else codes
        witness = krippendorff.alpha(
            np.where(given == -1, np.nan, given).T, level_of_measurement=level, value_domain=range(votes.shape[2])
        )
        assert krippendorff_alpha(coincidence_columns(votes).sum(axis=0), level) == pytest.approx(witness, abs=1e-12)


def test_fleiss_is_statsmodels_where_no_vote_is_missing():
    codes = np.random.default_rng(3).choice(3, p=[0.6, 0.1, 0.3], size=(80, 5))
    table, _ = inter_rater.aggregate_raters(codes)
    found = fleiss_kappa(gwet_columns(one_hot(codes, 3)).sum(axis=0))
    assert found == pytest.approx(inter_rater.fleiss_kappa(table), abs=1e-12)


def test_agreement_of_a_panel_is_the_mean_over_pairs_of_votes():
    codes = sparse_codes()
    rates = []
    for row in codes:
        pairs = [(a, b) for a, b in itertools.combinations(row, 2) if MISSING not in (a, b)]
        if pairs:
            rates.append(np.mean([a == b for a, b in pairs]))
    found = estimates(cluster_bootstrap(np.arange(12)), panel_measures(one_hot(codes, 3)))["agreement"]
    assert (found.value, found.n) == (pytest.approx(np.mean(rates)), len(rates))


def test_a_panel_without_two_votes_on_a_pair_says_so():
    codes = np.full((6, 2), MISSING)
    codes[:, 0] = [0, 1, 0, 1, 0, 1]
    found = estimates(cluster_bootstrap(np.arange(6)), panel_measures(one_hot(codes, 2)))
    assert all(isinstance(figure, NotDefined) for figure in found.values()), found
