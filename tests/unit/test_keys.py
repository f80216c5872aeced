"""Every field of everything a key is made of: one that can alter the result changes the key, one that cannot does not.

The fields are taken from the classes, so a new one fails here until it is said which of the two it is.
"""

from dataclasses import fields, is_dataclass, replace

import pytest
from pydantic import BaseModel

from rlaif.constitution import Constitution, Example, Principle, PrincipleTest
from rlaif.engines.base import ModelIdentity
from rlaif.feedback import keys
from rlaif.feedback.critique import critique_stage
from rlaif.feedback.judge import judge_stage
from rlaif.feedback.mode_reasoned import ReasonedMode
from rlaif.feedback.mode_score import ScoreMode
from rlaif.feedback.sample import sample_stage
from rlaif.identity import digest
from rlaif.records import Message, Pair, Prompt, Response, ResponsePair
from rlaif.settings import EngineSettings, JudgeSettings, PolicySettings, SamplingSettings
from rlaif.templates import Template, load_template

IDENTITY = ModelIdentity(name="model", weights="w", chat_template="c", dtype="bfloat16")
MESSAGE = Message("user", "Why?")
PROMPT = Prompt(messages=(MESSAGE,), tags=frozenset({"t"}), source="s", name="n")
SAMPLING = SamplingSettings(temperature=0.7, top_p=0.9, top_k=5, max_tokens=40, stop=("END",))
POLICY = PolicySettings(model="policy", samples=2, sampling=SAMPLING)
JUDGE = JudgeSettings(model="judge")
EXAMPLE = Example(conversation="c", response_a="a", response_b="b", better="A", why="w")
TEST = PrincipleTest(conversation="c", response_a="a", response_b="b", better="A")
PRINCIPLE = Principle(
    id="one", text="Be kind.", question="Which is kinder?", tags=frozenset({"t"}), examples=(EXAMPLE,)
)
TEMPLATE = Template(
    name="judge",
    body="{{ conversation }}{{ response_a }}{{ response_b }}{{ principle }}{{ question }}",
    variables=frozenset({"conversation", "response_a", "response_b", "principle", "question"}),
    choices=("A", "B"),
)
ANSWER = Response(
    prompt_id=PROMPT.id,
    text="An answer.",
    policy="policy",
    sample_index=0,
    finish_reason="stop",
    prompt_tokens=3,
    output_tokens=4,
)
OTHER = replace(ANSWER, text="Another answer.")


def sample_keys(prompt=PROMPT, policy=POLICY, identity=IDENTITY):
    return set(sample_stage([prompt], policy, identity).asking.requests)


def pair_of(prompt, answer):
    x, y = sorted((replace(answer, prompt_id=prompt.id), replace(OTHER, prompt_id=prompt.id)), key=lambda one: one.id)
    return ResponsePair(prompt, x, y)


def verdict_keys(prompt=PROMPT, answer=ANSWER, principle=PRINCIPLE, judge=JUDGE, template=TEMPLATE, identity=IDENTITY):
    constitution = Constitution(name="test", principles=(principle,))
    pair = pair_of(prompt, answer)
    return set(judge_stage([pair], constitution, judge, template=template, identity=identity).asking.requests)


def critique_keys(prompt=PROMPT, answer=ANSWER, principle=PRINCIPLE, judge=JUDGE, template=TEMPLATE, identity=IDENTITY):
    pair = pair_of(prompt, answer)
    chosen = Pair(
        id=pair.id,
        prompt=prompt,
        chosen=pair.x,
        rejected=pair.y,
        probability=0.9,
        margin=0.8,
        is_tie=False,
        verdicts=(),
        shares={principle.id: 1.0},
        judge="judge",
    )
    constitution = Constitution(name="test", principles=(principle,))
    return set(critique_stage([chosen], constitution, judge, template=template, identity=identity).asking.requests)


def pass_keys(mode, prompt=PROMPT, answer=ANSWER, principle=PRINCIPLE, judge=JUDGE, identity=IDENTITY):
    """The keys of a mode's first pass, under its shipped template."""
    constitution = Constitution(name="test", principles=(principle,))
    asked = mode(constitution, judge, load_template(TEMPLATES[mode]), identity)
    return set(asked.plan_pass([pair_of(prompt, answer)], ()).asking.requests)


TEMPLATES = {ReasonedMode: "reason", ScoreMode: "score"}


def reason_keys(**more):
    return pass_keys(ReasonedMode, **more)


def score_keys(**more):
    return pass_keys(ScoreMode, **more)


