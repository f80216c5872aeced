"""Random edits of everything a person can edit: the store never gives an answer to another question.

Two witnesses that do not share code with the keys: the content of each request itself, and a second run of the whole
road on an empty store.
"""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rlaif.constitution import Constitution, Example, Principle
from rlaif.engines.base import ModelIdentity
from rlaif.engines.scripted import Faults
from rlaif.feedback.critique import critique_stage
from rlaif.feedback.judge import judge_stage
from rlaif.feedback.plan_record import STAGES
from rlaif.feedback.road import Templates
from rlaif.feedback.sample import sample_stage
from rlaif.pair_dataset import label_row, pair_row
from rlaif.records import Message, Pair, Prompt, Response, ResponsePair
from rlaif.settings import JudgeSettings, PairSettings, PolicySettings, PromptSource, SamplingSettings, Settings
from rlaif.templates import Template, load_template
from tests.roads import Road
from tests.scale import times

EDITS_PER_EXAMPLE = 50
QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}
JUDGE_TEMPLATE, CRITIQUE_TEMPLATE = load_template("judge"), load_template("critique")

PRINCIPLE_PARTS = ("text", "question", "examples", "weight", "id", "tags", "enabled")
OTHER_PARTS = (
    *("prompts", "prompt text", "prompt tags", "order", "add", "remove", "judge", "template", "critique template"),
    *("samples", "max_tokens", "temperature", "rule", "margin", "floor", "min_covered", "critique_max_tokens"),
)
EDITS = st.one_of(
    st.tuples(st.sampled_from(OTHER_PARTS), st.integers(0, 4)),
    st.tuples(st.tuples(st.integers(0, 3), st.sampled_from(PRINCIPLE_PARTS)), st.integers(0, 4)),
)


@dataclass
class World:
    """What a person edits, as small numbers: which of a few values each part has."""

    principles: list[dict[str, int]] = field(default_factory=lambda: [{"text": n} for n in range(3)])
    parts: dict[str, int] = field(default_factory=dict)

    def edit(self, where, value) -> None:
        if isinstance(where, tuple):
            self.principles[where[0] % len(self.principles)][where[1]] = value
        elif where == "order":
            self.principles = self.principles[value % 3 :] + self.principles[: value % 3]
        elif where == "add" and len(self.principles) < 4:
            self.principles.append({"text": value})
        elif where == "remove" and len(self.principles) > 1:
            self.principles.pop(value % len(self.principles))
        else:
            self.parts[where] = value

    def part(self, name: str) -> int:
        return self.parts.get(name, 0)

    def constitution(self) -> Constitution:
        own = [_principle(n, parts) for n, parts in enumerate(self.principles)]
        words = [(one.text, one.question, one.examples) for one in own]  # equal words are refused when a file is read
        kept = [one for n, one in enumerate(own) if words.index(words[n]) == n]
        if not any(one.enabled and one.weight and not one.tags for one in kept):
            kept.append(Principle(id="always", text="Be of use.", question="Which answer is of more use?"))
        return Constitution(name="test", principles=tuple(kept))

    def prompts(self) -> tuple[Prompt, ...]:
        count = 2 + self.part("prompts") % 2
        texts = [f"Question {n}, version {self.part('prompt text') if n == 0 else 0}?" for n in range(count)]
        tags = frozenset({"code"}) if self.part("prompt tags") % 2 else frozenset()
        return tuple(Prompt(messages=(Message("user", text),), tags=tags) for text in texts)

    def settings(self) -> Settings:
        sampling = SamplingSettings(
            max_tokens=(40, 15, 25, 40, 60)[self.part("max_tokens")], temperature=1.0 + self.part("temperature") / 10
        )
        return Settings(
            constitution="unused",
            prompts=(PromptSource(path="unused"),),
            policies=(PolicySettings(model="policy", samples=3 + self.part("samples") % 2, sampling=sampling),),
            judge=JudgeSettings(
                model=f"judge{self.part('judge') % 2}",
                min_covered=self.part("min_covered") / 4,
                critique_max_tokens=30 + self.part("critique_max_tokens"),
            ),
            pairs=PairSettings(
                rule="all" if self.part("rule") % 2 else "best_worst",
                min_margin=self.part("margin") / 10,
                probability_floor=0.01 + self.part("floor") / 50,
            ),
        )

    def templates(self) -> Templates:
        return Templates(
            judge=_edited(JUDGE_TEMPLATE, self.part("template") % 3),
            critique=_edited(CRITIQUE_TEMPLATE, self.part("critique template") % 3),
        )


def _edited(template: Template, version: int) -> Template:
    return Template(template.name, template.body + " Think." * version, template.variables, template.choices)


def _principle(n: int, parts: dict[str, int]) -> Principle:
    def part(name: str) -> int:
        return parts.get(name, 0)

    example = Example(conversation="Hello.", response_a="Hi.", response_b="No.", better="AB"[part("examples") % 2])
    return Principle(
        id=f"p{n}-{part('id')}",
        text=f"A good answer has property {part('text')}.",
        question=f"Which has more of it ({part('question')})?",
        examples=(example,) * (part("examples") > 0),
        weight=float(part("weight") or 1),
        tags=frozenset({"code"}) if part("tags") == 1 else frozenset(),
        enabled=part("enabled") != 1,
    )


