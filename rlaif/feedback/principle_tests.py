"""A constitution's own tests: comparisons whose better answer is known, put to the judge through the store.

A test is judged exactly as a pair of a run is: under its principle alone, in the settings' mode, by the same template
and key. So a test that was judged once costs nothing until the principle's words, the judge or the template change.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rlaif.constitution import Constitution, Principle, PrincipleTest
from rlaif.feedback.ask import Asking, Session, ask
from rlaif.feedback.finished import bare_response
from rlaif.feedback.mode import Mode, Pass, Values
from rlaif.feedback.modes import mode_of
from rlaif.feedback.progress import Progress
from rlaif.records import Message, Prompt, ResponsePair
from rlaif.settings import JudgeSettings, LabelSettings
from rlaif.store import Kind, Store
from rlaif.store.wanted import write_wanted
from rlaif.templates import Template

_AS_SAID = LabelSettings(reasoned_range=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """One test and how it ended. `probability` is P(the answer that should be better is), over both orders where there
    are orders, and not kept in the range of reasoned labels; None where the judge gave no verdict, with the reason."""

    principle_id: str
    number: int
    test: PrincipleTest
    probability: float | None
    is_order_decided: bool
    reason: str

    @property
    def is_passed(self) -> bool:
        return self.probability is not None and self.probability > 0.5


def run_tests(
    constitution: Constitution,
    settings: JudgeSettings,
    *,
    template: Template,
    session: Session,
    store: Store,
    progress: Progress,
    wish: Path,
) -> list[Tested]:
    """The tests of the enabled principles, in the order they are written.

    `wish` is the folder that says to `rlaif store gc` what they rest on; it is written before the first question.
    """
    identity = session.model.identity
    cases = [
        _Case(one, number, test, _pair(test), mode_of(settings, _alone(one), template, identity))
        for one in constitution.enabled
        for number, test in enumerate(one.tests, start=1)
    ]
    if not cases:
        return []
    wanted: dict[Kind, list[str]] = {}
    values: list[Values] = []
    for _ in cases[0].mode.stages:
        asking = _together([case.next_pass(values) for case in cases], settings)
        wanted[asking.kind] = list(asking.requests)
        write_wanted(wish, wanted)
        values.append(ask(asking, session=session, store=store, progress=progress))
    return [case.tested(values) for case in cases]


@dataclass(slots=True)
class _Case:
    """A test on its way: its pair, its principle's own mode, and the passes that were made."""

    principle: Principle
    number: int
    test: PrincipleTest
    pair: ResponsePair
    mode: Mode
    passes: list[Pass] = field(default_factory=list)

    def next_pass(self, values: Sequence[Values]) -> Pass:
        self.passes.append(self.mode.plan_pass([self.pair], values))
        return self.passes[-1]

    def tested(self, values: Sequence[Values]) -> Tested:
        (verdict,) = self.mode.verdicts(self.pair, self.mode.hear(self.passes, values), _AS_SAID)
        probability = verdict.probability
        better = self.test.response_a if self.test.better == "A" else self.test.response_b
        if probability is not None and self.pair.x.text != better:
            probability = 1.0 - probability
        return Tested(
            principle_id=self.principle.id,
            number=self.number,
            test=self.test,
            probability=probability,
            is_order_decided=verdict.is_order_decided,
            reason=verdict.reason,
        )


def _together(passes: Sequence[Pass], settings: JudgeSettings) -> Asking:
    """One stage of all tests as one: they differ in what is asked alone."""
    requests = {key: request for one in passes for key, request in one.asking.requests.items()}
    return replace(passes[0].asking, name=f"test with {settings.model}", requests=requests)


def _alone(principle: Principle) -> Constitution:
    return Constitution(name="test", principles=(principle.model_copy(update={"tags": frozenset()}),))


def _pair(test: PrincipleTest) -> ResponsePair:
    """The pair's x is the answer that sorts first, whichever should be better."""
    prompt = Prompt(messages=(Message("user", test.conversation),))
    x, y = sorted(
        (bare_response(prompt.id, text) for text in (test.response_a, test.response_b)), key=lambda one: one.id
    )
    return ResponsePair(prompt, x, y)
