"""`rlaif generate` as a function: put to the models what a run wants, then read what became of it.

Stage after stage goes through all blocks, so each model is loaded once. The store holds what models said; everything
between and after is computed again on every run, and costs nothing.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from rlaif.feedback.ask import Answers, Session, ask_blocks
from rlaif.feedback.budget import Budget
from rlaif.feedback.counts import RunCount, StageCount
from rlaif.feedback.progress import Progress
from rlaif.feedback.road import B, Block, Blocks, Road
from rlaif.feedback.sample import Sample
from rlaif.records import Judgment, LabelledPair, Pair, Prompt
from rlaif.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """A whole run in memory. `stages` count requests by how they ended, `left_out` answers and pairs by reason."""

    pairs: tuple[Pair, ...]
    labelled: tuple[LabelledPair, ...]
    judgments: tuple[Judgment, ...]
    unanswered: tuple[Sample, ...]
    stages: dict[str, StageCount]
    left_out: dict[str, int]


def generate(
    road: Road, prompts: Sequence[Prompt], *, store: Store, progress: Progress, budget: Budget | None = None
) -> RunResult:
    """Carry a run out and gather all of it: for runs that fit into memory. Raises as `ask_models` does."""
    return gather(ask_models(road, prompts, store=store, progress=progress, budget=budget))


def gather(answered: Iterable[Block]) -> RunResult:
    """What blocks with everything answered amount to."""
    blocks, count = list(answered), RunCount()
    for block in blocks:
        count.add(block)
    return RunResult(
        pairs=tuple(pair for block in blocks for pair in block.pairs),
        labelled=tuple(label for block in blocks for label in block.labelled),
        judgments=tuple(
            one for block in blocks for heard in block.heard for own in heard.judgments.values() for one in own
        ),
        unanswered=tuple(count.unanswered),
        stages=count.stages(),
        left_out=dict(count.left_out),
    )


def ask_models(
    road: Road, prompts: Sequence[Prompt], *, store: Store, progress: Progress, budget: Budget | None = None
) -> Blocks[Block]:
    """Let the models answer whatever the store does not have, and give the blocks with everything answered.

    Raises EngineError, StoreError or BudgetReached where it cannot go on; what was answered until then is kept.
    """
    budget = budget or Budget()
    answers = Answers(store)
    blocks = Blocks(road, prompts, lambda part: Block(road, part, answers))
    ask = partial(ask_blocks, num_blocks=len(blocks), answers=answers, progress=progress)
    for number, model in enumerate(road.models.policies):
        with Session(model, budget) as session:
            ask((block.sampling[number].asking for block in blocks), session=session)
    ask_judges(road, blocks, ask, budget)
    return blocks


def ask_judges(road: Road, blocks: Blocks[B], ask: Callable[..., None], budget: Budget) -> None:
    """Every sitting of every judge, one judge loaded at a time; the last also writes what critiques are wanted."""
    for judge, model in enumerate(road.models.judges):
        with Session(model, budget) as session:
            for number in road.judges.sittings_of(judge):
                ask((block.judging(number).asking for block in blocks), session=session)
            if model is road.models.judge and road.settings.pairs.critiques == "dataset":
                ask((block.critiquing.asking for block in blocks), session=session)
