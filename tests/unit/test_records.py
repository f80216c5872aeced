"""Records: identities that do not depend on order or names, and what both orders of a verdict amount to."""

import pytest

from rlaif.records import Message, PrincipleVerdict, Prompt, Response, ResponsePair, pair_id


def prompt(text="Why?", **more):
    return Prompt(messages=(Message("user", text),), **more)


def response(text, *, policy="p", index=0, prompt_id="q"):
    return Response(
        prompt_id=prompt_id,
        text=text,
        policy=policy,
        sample_index=index,
        finish_reason="stop",
        prompt_tokens=1,
        output_tokens=1,
    )


def test_a_pair_has_one_name_in_either_order():
    assert pair_id("q", ("a", "b")) == pair_id("q", ("b", "a")) != pair_id("other", ("a", "b"))


def test_tags_source_and_name_do_not_change_a_prompts_identity():
    assert prompt().id == prompt(tags=frozenset({"t"}), source="elsewhere", name="n").id != prompt("How?").id


def test_renamed_policies_and_places_do_not_change_a_responses_identity():
    assert response("yes").id == response("yes", policy="other", index=3).id
    assert response("yes").id != response("yes", prompt_id="other").id
    assert response("yes").id != response("no").id


def test_a_response_pair_refuses_the_wrong_order_and_itself():
    one, other = sorted((response("yes"), response("no")), key=lambda r: r.id)
    assert ResponsePair(prompt(), one, other).id == pair_id(prompt().id, (other.id, one.id))
    for wrong in ((other, one), (one, one)):
        with pytest.raises(ValueError, match="lower id first"):
            ResponsePair(prompt(), *wrong)


@pytest.mark.parametrize(
    ("first", "second", "order_decided", "near_tie"),
    [
        (0.9, 0.9, False, False),
        (0.9, 0.1, True, True),  # the order decided, and what is left is a tie
        (0.9, 0.2, True, False),
        (0.52, 0.48, False, True),  # noise around a tie is no effect of the order
        (0.9, 0.48, False, False),
        (0.53, 0.55, False, True),
    ],
)
def test_what_two_orders_amount_to(first, second, order_decided, near_tie):
    verdict = PrincipleVerdict(
        principle_id="p",
        outcome="ok",
        probability=(first + second) / 2,
        shown_first=first,
        shown_second=second,
        weight=1.0,
    )
    assert (verdict.is_order_decided, verdict.is_near_tie) == (order_decided, near_tie)


def test_without_both_orders_nothing_is_said():
    verdict = PrincipleVerdict(
        principle_id="p", outcome="failed", probability=None, shown_first=0.9, shown_second=None, weight=1.0
    )
    assert not verdict.is_order_decided
    assert not verdict.is_near_tie
