"""`rlaif generate` as a function: sample, judge, aggregate, choose pairs, critique. The store holds what models said;
everything between and after is computed again on every run, and costs nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

from rlaif.constitution import Constitution
from rlaif.feedback.aggregate import label_pair
from rlaif.feedback.ask import Model, Session
from rlaif.feedback.budget import Budget
from rlaif.feedback.choose import choose_pairs
from rlaif.feedback.counts import StageCount, count_stage
from rlaif.feedback.critique import with_critiques
from rlaif.feedback.judge import count_judgments, judge_pairs
from rlaif.feedback.pairing import pair_up
from rlaif.feedback.progress import Progress
from rlaif.feedback.sample import Sample, sample_responses
from rlaif.records import Judgment, LabelledPair, Pair, Prompt
from rlaif.settings import Settings
from rlaif.store import Kind, Store
from rlaif.templates import Template


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """Who answers (one per policy of the settings, in order) and who judges."""

    policies: tuple[Model, ...]
    judge: Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Templates:
    judge: Template
    critique: Template


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What a run made. `stages` count requests by how they ended; `left_out` counts answers and pairs by reason;
    `wanted` are the keys of the store it rests on, by kind."""

    pairs: tuple[Pair, ...]
    labelled: tuple[LabelledPair, ...]
    stages: dict[str, StageCount]
    left_out: dict[str, int]
    unanswered: tuple[Sample, ...]
    judgments: tuple[Judgment, ...]
    wanted: dict[Kind, list[str]]


def generate(
    settings: Settings,
    constitution: Constitution,
    prompts: Sequence[Prompt],
    *,
    models: Models,
    templates: Templates,
    store: Store,
    progress: Progress,
    budget: Budget | None = None,
) -> RunResult:
    """Carry a run out. Raises EngineError, StoreError or BudgetReached where it cannot go on; what was answered until
    then is kept."""
    budget = budget or Budget()
    samples: list[Sample] = []
    wanted: dict[Kind, list[str]] = {}
    for policy, model in zip(settings.policies, models.policies, strict=True):
        with Session(model, budget) as session:
            samples += sample_responses(prompts, policy, session=session, store=store, progress=progress)
        _gather(wanted, session)
    pairing = pair_up(samples)
    with Session(models.judge, budget) as session:
        judgments = judge_pairs(
            pairing.pairs,
            constitution,
            settings.judge,
            template=templates.judge,
            session=session,
            store=store,
            progress=progress,
        )
        labelled = tuple(
            label_pair(
                pair,
                judgments.get(pair.id, ()),
                constitution,
                probability_floor=settings.pairs.probability_floor,
            )
            for pair in pairing.pairs
        )
        choice = choose_pairs(labelled, settings.pairs, judge=settings.judge.model)
        pairs = choice.pairs
        if settings.pairs.critiques == "dataset" and pairs:
            pairs = with_critiques(
                pairs,
                constitution,
                settings.judge,
                template=templates.critique,
                session=session,
                store=store,
                progress=progress,
            )
    _gather(wanted, session)
    stages = {
        "sample": count_stage(
            len(prompts) * sum(policy.samples for policy in settings.policies),
            ((sample.outcome, sample.reason) for sample in samples),
        ),
        "judge": count_stage(
            count_judgments(pairing.pairs, constitution),
            ((judgment.outcome, judgment.reason) for own in judgments.values() for judgment in own),
        ),
        "critique": count_stage(
            len(pairs) if settings.pairs.critiques == "dataset" else 0,
            ((pair.critique.outcome, pair.critique.reason) for pair in pairs if pair.critique),
        ),
    }
    return RunResult(
        pairs=pairs,
        labelled=labelled,
        stages=stages,
        left_out=pairing.left_out | choice.left_out,
        unanswered=tuple(sample for sample in samples if sample.outcome in ("refused", "failed")),
        judgments=tuple(judgment for own in judgments.values() for judgment in own),
        wanted=wanted,
    )


def _gather(wanted: dict[Kind, list[str]], session: Session) -> None:
    for kind, keys in session.wanted.items():
        wanted.setdefault(kind, []).extend(keys)
