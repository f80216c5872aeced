"""A small road through the whole pipeline on the scripted engine, for tests that count what models were asked."""

from dataclasses import dataclass, field
from pathlib import Path

from rlaif.constitution import Constitution, Principle
from rlaif.engines.scripted import Faults, Rule, ScriptedEngine, prefer, scripted_identity
from rlaif.feedback.ask import Model
from rlaif.feedback.generate import Models, RunResult, Templates, generate
from rlaif.feedback.progress import Quiet
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
    judge_faults: Faults | None = None
    policy_faults: Faults | None = None
    asked: dict[str, list] = field(default_factory=dict)

    def run(self, wanted: Settings, principles: Constitution, asked_prompts: tuple[Prompt, ...]) -> RunResult:
        self.asked = {}
        models = Models(
            policies=tuple(self._model(p.model, self.policy_rules, self.policy_faults) for p in wanted.policies),
            judge=self._model(wanted.judge.model, self.judge_rules, self.judge_faults),
        )
        templates = Templates(judge=load_template("judge"), critique=load_template("critique"))
        with Store(self.store) as store:
            return generate(
                wanted, principles, asked_prompts, models=models, templates=templates, store=store, progress=Quiet()
            )

    def _model(self, name: str, rules: tuple[Rule, ...], faults: Faults | None) -> Model:
        def opened() -> ScriptedEngine:
            engine = ScriptedEngine(name, rules=rules, faults=faults)
            self.asked.setdefault(name, [])
            engine.calls = self.asked[name]
            return engine

        return Model(name=name, identity=scripted_identity(name), open=opened)

    def count(self, model: str, *, verdicts: bool) -> int:
        """How many verdicts (or texts) a model was asked for in the last run."""
        return sum(bool(request.choices) is verdicts for request in self.asked.get(model, []))
