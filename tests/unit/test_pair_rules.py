"""Pair rules: what each takes of a prompt's labelled pairs, and that nothing is lost on the way."""

import itertools
import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlaif.feedback.choose import choose_pairs
from rlaif.feedback.pair_rules import most_decided, strengths_of, take_by_rule
from rlaif.records import LabelledPair, Message, Prompt, Response, ResponsePair
from rlaif.settings import PairSettings

PROMPT = Prompt(messages=(Message("user", "Why?"),))


def answer(text: str, prompt: Prompt = PROMPT) -> Response:
    return Response(
        prompt_id=prompt.id,
        text=text,
        policy="p",
        sample_index=0,
        finish_reason="stop",
        prompt_tokens=1,
        output_tokens=1,
    )


def labelled(first: str, second: str, probability: float | None, prompt: Prompt = PROMPT) -> LabelledPair:
    """P(first is better)."""
    one, other = answer(first, prompt), answer(second, prompt)
    if one.id > other.id:
        one, other, probability = other, one, None if probability is None else 1 - probability
    return LabelledPair(ResponsePair(prompt, one, other), (), probability, {})


def taken(pairs: list[LabelledPair], **more) -> set[frozenset[str]]:
    return {frozenset((one.pair.x.text, one.pair.y.text)) for one in take_by_rule(pairs, PairSettings(**more))}


def of(*texts: str) -> frozenset[str]:
    return frozenset(texts)


def ladder(*texts: str, step: float = 0.8) -> list[LabelledPair]:
    """A full round-robin of answers, the strongest first, each a step of log-odds above the next."""
    return [
        labelled(x, y, 1 / (1 + math.exp(-step * (j - i))))
        for (i, x), (j, y) in itertools.combinations(enumerate(texts), 2)
    ]


@pytest.mark.parametrize("rank_by", ["mean_log_odds", "bradley_terry"])
def test_each_rule_takes_its_pairs_of_a_known_order(rank_by):
    pairs = ladder("a", "b", "c", "d")
    assert taken(pairs, rank_by=rank_by) == {of("a", "d")}
    assert taken(pairs, rank_by=rank_by, rule="adjacent") == {of("a", "b"), of("b", "c"), of("c", "d")}
    assert len(taken(pairs, rank_by=rank_by, rule="all")) == 6
    (drawn,) = taken(pairs, rank_by=rank_by, rule="best_random")
    assert "a" in drawn


def test_a_drawn_opponent_depends_on_the_prompt_and_is_each_as_often_as_another():
    prompts = [Prompt(messages=(Message("user", f"Why {i}?"),)) for i in range(300)]
    drawn = Counter()
    for prompt in prompts:
        pairs = [labelled("a", other, 0.9, prompt) for other in "bcd"] + [labelled("b", "c", 0.5, prompt)]
        (one,) = take_by_rule(pairs, PairSettings(rule="best_random"))
        drawn[next(text for text in (one.pair.x.text, one.pair.y.text) if text != "a")] += 1
    assert set(drawn) == set("bcd")
    assert all(70 < count < 130 for count in drawn.values())  # 100 expected, standard deviation 8


def test_bradley_terry_counts_the_opponents_in():
    """c lost narrowly to the strong a and b; d beat the weak e and f. The mean puts d on top, the fit does not."""
    pairs = [
        labelled("a", "c", 0.55),
        labelled("b", "c", 0.55),
        labelled("a", "d", 0.95),
        labelled("d", "e", 0.9),
        labelled("d", "f", 0.9),
    ]
    texts = {answer(text).id: text for text in "abcdef"}
    mean = {texts[name]: s for name, s in strengths_of(pairs, PairSettings()).items()}
    fitted = {texts[name]: s for name, s in strengths_of(pairs, PairSettings(rank_by="bradley_terry")).items()}
    assert mean["d"] > mean["c"]
    assert fitted["c"] > fitted["d"]


def test_where_the_ends_never_met_the_fit_takes_the_compared_pair_furthest_apart():
    chain = [labelled("a", "b", 0.6), labelled("b", "c", 0.9), labelled("c", "d", 0.6)]
    assert taken(chain, rank_by="bradley_terry") == {of("b", "c")}
    assert taken(chain, rank_by="mean_log_odds") <= {of("b", "c")}


