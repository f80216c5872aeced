"""The judge as a reward: the same verdicts as `generate` gives, as numbers for single answers."""

import itertools
from dataclasses import replace

import pytest

from rlaif.constitution import Constitution, Principle
from rlaif.engines.scripted import Faults, ScriptedEngine, scripted_identity
from rlaif.feedback.ask import Model, Session
from rlaif.feedback.judge_reward import Answered, JudgeReward, open_judge_reward
from rlaif.settings import JudgeSettings, PairSettings
from rlaif.store import Store
from rlaif.templates import load_template
from tests.roads import Road, constitution, follows_the_word, principle, prompts, settings

PROMPT = prompts(1)[0]
TEXTS = ("kind example short", "kind and long", "plain", "example alone")


class Judge:
    """A reward over a scripted engine whose requests are kept."""

    def __init__(self, store, wanted=None, own=None, *, rules=(follows_the_word,), faults=None):
        self.engines = []
        wanted = wanted or settings()

        def opened():
            self.engines.append(ScriptedEngine("judge", rules=rules, faults=faults))
            return self.engines[-1]

        model = Model(name="judge", identity=scripted_identity("judge"), open=opened)
        template = load_template(wanted.judge.mode_template)
        self.reward = JudgeReward(wanted, own or constitution(), template, Session(model), store)

    @property
    def asked(self):
        return [one for engine in self.engines for one in engine.calls]


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "store", will_append=True) as opened:
        yield opened


def scored(**more):
    return settings(judge=JudgeSettings(model="judge", mode="score", score_levels=5, **more))


def likes(word):
    """Scores: 5 where the word is in the answer, else 1."""

    def rule(request):
        text = request.messages[0].content
        answer = text.split("<response>")[1].split("</response>")[0]
        good = word in answer.split()
        return [0.9 if place == (4 if good else 0) else 0.025 for place in range(len(request.choices))]

    return rule


def test_a_comparison_is_the_label_that_generate_gives(tmp_path):
    """The whole road on the same store, and then the reward: the same probabilities, and not one request more."""
    wanted, asked = settings(pairs=PairSettings(rule="all", min_margin=0.0)), prompts(3)
    road = Road(tmp_path / "store")
    result = road.run(wanted, constitution(), asked)
    with Store(tmp_path / "store", will_append=True) as store:
        judge = Judge(store, wanted)
        pairs = [(one.pair.prompt, one.pair.x.text, one.pair.y.text) for one in result.labelled]
        assert judge.reward.compare(pairs) == [one.probability for one in result.labelled]
        assert judge.asked == []
        turned = judge.reward.compare([(prompt, other, one) for prompt, one, other in pairs])
        assert [a + b for a, b in zip(turned, judge.reward.compare(pairs), strict=True)] == pytest.approx(
            [1.0] * len(pairs)
        )


def test_an_answers_reward_is_its_mean_chance_against_the_others(store):
    judge = Judge(store)
    (found,) = judge.reward.rewards([Answered(PROMPT, TEXTS)])
    for place, one in enumerate(found):
        others = [text for number, text in enumerate(TEXTS) if number != place]
        wins = judge.reward.compare([(PROMPT, TEXTS[place], other) for other in others])
        assert one.value == pytest.approx(sum(wins) / 3)
    assert sum(one.value for one in found) == pytest.approx(2.0)  # what one wins another loses
    assert max(range(4), key=lambda place: found[place].value) == 0
    assert set(found[0].principles) == {"kind", "example", "short"}
    assert len(judge.asked) == 6 * 3 * 2  # pairs x principles x orders, each once


def test_empty_and_equal_answers_are_decided_without_a_judge(store):
    judge = Judge(store)
    assert judge.reward.compare(
        [(PROMPT, " ", "plain"), (PROMPT, "plain", ""), (PROMPT, "", " "), (PROMPT, "a", "a ")]
    ) == [
        0.0,
        1.0,
        0.5,
        0.5,
    ]
    (found,) = judge.reward.rewards([Answered(PROMPT, ("", ""))])
    assert [one.value for one in found] == [0.5, 0.5]
    assert judge.asked == []