def questions(world: World):
    """(key, what is really asked of whom) of every request of a road whose answers are made up here."""
    wanted, constitution, prompts = world.settings(), world.constitution(), world.prompts()
    policy, judge = (
        ModelIdentity(name="m", weights=name, chat_template="", dtype="") for name in ("p", wanted.judge.model)
    )
    stage = sample_stage(prompts, wanted.policies[0], policy)
    for key, request in stage.asking.requests.items():
        drawn = request.sampling
        yield key, ("text", "p", request.messages, stage.places[key][1], drawn.temperature, drawn.top_p, drawn.stop)
    pairs = [_pair(prompt) for prompt in prompts]
    templates = world.templates()
    verdicts = judge_stage(pairs, constitution, wanted.judge, template=templates.judge, identity=judge)
    for key, request in verdicts.asking.requests.items():
        yield key, ("verdict", judge.weights, request.messages, request.choices)
    chosen = [_chosen(pair, constitution) for pair in pairs]
    critiques = critique_stage(chosen, constitution, wanted.judge, template=templates.critique, identity=judge)
    for key, request in critiques.asking.requests.items():
        yield key, ("critique", judge.weights, request.messages, request.sampling.max_tokens)


def _pair(prompt: Prompt) -> ResponsePair:
    more = {"policy": "p", "sample_index": 0, "finish_reason": "stop", "prompt_tokens": 0, "output_tokens": 0}
    answers = [Response(prompt_id=prompt.id, text=text, **more) for text in ("Yes.", "No.")]
    return ResponsePair(prompt, *sorted(answers, key=lambda answer: answer.id))


def _chosen(pair: ResponsePair, constitution: Constitution) -> Pair:
    return Pair(
        id=pair.id,
        prompt=pair.prompt,
        chosen=pair.x,
        rejected=pair.y,
        probability=1.0,
        margin=1.0,
        is_tie=False,
        verdicts=(),
        shares={constitution.for_tags(pair.prompt.tags)[0].id: 1.0},
        judge="judge",
    )


def check_no_stale_hit(edits, seen, asked):
    """After every edit: an equal key means an equal question, and an equal question an equal key."""
    world = World()
    for where, value in edits:
        world.edit(where, value)
        for key, question in questions(world):
            assert seen.setdefault(key, question) == question, "a stale hit: one key, two questions"
            assert asked.setdefault(question, key) == key, "a needless miss: one question, two keys"


SEEN: tuple[dict, dict] = ({}, {})


@settings(max_examples=60, **QUIET)
@given(st.lists(EDITS, min_size=EDITS_PER_EXAMPLE, max_size=EDITS_PER_EXAMPLE))
def test_three_thousand_random_edits_have_no_stale_hit(edits):
    check_no_stale_hit(edits, *SEEN)


@pytest.mark.slow
@settings(max_examples=times(400, full=2_000), **QUIET)
@given(st.lists(EDITS, min_size=EDITS_PER_EXAMPLE, max_size=EDITS_PER_EXAMPLE))
def test_many_random_edits_have_no_stale_hit(edits):
    check_no_stale_hit(edits, *SEEN)


@settings(max_examples=15, **QUIET)
@given(st.lists(EDITS, min_size=1, max_size=6))
@example([("max_tokens", 2), ("prompt text", 4)])  # new answers expected to be cut, which then are not
@example([("max_tokens", 1), ("prompt text", 4)])
def test_after_edits_the_store_gives_what_an_empty_one_would_and_the_plan_knew_the_calls(tmp_path_factory, edits):
    folder = tmp_path_factory.mktemp("edits")
    kept, world = Road(folder / "kept", judge_rules=()), World()
    for number, (where, value) in enumerate([("order", 0), *edits]):
        world.edit(where, value)
        fresh = Road(folder / f"fresh{number}", judge_rules=(), templates=world.templates())
        kept.templates = world.templates()
        arguments = (world.settings(), world.constitution(), world.prompts())
        plan = kept.plan(*arguments)
        result, expected = kept.run(*arguments), fresh.run(*arguments)
        assert [label_row(one) for one in result.labelled] == [label_row(one) for one in expected.labelled]
        assert [pair_row(one) for one in result.pairs] == [pair_row(one) for one in expected.pairs]
        judge = arguments[0].judge.model
        counted = {
            "sample": kept.count("policy", verdicts=False),
            "judge": kept.count(judge, verdicts=True),
            "critique": kept.count(judge, verdicts=False),
        }
        exact = [stage for stage in STAGES if not plan.is_estimated(stage)]
        assert {stage: plan.calls(stage) for stage in exact} == {stage: counted[stage] for stage in exact}


SHARES = st.sampled_from([0.0, 0.05, 0.3, 0.9])
FAULTS = st.builds(Faults, failed=SHARES, refused=SHARES, truncated=SHARES, unparsed=SHARES)


@settings(max_examples=25, **QUIET)
@given(FAULTS, FAULTS, SHARES)
def test_whatever_goes_wrong_every_planned_request_ends_in_one_counted_outcome(
    tmp_path_factory, policy, judge, abstain
):
    """And the next plan asks for exactly what is not in the store: the failed and refused, nothing else."""
    judge = replace(judge, abstain=abstain)
    road = Road(tmp_path_factory.mktemp("faults"), judge_rules=(), policy_faults=policy, judge_faults=judge)
    world = World()
    arguments = (world.settings(), world.constitution(), world.prompts())
    result = road.run(*arguments)
    counted = {"sample": road.count("policy", verdicts=False)}
    counted |= {"judge": road.count("judge0", verdicts=True), "critique": road.count("judge0", verdicts=False)}
    again = road.plan(*arguments)
    for name, stage in result.stages.items():
        assert sum(stage.outcomes.values()) == stage.planned == counted[name]
        if not again.is_estimated(name):
            assert again.calls(name) == stage.outcomes["failed"] + stage.outcomes["refused"]