def test_at_most_m_pairs_of_each_prompt_and_the_surest_of_them():
    others = Prompt(messages=(Message("user", "Who?"),))
    every = ladder("a", "b", "c", "d")
    every += [labelled("x", "y", 0.9, others)]
    choice = choose_pairs(every, PairSettings(rule="all", max_pairs_per_prompt=2, min_margin=0.0), judge="j")
    assert [{p.chosen.text, p.rejected.text} for p in choice.pairs if p.prompt == others] == [{"x", "y"}]
    own = [p for p in choice.pairs if p.prompt == PROMPT]
    assert len(own) == 2
    assert {"a", "d"} in [{p.chosen.text, p.rejected.text} for p in own]
    assert choice.left_out == {"over 2 pairs of its prompt": 4}


def test_the_limit_counts_what_would_have_entered_and_not_what_the_margin_refused():
    every = [labelled("a", "b", 0.5), labelled("a", "c", 0.7), labelled("b", "c", 0.7)]
    choice = choose_pairs(every, PairSettings(rule="all", max_pairs_per_prompt=2), judge="j")
    assert len(choice.pairs) == 2
    assert choice.left_out == {"tie": 1}


def test_equal_margins_are_told_apart_by_id():
    assert most_decided({"b": 0.3, "a": 0.3, "c": 0.9}, 2) == {"c", "a"}
    assert most_decided({"b": 0.3, "a": 0.3}, None) == {"a", "b"}


@st.composite
def prompts_pairs(draw):
    n = draw(st.integers(2, 5))
    outcomes = st.none() | st.sampled_from([0.5, 0.2, 0.8]) | st.floats(0.0, 1.0)
    return [labelled(x, y, draw(outcomes)) for x, y in itertools.combinations("abcde"[:n], 2)]


rules = st.builds(
    PairSettings,
    rule=st.sampled_from(["best_worst", "best_random", "adjacent", "all"]),
    rank_by=st.sampled_from(["mean_log_odds", "bradley_terry"]),
    max_pairs_per_prompt=st.none() | st.integers(1, 4),
    keep_ties=st.booleans(),
)


@settings(deadline=None, max_examples=150)
@given(prompts_pairs(), rules)
def test_every_judged_pair_enters_or_is_left_out_for_one_reason(pairs, wanted):
    choice = choose_pairs(pairs, wanted, judge="j")
    assert len(choice.pairs) + sum(choice.left_out.values()) == len(pairs)
    assert len({pair.id for pair in choice.pairs}) == len(choice.pairs) <= (wanted.max_pairs_per_prompt or 99)


@settings(deadline=None, max_examples=80)
@given(prompts_pairs(), rules, st.randoms())
def test_the_order_of_the_labels_changes_nothing(pairs, wanted, shuffle):
    shuffled = [*pairs]
    shuffle.shuffle(shuffled)
    first, second = (choose_pairs(order, wanted, judge="j") for order in (pairs, shuffled))
    assert {pair.id for pair in first.pairs} == {pair.id for pair in second.pairs}
    assert first.left_out == second.left_out


def best_against_worst_as_it_was(pairs, floor):
    """The rule before there were others, word for word in its arithmetic."""
    scores: dict[str, list[float]] = {}
    for one in pairs:
        kept = min(max(one.probability, floor), 1.0 - floor)
        strength = math.log(kept) - math.log1p(-kept)
        scores.setdefault(one.pair.x.id, []).append(strength)
        scores.setdefault(one.pair.y.id, []).append(-strength)
    ranked = sorted(scores, key=lambda name: (sum(scores[name]) / len(scores[name]), name))
    ends = {ranked[0], ranked[-1]} if ranked else set()
    return [one for one in pairs if {one.pair.x.id, one.pair.y.id} == ends]


@settings(deadline=None, max_examples=150)
@given(prompts_pairs())
def test_the_default_rule_takes_what_it_always_took(pairs):
    with_label = [one for one in pairs if one.probability is not None]
    assert take_by_rule(with_label, PairSettings()) == best_against_worst_as_it_was(with_label, 0.01)
