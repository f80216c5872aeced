"""Probes: changes that say nothing new, published folders, and a judge that is asked about them once."""

import json
from pathlib import Path

import numpy as np
import pytest

from rlaif.constitution import Constitution, Principle
from rlaif.engines.leaning import Bias, drawn_worth
from rlaif.errors import DataError
from rlaif.evaluate.judge_card.asking import ask_judge, judged_principles, pairs_to_ask, plan_asking
from rlaif.evaluate.judge_card.card import probe_figures
from rlaif.evaluate.judge_card.making import Beside, card_of_asked, find_probes
from rlaif.evaluate.judge_card.perturb import PERTURBATIONS, as_list, in_bold, restated, sentences, trailing_space
from rlaif.evaluate.judge_card.probe_sets import MADE_WORSE, changed_pairs, own_pairs, read_probe_folder
from rlaif.feedback.cost import Rates
from rlaif.feedback.progress import Quiet
from rlaif.feedback.road import Models
from rlaif.feedback.road import Road as RunRoad
from rlaif.store import Store
from rlaif.store.gc import folders_that_want
from rlaif.store.wanted import read_wanted
from rlaif.style import style_of
from tests.card_kit import biased, biased_run, two_families
from tests.roads import Road, constitution, principle, shipped_templates

PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "data" / "judge_bias_probes"
BIAS = Bias(position=0.4, length=0.3, verbosity=1.0, markdown=0.2, lists=-0.3)


def test_changes_by_hand():
    text = "One thing is so. Is it? Yes!"
    assert sentences(text) == ["One thing is so.", "Is it?", "Yes!"]
    assert as_list(text) == "- One thing is so.\n- Is it?\n- Yes!"
    assert in_bold(text) == "**One thing** is so. **Is it?** Yes!"
    assert trailing_space("a ") == "a \n\n"
    assert restated("a b.") == "a b.\n\nTo say the same thing once more: a b."
    assert in_bold("**Bold** already.") == "**Bold** already."


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_a_change_leaves_every_word_of_the_answer_in_its_place(name):
    for pair in own_pairs():
        before = "".join(c for c in pair.x.text if c.isalnum())
        after = "".join(c for c in PERTURBATIONS[name](pair.x.text) if c.isalnum())
        assert before in after
        assert PERTURBATIONS[name](pair.x.text) == PERTURBATIONS[name](pair.x.text) != pair.x.text


def test_our_own_pairs_are_forty_of_distinct_questions_in_plain_text():
    pairs = own_pairs()
    assert len({pair.prompt.id for pair in pairs}) == len(pairs) == 40
    assert all(style_of(one.text)["markdown"] == 0 for pair in pairs for one in (pair.x, pair.y))


def test_each_pair_has_every_change_of_one_answer_that_its_id_chose():
    pairs = own_pairs()
    found = changed_pairs([*pairs, pairs[0]])
    assert found.left_out == {"a pair like another": 1}
    assert len(found.probes) == 40 * len(PERTURBATIONS)
    assert found.probes == changed_pairs(reversed(pairs)).probes[::-1] or set(found.probes) == set(
        changed_pairs(reversed(pairs)).probes
    )
    plain = {probe.before.id: probe.plain.id == probe.before.x.id for probe in found.probes}
    assert 8 < sum(plain.values()) < 32


# --- published folders


