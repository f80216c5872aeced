"""A run whose scripted judge has biases of known size, and its card."""

from rlaif.engines.base import Request
from rlaif.engines.counting import PromptCounter, scripted_tokens
from rlaif.engines.leaning import Bias, drawn_worth, leaning
from rlaif.engines.scripted import Faults, ScriptedEngine, scripted_identity
from rlaif.evaluate.judge_card.making import Beside, card_of_run
from rlaif.feedback.ask import Model
from rlaif.feedback.road import Models
from rlaif.identity import digest
from rlaif.settings import JudgeSettings, PolicySettings, SamplingSettings, Settings
from rlaif.store import Store
from tests.roads import Road, constitution, principle, prompts, settings

PLANTED = Bias(position=0.5, length=0.6, verbosity=1.5, markdown=0.3, lists=-0.4, own=0.8)
MARK = "indeed"  # what only the judge's family says
POLICIES = ("llama-small", "qwen-small")
JUDGE = "llama-judge"


def styled(name: str):
    """A policy's rule: words, some repeated, some answers with bold words or lists. Only a llama says MARK."""

    def rule(request: Request) -> str | None:
        if request.choices:
            return None
        drawn = digest([name, request.sampling.seed, request.messages[-1].content])
        number = [int(drawn[place : place + 4], 16) for place in range(0, 40, 4)]
        words = [f"w{(number[0] + n * (1 + number[1] % 7)) % 60}" for n in range(6 + number[2] % 50)]
        words += words[: number[3] % 20] + ([MARK] if "llama" in name else ["surely"])
        words += [f"**{word}**" for word in words[: number[4] % 5 * (number[5] % 2)]]
        items = [f"- {word}" for word in words[: (2 + number[6] % 5) * (number[7] % 2)]]
        return "\n".join([" ".join(words), *items])

    return rule


def biased(bias: Bias = PLANTED, spread: float = 0.8):
    return leaning(bias, worth=drawn_worth(spread), is_own=lambda text: MARK in text)


class Families(Road):
    """Policies that write differently, one of the judge's family."""

    def _models(self, wanted: Settings) -> Models:
        judge = self._model(wanted.judge.model, self.judge_rules, self.judge_faults)
        return Models(policies=tuple(self._policy(p.model) for p in wanted.policies), judge=judge)

    def _policy(self, name: str) -> Model:
        counter = PromptCounter(scripted_tokens, is_exact=True)
        return Model(
            name=name,
            identity=scripted_identity(name),
            open=lambda: ScriptedEngine(name, rules=[styled(name)]),
            counter=lambda: counter,
        )


def two_families(policies=POLICIES, **more) -> Settings:
    drawn = SamplingSettings(max_tokens=400)
    own = tuple(PolicySettings(model=name, samples=2, sampling=drawn) for name in policies)
    return settings(policies=own, judge=JudgeSettings(model=JUDGE), **more)


def biased_run(
    folder, *, count=60, bias=PLANTED, names=("first", "second"), policies=POLICIES, faults=None, rules=None
):
    """(road, folder of the run): `count` prompts, two answers of each policy, all pairs judged."""
    road = Families(folder / "outputs" / "store", judge_rules=rules or (biased(bias),), judge_faults=faults or Faults())
    wanted = two_families(policies)
    run = folder / "outputs" / "runs" / wanted.name
    road.write(run, wanted, constitution(*(principle(name, name) for name in names)), prompts(count))
    return road, run


def card_of(road, run, **beside):
    return card_of_run(run, lambda: Store(road.store), Beside(**beside))