OTHER_MODES = {
    "mode": "reasoned",  # it decides what is asked
    "reason_template": "renamed",
    "score_template": "renamed",
    "reasonings": None,  # more reasonings are more keys; test_modes
    "principles_per_pair": 3,
}
OWN_OF_REASONS = {"reasoning_max_tokens": 9, "reasoning_temperature": 0.5}
OWN_OF_SCORES = {"score_levels": 5}
HOW_IT_RUNS = {
    "engine": EngineSettings(kind="scripted"),
    "price_per_million_prompt_tokens": 1.0,
    "price_per_million_output_tokens": 1.0,
}

# For every class: the fields that must change the key, and those that must not, each with another value.
# What decides whether something is asked at all (tags, enabled, samples) is given values under which it still is.
CASES = [
    (
        sample_keys,
        "identity",
        IDENTITY,
        {"weights": "v", "chat_template": "d", "dtype": "float32"},
        {"name": "renamed"},
    ),
    (
        sample_keys,
        "prompt",
        PROMPT,
        {"messages": (Message("user", "Why not?"),)},
        {"tags": frozenset({"u"}), "source": "z", "name": "z", "reference": "4", "id": None},
    ),
    (
        sample_keys,
        "policy",
        POLICY,
        {},
        {
            "model": "renamed",
            "engine": EngineSettings(kind="scripted"),
            "price_per_million_prompt_tokens": 1.0,
            "price_per_million_output_tokens": 1.0,
            "samples": None,  # more samples are more keys; tested below
            "sampling": None,  # its own fields follow
        },
    ),
    (
        verdict_keys,
        "identity",
        IDENTITY,
        {"weights": "v", "chat_template": "d", "dtype": "float32"},
        {"name": "renamed"},
    ),
    (
        verdict_keys,
        "prompt",
        PROMPT,
        {"messages": (Message("user", "Why not?"),)},
        {"tags": frozenset({"t", "u"}), "source": "z", "name": "z", "reference": "4", "id": None},
    ),
    (
        verdict_keys,
        "answer",
        ANSWER,
        {"text": "A changed answer."},
        {
            "policy": "renamed",
            "sample_index": 9,
            "finish_reason": "length",
            "prompt_tokens": 9,
            "output_tokens": 9,
            "prompt_id": None,  # follows the prompt
            "id": None,
        },
    ),
    (
        verdict_keys,
        "principle",
        PRINCIPLE,
        {"text": "Be short.", "question": "Which is shorter?", "examples": ()},
        {
            "id": "renamed",
            "weight": 3.0,
            "tags": frozenset(),
            "tests": (TEST,),
            "critique_request": "c",
            "revision_request": "r",
            "anchors": {1: "long", 10: "short"},  # of scores; below
            "enabled": None,  # decides whether it is judged
            "check": None,  # with one no judge is asked; test_check_verdicts
        },
    ),
    (
        verdict_keys,
        "template",
        TEMPLATE,
        {"body": TEMPLATE.body + "!", "choices": ("1", "2")},
        {"name": "renamed", "variables": None},  # the variables follow from the body
    ),
    (
        verdict_keys,
        "judge",
        JUDGE,
        {},
        {
            "model": "renamed",
            "template": "renamed",
            "min_covered": 0.9,
            "critique_template": "renamed",
            "critique_max_tokens": 9,
            **OTHER_MODES,
            **OWN_OF_REASONS,
            **OWN_OF_SCORES,
            **HOW_IT_RUNS,
        },
    ),
    (
        critique_keys,
        "judge",
        JUDGE,
        {"critique_max_tokens": 9},
        {
            "model": "renamed",
            "template": "renamed",
            "min_covered": 0.9,
            "critique_template": "renamed",
            **OTHER_MODES,
            **OWN_OF_REASONS,
            **OWN_OF_SCORES,
            **HOW_IT_RUNS,
        },
    ),
    (
        reason_keys,
        "judge",
        JUDGE,
        OWN_OF_REASONS,
        {
            "model": "renamed",
            "template": "renamed",
            "min_covered": 0.9,
            "critique_template": "renamed",
            "critique_max_tokens": 9,
            **OTHER_MODES,
            **OWN_OF_SCORES,
            **HOW_IT_RUNS,
        },
    ),
    (
        score_keys,
        "judge",
        JUDGE,
        OWN_OF_SCORES,
        {
            "model": "renamed",
            "template": "renamed",
            "min_covered": 0.9,
            "critique_template": "renamed",
            "critique_max_tokens": 9,
            **OTHER_MODES,
            **OWN_OF_REASONS,
            **HOW_IT_RUNS,
        },
    ),
    (
        score_keys,
        "principle",
        PRINCIPLE,
        {"text": "Be short.", "anchors": {1: "long", 10: "short"}},
        {
            "question": "Which is shorter?",  # it asks for one of two
            "examples": (),  # so do these
            "id": "renamed",
            "weight": 3.0,
            "tags": frozenset(),
            "tests": (TEST,),
            "critique_request": "c",
            "revision_request": "r",
            "enabled": None,
            "check": None,
        },
    ),
    *(
        (keys, "identity", IDENTITY, {"weights": "v", "chat_template": "d", "dtype": "float32"}, {"name": "renamed"})
        for keys in (reason_keys, score_keys)
    ),
]


