"""The judge card of a run: planted biases are found, nothing is asked, and what cannot be known is said."""

import json

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from benchmarks import judge_bias
from rlaif.engines.scripted import Faults, shown_answers
from rlaif.evaluate.judge_card.between import compare_principles
from rlaif.evaluate.judge_card.families import family_of
from rlaif.evaluate.judge_card.figures import group_of, style_figures
from rlaif.evaluate.judge_card.making import rows_of
from rlaif.evaluate.judge_card.people import calibration
from rlaif.evaluate.judge_card.sections import sections
from rlaif.evaluate.judge_card.verdicts import verdicts_of
from rlaif.numbers.figures import Estimate
from tests.card_kit import PLANTED, biased_run, card_of


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return biased_run(tmp_path_factory.mktemp("card"))


@pytest.fixture(scope="module")
def card(made):
    return card_of(*made)


def holds(figure, truth):
    return figure.low <= truth <= figure.high


def test_planted_biases_are_found_through_the_scripted_engine(card):
    """Worths are drawn by text, so each interval may miss its truth once in twenty; those of this run hold."""
    for one in card.principles.values():
        assert one.position["first_slot_log_odds"].value == pytest.approx(PLANTED.position, abs=1e-6)
        for name in ("length", "verbosity", "markdown", "lists"):
            effect = one.style[name]
            assert holds(effect.log_odds, getattr(PLANTED, name) * effect.typical), name
        assert holds(one.style["own"].log_odds, PLANTED.own)
        assert one.style["own"].log_odds.low > 0


def test_style_effects_are_those_of_statsmodels_with_the_place_held():
    """Both orders as rows, the place as a column of 1 and -1, each style over its root mean square, not centred."""
    one = judge_bias.simulate(np.random.default_rng(3), 30)
    group = group_of(one.verdicts, 0)
    place = np.repeat([1.0, -1.0], len(group.prompts))
    columns = [np.tile(column / np.sqrt((column**2).mean()), 2) for column in group.styles.values()]
    design, clusters = (
        np.column_stack([place, *columns]),
        np.unique([*group.prompts, *group.prompts], return_inverse=True)[1],
    )
    outcomes = np.concatenate([group.shown_first, group.shown_second])
    theirs = sm.GLM(outcomes, design, family=sm.families.Binomial()).fit(
        cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": True}
    )
    found = list(style_figures(group).values())
    assert [effect.logistic.value for effect in found] == pytest.approx(theirs.params[1:], rel=1e-6)
    half = stats.t.ppf(0.975, 29) * theirs.bse[1:]
    assert [effect.logistic.high - effect.logistic.value for effect in found] == pytest.approx(half, rel=1e-6)


def test_a_judge_without_biases_shows_none(tmp_path):
    from rlaif.engines.leaning import Bias

    card = card_of(*biased_run(tmp_path, bias=Bias(), names=("only",)))
    one = card.principles["only"]
    assert one.position["first_slot_log_odds"].value == pytest.approx(0.0, abs=1e-6)
    assert one.position["swap_consistency"].value == 1.0
    missed = [name for name, effect in one.style.items() if not holds(effect.log_odds, 0.0)]
    assert missed == []


def test_every_figure_says_its_n_and_its_interval_or_why_it_has_none(card):
    def figures(value):
        if isinstance(value, dict):
            if "n" in value and "value" in value:
                yield value
            for inner in value.values():
                yield from figures(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from figures(inner)

    written = card.as_json()
    assert json.loads(json.dumps(written)) == written
    found = list(figures(written))
    assert len(found) > 40
    for one in found:
        assert one["n"] >= 0
        assert one.get("because") or one["low"] <= one["value"] <= one["high"]
    counted = [one for one in found if one["value"] is not None]
    assert {one["clusters"] for one in counted} <= {card.prompts} | set(range(card.prompts))


def test_nothing_is_asked_of_a_model(made):
    road, run = made
    road.asked = {}
    card_of(road, run)
    assert road.asked == {}


def test_verdicts_without_an_answer_are_counted_by_reason(tmp_path):
    faults = Faults(failed=0.1, abstain=0.1)
    road, run = biased_run(tmp_path, count=20, faults=faults)
    stage = json.loads((run / "run.json").read_text())["stages"]["judge"]
    card = card_of(road, run)
    silent = card.overall.no_answer
    assert silent["all"].n == stage["planned"]
    lost = [why for why in silent if "not in the store" in why]
    abstained = [why for why in silent if why.startswith("abstained: only … of the probability")]
    assert len(lost) == len(abstained) == 1
    assert silent[lost[0]].value == pytest.approx(stage["outcomes"]["failed"] / stage["planned"])
    assert silent[abstained[0]].value == pytest.approx(stage["outcomes"]["abstained"] / stage["planned"])
    assert silent["all"].value == pytest.approx(silent[lost[0]].value + silent[abstained[0]].value)
    assert silent["all"].low < silent["all"].value < silent["all"].high


def test_none_missing_has_an_exact_interval(card):
    none = card.overall.no_answer["all"]
    assert none.value == 0.0 == none.low
    assert none.high == pytest.approx(1 - 0.025 ** (1 / card.prompts))


def one_word(request):
    """Answers with many words win under `first` and lose under `second`; `third` is `first` in other words."""
    shown = shown_answers(request)
    odds = (len(shown[0]) - len(shown[1])) * (-1 if "«second»" in request.messages[0].content else 1)
    return (0.9, 0.1) if odds > 0 else (0.5, 0.5) if odds == 0 else (0.1, 0.9)


def test_principles_that_duplicate_or_contradict_each_other_are_named(tmp_path):
    card = card_of(*biased_run(tmp_path, count=40, names=("first", "second", "third"), rules=(one_word,)))
    relations = {(one.first, one.second): one.relation for one in card.between}
    assert relations == {
        ("first", "second"): "contradict",
        ("first", "third"): "duplicate",
        ("second", "third"): "contradict",
    }
    correlations = [one.correlation.value for one in card.between]
    assert correlations == [pytest.approx(-1.0), pytest.approx(1.0), pytest.approx(-1.0)]


def test_independent_principles_are_neither():
    rng = np.random.default_rng(0)
    rows = [
        {
            "pair_id": str(n),
            "prompt_id": str(n // 3),
            "x_id": f"x{n}",
            "y_id": f"y{n}",
            "response_x": "a",
            "response_y": "b",
            "probability_x": 0.5,
            "principles": [
                {"id": name, "outcome": "ok", "probability": p, "shown_first": p, "shown_second": p}
                for name, p in zip(("one", "other"), rng.random(2), strict=True)
            ],
        }
        for n in range(300)
    ]
    (between,) = compare_principles(verdicts_of(rows, ("one", "other")))
    assert between.relation == ""
    assert holds(between.correlation, 0.0)


# --- families


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", "llama"),
        ("Qwen/Qwen2.5-14B-Instruct", "qwen"),
        ("models/gemma-2-9b-it/", "gemma"),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "mistral"),
        ("tiny-judge", "tiny"),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", None),
        ("my-own-model", None),
    ],
)
def test_a_family_is_read_from_the_name_or_not_known(model, family):
    found = family_of(model)
    assert found.name == family
    assert bool(found.because) == (family is None)