def write_folder(folder, changed):
    folder.mkdir()
    raw = [("q1", "one", "two"), ("q2", "three", "four"), ("q3", "same", "same")]
    files = {"raw": raw, **changed}
    for name, rows in files.items():
        suffix = "" if name == "raw" else f"-{name}"
        lines = [
            {
                "question_id": q + suffix,
                "prompt": f"{q}?",
                "answers": {"answer1": {"answer": a}, "answer2": {"answer": b}},
            }
            for q, a, b in rows
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_a_published_folder_is_read_by_which_answer_differs(tmp_path):
    changed = {
        "reference": [("q1", "one (see X)", "two"), ("q2", "three", "four (see Y)")],
        "gender": [("q1", "a", "b")],
    }
    found = read_probe_folder(write_folder(tmp_path / "probes", changed))
    told = [(one.name, one.kind, one.plain.text, one.other.text, one.changed.text) for one in found.probes]
    assert told == [
        ("reference", "irrelevant", "one", "two", "one (see X)"),
        ("reference", "irrelevant", "four", "three", "four (see Y)"),
    ]
    assert len(found.pairs) == 2
    assert found.left_out == {"raw: both answers alike": 1, "gender: no one answer of a raw pair is changed": 1}


def test_a_folder_that_is_none_is_said(tmp_path):
    with pytest.raises(DataError, match=r"raw\.jsonl"):
        read_probe_folder(tmp_path)
    (tmp_path / "raw.jsonl").write_text('{"question_id": "q"}\n')
    with pytest.raises(DataError, match=r"raw\.jsonl:1"):
        read_probe_folder(tmp_path)


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published probes are not here")
def test_the_published_probes_are_read_but_for_two_questions_with_equal_answers():
    found = read_probe_folder(PUBLISHED)
    names = [probe.name for probe in found.probes]
    assert {name: names.count(name) for name in found.kinds} == dict.fromkeys(
        ("factual_error", "gender", "reference", "rich_content"), 140
    )
    assert {name for name, kind in found.kinds.items() if kind == "worse"} == set(MADE_WORSE)
    assert len(found.pairs) == 140
    assert set(found.left_out.values()) == {2}
    assert len(read_probe_folder(PUBLISHED, limit=5).probes) == 20


# --- asking


def asked_road(folder, rules, **more):
    road = Road(folder / "store", judge_rules=rules, **more)
    wanted = two_families()
    whole = road.road(wanted, constitution(principle("first", "first"), principle("second", "second")))
    models = Models(policies=(), judge=whole.models.judge)
    return road, RunRoad(settings=wanted, constitution=whole.constitution, models=models, templates=shipped_templates())


def ask_it(road, whole, folder, probes):
    road.asked = {}
    with Store(road.store) as store:
        return ask_judge(whole, probes, store=store, progress=Quiet(), wish=folder / "outputs" / "judge-cards" / "one")


def test_the_shift_is_exactly_what_the_change_is_worth_to_the_judge(tmp_path):
    """No noise: the mean log-odds of a change are those of `Bias` over the texts' own differences. Both orders are
    averaged as probabilities, so it is exact for a judge without a position."""
    bias = Bias(length=0.3, verbosity=1.0, markdown=0.2, lists=-0.3)
    probes = changed_pairs(own_pairs())
    road, whole = asked_road(tmp_path, (biased(bias, spread=0.5),))
    asked = ask_it(road, whole, tmp_path, probes)
    found = probe_figures(asked, [0], 999)
    for name in PERTURBATIONS:
        own = [probe for probe in probes.probes if probe.name == name]
        worth = [change_in_odds(probe, bias, 0.5) for probe in own]
        assert found[name]["shift"].value == pytest.approx(np.mean(worth), abs=1e-6), name
        assert (found[name]["shift"].n, found[name]["shift"].clusters) == (40, 40)


def change_in_odds(probe, bias, spread):
    """Worths of texts are drawn by their words, so a changed text has another worth: that is part of the change."""
    worth = drawn_worth(spread)
    before, after = style_of(probe.plain.text), style_of(probe.changed.text)
    return (
        bias.log_odds({name: after[name] - before[name] for name in before})
        + worth(probe.changed.text)
        - worth(probe.plain.text)
    )


def test_what_was_asked_once_is_not_asked_again_and_the_plan_says_so(tmp_path):
    probes = changed_pairs(own_pairs()[:6])
    road, whole = asked_road(tmp_path, (biased(BIAS),))
    pairs = pairs_to_ask(probes)
    wanted = len(pairs) * 2 * 2
    with Store(road.store) as store:
        plan = plan_asking(whole, pairs, known=store, rates=Rates(by_stage={}, loading_s={}))
        assert (plan.calls("judge"), plan.wanted("judge")) == (wanted, wanted)
    first = ask_it(road, whole, tmp_path, probes)
    assert len(road.asked["llama-judge"]) == wanted
    again = ask_it(road, whole, tmp_path, probes)
    assert road.asked == {}
    assert np.array_equal(first.after, again.after)
    with Store(road.store) as store:
        assert plan_asking(whole, pairs, known=store, rates=Rates(by_stage={}, loading_s={})).total_calls == 0


def test_a_runs_pairs_cost_nothing_but_their_changes(tmp_path):
    road, run = biased_run(tmp_path, count=4)
    probed = find_probes(run, [], None)
    whole = road.road(two_families(), constitution(principle("first", "first"), principle("second", "second")))
    asked = ask_it(road, whole, tmp_path, probed.probes)
    assert len(road.asked["llama-judge"]) == len(probed.probes.probes) * 2 * 2
    card = card_of_asked(asked, whole, probed.policies, Beside(), probed.source, probed.notes)
    assert card.own.policies == {"llama-small": True, "qwen-small": False}
    assert (card.pairs, card.source) == (4 * 6, "asked about pairs of the run default")
    assert set(card.kinds) == set(PERTURBATIONS)


def test_what_a_card_rests_on_is_wanted_when_the_store_is_cleaned(tmp_path):
    probes = changed_pairs(own_pairs()[:2])
    road, whole = asked_road(tmp_path, (biased(BIAS),))
    ask_it(road, whole, tmp_path, probes)
    folders = folders_that_want(tmp_path / "outputs")
    keys = {key for chunk in read_wanted(folders, "judgments") for key in chunk.to_pylist()}
    assert len(keys) == len(road.asked["llama-judge"]) == len(pairs_to_ask(probes)) * 4


def test_a_principle_with_a_check_is_none_of_the_judges():
    own = Principle(id="short", text="Short.", question=None, check={"kind": "length", "max_words": 5})
    assert judged_principles(Constitution(name="c", principles=(principle("kind", "kind"), own))) == ("kind",)