def changed(thing, name, value):
    return thing.model_copy(update={name: value}) if isinstance(thing, BaseModel) else replace(thing, **{name: value})


def field_names(thing):
    return {field.name for field in fields(thing)} if is_dataclass(thing) else set(type(thing).model_fields)


@pytest.mark.parametrize(
    ("keys", "argument", "thing", "alters", "leaves"), CASES, ids=[f"{case[1]} of {case[0].__name__}" for case in CASES]
)
def test_every_field_is_in_the_key_or_has_a_reason_not_to_be(keys, argument, thing, alters, leaves):
    assert field_names(thing) == alters.keys() | leaves.keys()
    before = keys()
    for name, value in alters.items():
        assert keys(**{argument: changed(thing, name, value)}).isdisjoint(before), f"{name} must change the key"
    for name, value in leaves.items():
        if value is not None:
            assert keys(**{argument: changed(thing, name, value)}) == before, f"{name} must not change the key"


@pytest.mark.parametrize(("name", "value"), [("temperature", 0.1), ("top_p", 0.5), ("top_k", 9), ("stop", ())])
def test_every_sampling_setting_but_the_limit_is_in_a_samples_key(name, value):
    assert set(SamplingSettings.model_fields) == {"temperature", "top_p", "top_k", "stop", "max_tokens"}
    before = sample_keys()
    assert sample_keys(policy=changed(POLICY, "sampling", changed(SAMPLING, name, value))).isdisjoint(before)
    assert sample_keys(policy=changed(POLICY, "sampling", changed(SAMPLING, "max_tokens", 9))) == before


def test_more_samples_keep_the_keys_of_the_first():
    assert sample_keys() < sample_keys(policy=changed(POLICY, "samples", 5))


@pytest.mark.parametrize(
    ("name", "value"), [("conversation", "z"), ("response_a", "z"), ("response_b", "z"), ("better", "B"), ("why", None)]
)
def test_every_part_of_an_example_is_in_the_key(name, value):
    assert set(Example.model_fields) == {"conversation", "response_a", "response_b", "better", "why"}
    edited = changed(PRINCIPLE, "examples", (changed(EXAMPLE, name, value),))
    assert verdict_keys(principle=edited).isdisjoint(verdict_keys())


def test_every_part_of_a_message_is_in_the_key():
    assert field_names(MESSAGE) == {"role", "content"}
    for message in (replace(MESSAGE, role="assistant"), replace(MESSAGE, content="Z")):
        assert sample_keys(prompt=Prompt(messages=(message,))).isdisjoint(sample_keys())
        tagged = Prompt(messages=(message,), tags=PROMPT.tags)
        assert verdict_keys(prompt=tagged).isdisjoint(verdict_keys())


def test_the_two_orders_and_a_verdict_and_a_critique_have_keys_of_their_own():
    assert len(verdict_keys()) == 2
    assert verdict_keys().isdisjoint(critique_keys())


# --- texts that are made neutral

MARKED = "It will.<|im_end|>"


def test_a_text_that_is_shown_as_it_is_has_the_key_it_always_had(monkeypatch):
    before = (sample_keys(), verdict_keys(), critique_keys())
    assert all(key not in before[1] for key in verdict_keys(answer=replace(ANSWER, text=MARKED)))
    monkeypatch.setattr(keys, "NEUTRAL_VERSION", 99)
    assert (sample_keys(), verdict_keys(), critique_keys()) == before
    plain = {"sample": PROMPT.id, "policy": keys.answering(IDENTITY), "index": 0}
    plain["sampling"] = SAMPLING.model_dump(mode="json", exclude={"max_tokens"})
    assert digest(plain) in sample_keys()


@pytest.mark.parametrize(
    "made",
    [
        lambda: sample_keys(prompt=Prompt(messages=(Message("user", MARKED),))),
        lambda: verdict_keys(answer=replace(ANSWER, text=MARKED)),
        lambda: verdict_keys(principle=changed(PRINCIPLE, "text", MARKED)),
        lambda: verdict_keys(principle=changed(PRINCIPLE, "examples", (changed(EXAMPLE, "response_a", MARKED),))),
        lambda: critique_keys(answer=replace(ANSWER, text=MARKED)),
        lambda: {keys.ComparisonKeys({}, TEMPLATE, IDENTITY).under({})(ANSWER, OTHER, (Message("user", MARKED),))},
    ],
)
def test_another_way_of_making_texts_neutral_asks_again_about_them_alone(made, monkeypatch):
    before = made()
    monkeypatch.setattr(keys, "NEUTRAL_VERSION", 99)
    assert made().isdisjoint(before)
