"""Checks in the place of a judge: what they say of a pair, and that they cost no call."""

import itertools

import pytest

from rlaif.constitution import Principle
from rlaif.feedback.check_verdicts import check_verdict, check_verdicts
from rlaif.records import Message, Prompt, Response, ResponsePair
from rlaif.settings import PairSettings
from tests.roads import Road, constitution, principle, prompts, settings


def pair_of(first: str, second: str, reference: str | None = "4") -> tuple[ResponsePair, str]:
    """A pair, and the id of the first answer."""
    prompt = Prompt(messages=(Message("user", "2 + 2?"),), reference=reference)
    answers = [
        Response(
            prompt_id=prompt.id,
            text=text,
            policy="p",
            sample_index=0,
            finish_reason="stop",
            prompt_tokens=1,
            output_tokens=1,
        )
        for text in (first, second)
    ]
    x, y = sorted(answers, key=lambda response: response.id)
    return ResponsePair(prompt, x, y), answers[0].id


RIGHT = Principle(id="right", text="The number is right.", check={"kind": "number"}, weight=2.0)


@pytest.mark.parametrize(("first", "second", "probability"), [("4", "5", 1.0), ("5", "4", 0.0), ("4", "four: 4", 0.5)])
def test_the_better_score_wins_outright_and_equal_scores_tie(first, second, probability):
    pair, first_id = pair_of(first, second)
    verdict = check_verdict(pair, RIGHT)
    assert verdict.probability == (probability if pair.x.id == first_id else 1 - probability)
    assert verdict.outcome == ("tie" if probability == 0.5 else "ok")
    assert (verdict.shown_first, verdict.shown_second) == (verdict.probability, verdict.probability)
    assert (verdict.weight, verdict.is_order_decided) == (2.0, False)


def test_without_a_reference_there_is_no_verdict_and_a_reason():
    pair, _ = pair_of("4", "5", reference=None)
    verdict = check_verdict(pair, RIGHT)
    assert (verdict.outcome, verdict.probability) == ("abstained", None)
    assert verdict.reason == "the prompt has no reference"


def test_tags_choose_the_prompts_a_check_applies_to():
    pair, _ = pair_of("4", "5")
    tagged = RIGHT.model_copy(update={"tags": frozenset({"sums"})})
    assert check_verdicts(pair, constitution(principle("kind", "kind"), tagged)) == []


BRIEF = Principle(id="brief", text="A good answer is «brief».", check={"kind": "length", "max_words": 9})


def test_a_check_has_its_say_in_every_label_and_asks_no_model(tmp_path):
    wanted = settings(pairs=PairSettings(rule="all", min_margin=0.0))
    judged = constitution(principle("kind", "kind"))
    road = Road(tmp_path)
    without = road.run(wanted, judged, prompts(6))
    assert road.count("judge", verdicts=True) == 2 * len(without.labelled)
    both = constitution(BRIEF, principle("kind", "kind"))
    with_check = road.run(wanted, both, prompts(6))
    assert road.count("judge", verdicts=True) == 0
    for before, after in zip(without.labelled, with_check.labelled, strict=True):
        assert [v.principle_id for v in after.verdicts] == ["brief", "kind"]
        assert after.verdicts[1] == before.verdicts[0]
        lengths = [len(one.text.split()) <= 9 for one in (after.pair.x, after.pair.y)]
        expected = 0.5 + 0.5 * (int(lengths[0]) - int(lengths[1]))
        assert after.verdicts[0].probability == expected
    assert any(a.probability != b.probability for a, b in zip(without.labelled, with_check.labelled, strict=True))


def test_a_constitution_of_checks_alone_needs_no_judge(tmp_path):
    road = Road(tmp_path)
    wanted = settings(pairs=PairSettings(rule="all", min_margin=0.0, critiques="none"))
    result = road.run(wanted, constitution(BRIEF), prompts(6))
    assert road.asked.get("judge", []) == []
    assert result.labelled
    assert all(label.probability is not None for label in result.labelled)


def test_where_a_check_decided_the_critique_says_what_it_found_and_nobody_is_asked(tmp_path):
    road = Road(tmp_path)
    wanted, own = settings(pairs=PairSettings(min_margin=0.0)), constitution(BRIEF, principle("kind", "kind"))
    plan = road.plan(wanted, own, prompts(8))
    result = road.run(wanted, own, prompts(8))
    by_check = [pair for pair in result.pairs if pair.critique.principle_id == "brief"]
    assert 0 < len(by_check) < len(result.pairs)
    for pair in by_check:
        texts = {pair.chosen.id: pair.chosen.text, pair.rejected.id: pair.rejected.text}
        fits = [len(texts[name].split()) <= 9 for name in (pair.critique.first_id, pair.critique.second_id)]
        better = "neither" if fits[0] == fits[1] else f"response {'A' if fits[0] else 'B'}"
        assert pair.critique.text == (
            f"The check length (max_words 9) gives response A {fits[0]:d} and response B {fits[1]:d}, so {better}"
            " follows the principle better."
        )
        assert (pair.critique.outcome, {pair.critique.first_id, pair.critique.second_id}) == ("ok", set(texts))
    asked = len(result.pairs) - len(by_check)
    assert road.count("judge", verdicts=False) == result.stages["critique"].planned == asked
    assert plan.calls("critique") <= len(result.pairs)
    assert road.plan(wanted, own, prompts(8)).total_calls == 0


def test_checks_alone_write_critiques_without_a_judge(tmp_path):
    road = Road(tmp_path)
    result = road.run(settings(pairs=PairSettings(min_margin=0.0)), constitution(BRIEF), prompts(6))
    assert road.asked.get("judge", []) == []
    assert result.pairs
    assert all(pair.critique.text.startswith("The check length") for pair in result.pairs)


def test_answers_are_scored_once_however_many_they_meet(monkeypatch):
    from rlaif.feedback import check_verdicts as module

    calls = []
    monkeypatch.setattr(module, "score", lambda *a, **k: calls.append(a) or module.Scored(1.0))
    module._score.cache_clear()
    texts = [f"answer {i}" for i in range(5)]
    for first, second in itertools.combinations(texts, 2):
        check_verdict(pair_of(first, second)[0], RIGHT)
    assert len(calls) == 5
    module._score.cache_clear()