def test_answers_of_one_family_only_leave_nothing_to_compare(tmp_path):
    card = card_of(*biased_run(tmp_path, count=10, policies=("llama-small",)))
    assert "nothing to compare" in card.own.because
    assert "own" not in card.overall.style
    unknown = card_of(*biased_run(tmp_path / "unknown", count=10, policies=("this", "that")))
    assert "--policy-family" in unknown.own.because


def test_a_family_that_no_name_tells_can_be_told(tmp_path):
    made = biased_run(tmp_path, count=10, policies=("this", "that"))
    card = card_of(*made, policy_families={"this": "llama", "that": "qwen"})
    assert card.own.policies == {"this": True, "that": False}
    assert isinstance(card.overall.style["own"].log_odds, Estimate)


# --- people


def write_people(path, run, vote):
    """A label file of one person over a run's pairs; `vote` gives first, second or tie for x and y."""
    from rlaif.labels.file import write_votes
    from rlaif.labels.votes import Found, make_vote
    from rlaif.records import Message

    votes = []
    for row in rows_of(run):
        messages = tuple(Message(one["role"], one["content"]) for one in row["prompt"])
        found = Found(
            prompt=messages,
            first=row["response_x"],
            second=row["response_y"],
            rater="ann",
            kind="human",
            choice=vote(row),
        )
        votes.append(make_vote(found, source="test"))
    write_votes(path, votes)
    return path


def test_calibration_and_effects_beyond_people_need_labels_and_have_them(made, tmp_path):
    """A person who says what the judge's label says, with a coin of that probability: calibrated by construction, and
    swayed as much as the judge is, so nothing is left beyond people."""
    road, run = made
    rng = np.random.default_rng(5)
    file = write_people(
        tmp_path / "people.jsonl", run, lambda row: "first" if rng.random() < row["probability_x"] else "second"
    )
    card = card_of(road, run, labels=(file,))
    found = card.overall.calibration
    assert holds(found["ece_debiased"], 0.0) or found["ece_debiased"].value < 0.06
    assert found["agreement"].n == card.pairs
    assert set(card.beyond_people) == {"length", "verbosity", "markdown", "lists", "own"}
    assert all(one.low < 0.3 and one.high > -0.3 for one in card.beyond_people.values())
    titles = {section.title for section in sections(card)}
    assert titles >= {"Calibration against people", "Beyond people"}


def test_a_judge_that_is_too_sure_is_seen():
    rng = np.random.default_rng(0)
    said = np.where(rng.random(2000) < 0.5, 0.95, 0.05)
    people = np.where(rng.random(2000) < 0.7, said > 0.5, said < 0.5).astype(float)
    found = calibration(said, people, [str(n // 4) for n in range(2000)])
    assert holds(found["agreement"], 0.7)
    assert found["ece_debiased"].value == pytest.approx(0.25, abs=0.03)


def test_the_sentence_says_what_matters_most(card):
    assert card.sentence.startswith("llama-judge answers every time, lets the place decide ")
    assert "leans" in card.sentence
    assert card.sentence.count(". ") == 0


def test_a_silent_judge_has_a_card_too(tmp_path):
    card = card_of(*biased_run(tmp_path, count=10, faults=Faults(abstain=1.0)))
    assert card.overall.no_answer["all"].value == 1.0
    assert "gives no answer 100.0 % of the time" in card.sentence
    assert not isinstance(card.overall.position["same_position"], Estimate)


def test_what_a_check_computes_is_not_the_judges(made):
    names = {one["id"] for row in rows_of(made[1]) for one in row["principles"]}
    assert names == {"first", "second"}
    verdicts = verdicts_of(rows_of(made[1]), ("second",))
    assert verdicts.principles == ("second",)
    assert verdicts.probability.shape == (len(verdicts.pairs), 1)
