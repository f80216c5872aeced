"""A constitution's own tests: comparisons whose better answer is known, put to the judge through the store.

A test is judged exactly as a pair of a run is: under its principle alone, in both orders, by the same template and
key. So a test that was judged once costs nothing until the principle's words, the judge or the template change.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rlaif.constitution import Constitution, Principle, PrincipleTest
from rlaif.engines.base import ModelIdentity
from rlaif.feedback.aggregate import label_pair
from rlaif.feedback.ask import Session, ask
from rlaif.feedback.finished import bare_response
from rlaif.feedback.judge import JudgeStage, judge_stage
from rlaif.feedback.progress import Progress
from rlaif.records import Judgment, Message, Prompt, ResponsePair
from rlaif.settings import JudgeSettings
from rlaif.store import Store
from rlaif.store.wanted import write_wanted
from rlaif.templates import Template


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """One test and how it ended. `probability` is P(the answer that should be better is), over both orders; None
    where the judge gave no verdict in both, with the reason."""

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
    cases = [(one, number, test) for one in constitution.enabled for number, test in enumerate(one.tests, start=1)]
    stages = [_stage(one, test, settings, template, session.model.identity) for one, _, test in cases]
    requests = {key: request for stage, _ in stages for key, request in stage.asking.requests.items()}
    if not stages:
        return []
    asking = replace(stages[0][0].asking, name=f"test with {settings.model}", requests=requests)
    write_wanted(wish, {asking.kind: list(requests)})
    values = ask(asking, session=session, store=store, progress=progress)
    return [
        _tested(one, number, test, pair, stage.judgments(values).get(pair.id, ()))
        for (one, number, test), (stage, pair) in zip(cases, stages, strict=True)
    ]


def _stage(
    principle: Principle, test: PrincipleTest, settings: JudgeSettings, template: Template, identity: ModelIdentity
) -> tuple[JudgeStage, ResponsePair]:
    """The requests of one test. The pair's x is the answer that sorts first, whichever should be better."""
    prompt = Prompt(messages=(Message("user", test.conversation),))
    x, y = sorted(
        (bare_response(prompt.id, text) for text in (test.response_a, test.response_b)), key=lambda one: one.id
    )
    alone = Constitution(name="test", principles=(principle.model_copy(update={"tags": frozenset()}),))
    pair = ResponsePair(prompt, x, y)
    return judge_stage([pair], alone, settings, template=template, identity=identity), pair


def _tested(
    principle: Principle, number: int, test: PrincipleTest, pair: ResponsePair, judgments: Sequence[Judgment]
) -> Tested:
    weighed = principle.model_copy(update={"weight": 1.0})
    label = label_pair(pair, judgments, Constitution(name="test", principles=(weighed,)), probability_floor=0.01)
    verdict = label.verdicts[0]
    better = test.response_a if test.better == "A" else test.response_b
    probability = verdict.probability
    if probability is not None and pair.x.text != better:
        probability = 1.0 - probability
    return Tested(
        principle_id=principle.id,
        number=number,
        test=test,
        probability=probability,
        is_order_decided=verdict.is_order_decided,
        reason=verdict.reason,
    )