def test_what_was_asked_once_is_in_the_store(store):
    first, second = Judge(store), Judge(store)
    group = [Answered(one, TEXTS) for one in prompts(2)]
    assert first.reward.rewards(group) == second.reward.rewards(group)
    assert first.asked
    assert second.engines == []  # not even loaded


def test_a_score_is_the_mean_on_a_scale_from_0_to_1(store):
    judge = Judge(store, scored(), rules=(likes("kind"),))
    (found,) = judge.reward.rewards([Answered(PROMPT, (*TEXTS[:3], ""))])
    high, low = (sum(p * n for n, p in enumerate(q)) / 4 for q in ([0.025] * 4 + [0.9], [0.9] + [0.025] * 4))
    assert [one.value for one in found] == pytest.approx([high, high, low, 0.0])
    assert len(judge.asked) == 3 * 3  # answers x principles, and no pair


def test_principles_count_by_their_weights_and_checks_by_their_score(store):
    own = Constitution(
        name="weighted",
        principles=(
            principle("kind", "kind", weight=3.0),
            Principle(id="brief", text="Be brief.", check={"kind": "length", "max_words": 2}),
            principle("ignored", "example", weight=0.0),
        ),
    )
    judge = Judge(store, scored(), own, rules=(likes("kind"),))
    (found,) = judge.reward.rewards([Answered(PROMPT, ("kind and long", "plain"))])
    for one, check in zip(found, (0.0, 1.0), strict=True):
        assert one.value == pytest.approx((3 * one.principles["kind"] + check) / 4)
        assert one.principles["brief"] == check


@pytest.mark.parametrize("wanted", [settings(), scored()], ids=["verdict", "score"])
def test_without_a_verdict_there_is_a_reason_and_no_number(store, wanted):
    judge = Judge(store, wanted, faults=Faults(abstain=1.0))
    (found,) = judge.reward.rewards([Answered(PROMPT, TEXTS[:2])])
    assert [one.value for one in found] == [None, None]
    assert all("probability is on" in one.reason for one in found)


@pytest.mark.parametrize("wanted", [settings(), scored()], ids=["verdict", "score"])
def test_a_prompt_to_which_nothing_applies_is_told(store, wanted):
    own = constitution(principle("kind", "kind", tags={"elsewhere"}))
    judge = Judge(store, wanted, own)
    (found,) = judge.reward.rewards([Answered(PROMPT, TEXTS[:2])])
    assert [(one.value, one.reason) for one in found] == [(None, "no principle applies to the prompt")] * 2
    assert judge.asked == []


def test_a_lonely_answer_has_nothing_to_be_compared_with(store):
    (found,) = Judge(store).reward.rewards([Answered(PROMPT, ("plain",))])
    assert found[0].value is None


def test_both_orders_are_asked_so_a_judge_of_positions_gives_one_half(store):
    judge = Judge(store, rules=(lambda request: [0.9, 0.1],))
    (found,) = judge.reward.rewards([Answered(PROMPT, TEXTS)])
    assert [one.value for one in found] == pytest.approx([0.5] * 4)


def test_the_digest_names_all_that_decides(store):
    plain = Judge(store).reward
    others = [
        Judge(store, settings(judge=JudgeSettings(model="judge", min_covered=0.5))).reward,
        Judge(store, own=constitution(principle("kind", "kind"))).reward,
        Judge(store, settings(pairs=PairSettings(probability_floor=0.2))).reward,
        replace(plain, template=replace(plain.template, body=plain.template.body + " ")),
    ]
    digests = [plain.digest, *(one.digest for one in others)]
    assert all(one != other for one, other in itertools.combinations(digests, 2))
    assert Judge(store).reward.digest == plain.digest


def test_it_opens_from_a_settings_file(tmp_path):
    wanted = settings(constitution="small", judge=JudgeSettings(model="any", engine={"kind": "scripted"}))
    with open_judge_reward(wanted, base=tmp_path) as judge:
        (found,) = judge.rewards([Answered(PROMPT, ("one answer", "another"))])
    assert sum(one.value for one in found) == pytest.approx(1.0)
    assert (tmp_path / "outputs" / "store").is_dir()
