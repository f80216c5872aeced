"""A small road through the whole pipeline on the scripted engine, for tests that count what models were asked."""

from dataclasses import dataclass, field, replace
from itertools import chain, repeat
from pathlib import Path

from rlaif.constitution import Constitution, Principle
from rlaif.engines.counting import PromptCounter, scripted_tokens
from rlaif.engines.scripted import Faults, Rule, ScriptedEngine, prefer, scripted_identity
from rlaif.feedback.ask import Model
from rlaif.feedback.budget import Budget
from rlaif.feedback.cost import Rates
from rlaif.feedback.generate import RunResult, ask_models, gather, generate
from rlaif.feedback.plan import plan_feedback
from rlaif.feedback.plan_record import Plan
from rlaif.feedback.previous import Previous
from rlaif.feedback.progress import Quiet
from rlaif.feedback.road import Models, Templates
from rlaif.feedback.road import Road as RunRoad
from rlaif.feedback.run import write_run
from rlaif.prompt_sets import PromptSet
from rlaif.records import Message, Prompt
from rlaif.settings import JudgeSettings, PairSettings, PolicySettings, PromptSource, SamplingSettings, Settings
from rlaif.store import Store
from rlaif.templates import load_template

QUESTION = "Which response follows this principle better?"


def principle(name: str, word: str, **more) -> Principle:
    """A principle the scripted judge below follows: prefer the answer with this word in it."""
    return Principle(id=name, text=f"A good answer says «{word}».", question=QUESTION, **more)


def follows_the_word(request):
    """A judge's rule: the word between « » in the principle decides."""
    text = request.messages[0].content
    word = text.split("<principle>")[1].split("«")[1].split("»")[0]
    return prefer(lambda answer: word in answer.split())(request)


def prompts(count: int) -> tuple[Prompt, ...]:
    return tuple(Prompt(messages=(Message("user", f"Question number {n}?"),)) for n in range(count))


def shipped_templates() -> Templates:
    return Templates(judge=load_template("judge"), critique=load_template("critique"))


def settings(**more) -> Settings:
    base = {
        "constitution": "unused",
        "prompts": (PromptSource(path="unused"),),
        "policies": (PolicySettings(model="policy", samples=4, sampling=SamplingSettings(max_tokens=40)),),
        "judge": JudgeSettings(model="judge"),
        "pairs": PairSettings(min_margin=0.0),
    }
    return Settings(**(base | more))


def constitution(*principles: Principle) -> Constitution:
    own = principles or (principle("kind", "kind"), principle("example", "example"), principle("short", "short"))
    return Constitution(name="test", principles=own)


@dataclass
class Road:
    """Runs over one store. `asked` holds the requests of the last run, by model name."""

    store: Path
    judge_rules: tuple[Rule, ...] = (follows_the_word,)
    policy_rules: tuple[Rule, ...] = ()
    other_rules: tuple[tuple[Rule, ...], ...] = ()  # of the judges beside `judge`, one after the other
    judge_faults: Faults | None = None
    other_faults: Faults | None = None
    judge_context: int = 32_768
    policy_faults: Faults | None = None
    budget: Budget | None = None
    templates: Templates = field(default_factory=lambda: shipped_templates())
    previous: Previous | None = None
    rates: Rates = field(default_factory=lambda: Rates(by_stage={}, loading_s={}))
    asked: dict[str, list] = field(default_factory=dict)
    opened: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    most_loaded: int = 0

    def run(self, wanted: Settings, principles: Constitution, asked_prompts: tuple[Prompt, ...]) -> RunResult:
        self.asked = {}
        road = self.road(wanted, principles)
        with Store(self.store) as store:
            result = generate(road, asked_prompts, store=store, progress=Quiet(), budget=self.budget)
        self.previous = self._finished(road, result)
        return result

    def write(
        self, folder: Path, wanted: Settings, principles: Constitution, asked_prompts: tuple[Prompt, ...]
    ) -> RunResult:
        """The same, and the run's folder."""
        self.asked = {}
        road = self.road(wanted, principles)
        with Store(self.store) as store:
            blocks = ask_models(road, asked_prompts, store=store, progress=Quiet(), budget=self.budget)
            write_run(folder, blocks, road, PromptSet(asked_prompts, ()))
            result = gather(blocks)
        self.previous = self._finished(road, result)
        return result

    def road(self, wanted: Settings, principles: Constitution) -> RunRoad:
        models, templates = self._models(wanted), self.templates_for(wanted)
        return RunRoad(settings=wanted, constitution=principles, models=models, templates=templates)

    def templates_for(self, wanted: Settings) -> Templates:
        """With those of the judges beside `judge`."""
        others = tuple(load_template(judge.mode_template) for judge in wanted.judges_in_order()[:-1])
        return replace(self.templates, others=others)

    def plan(self, wanted: Settings, principles: Constitution, asked_prompts: tuple[Prompt, ...]) -> Plan:
        """What `run` with the same arguments would ask."""
        with Store(self.store) as store:
            road = self.road(wanted, principles)
            return plan_feedback(road, asked_prompts, known=store, previous=self.previous, rates=self.rates)

    def _finished(self, road: RunRoad, result: RunResult) -> Previous:
        """What the run's folder would say of it next time."""
        models, policies = road.models, road.settings.policies
        return Previous(
            settings=road.settings,
            constitution=road.constitution,
            templates=road.templates,
            judge=models.judge.identity,
            others=tuple(model.identity for model in models.others),
            policies=tuple((m.identity, p) for m, p in zip(models.policies, policies, strict=True)),
            asked_prompts=frozenset(label.pair.prompt.id for label in result.labelled)
            | frozenset(sample.prompt.id for sample in result.unanswered),
            judged_pairs=frozenset(label.pair.id for label in result.labelled),
        )

    def _models(self, wanted: Settings) -> Models:
        return Models(
            policies=tuple(self._model(p.model, self.policy_rules, self.policy_faults) for p in wanted.policies),
            judge=self._model(wanted.judge.model, self.judge_rules, self.judge_faults, self.judge_context),
            others=tuple(
                self._model(judge.model, rules, self.other_faults)
                for judge, rules in zip(wanted.judges.others, chain(self.other_rules, repeat(())), strict=False)
            ),
        )

    def _model(self, name: str, rules: tuple[Rule, ...], faults: Faults | None, context: int = 32_768) -> Model:
        def opened() -> ScriptedEngine:
            engine = ScriptedEngine(name, rules=rules, faults=faults, max_model_len=context)
            self.asked.setdefault(name, [])
            self.opened.append(name)
            self.loaded.append(name)
            self.most_loaded = max(self.most_loaded, len(self.loaded))
            engine.close = lambda: self.loaded.remove(name)
            engine.calls = self.asked[name]
            return engine

        counter = PromptCounter(scripted_tokens, is_exact=True)
        return Model(name=name, identity=scripted_identity(name), open=opened, counter=lambda: counter)

    def count(self, model: str, *, verdicts: bool) -> int:
        """How many verdicts (or texts) a model was asked for in the last run."""
        return sum(bool(request.choices) is verdicts for request in self.asked.get(model, []))
