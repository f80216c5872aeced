"""Put to the models what a run of revisions wants: first answers, round after round, then the judge.

Each model is loaded once. Whoever criticises and rewrites keeps its model between the two halves of a round and from
round to round, so that what their prompts share is still in the engine's cache.
"""

from collections.abc import Sequence
from functools import partial

from rlaif.feedback.ask import Answers, Session, ask_blocks
from rlaif.feedback.budget import Budget
from rlaif.feedback.generate import ask_judges
from rlaif.feedback.progress import Progress
from rlaif.feedback.revision.block import RevisionBlock, RevisionRoad, revision_blocks
from rlaif.feedback.road import Blocks
from rlaif.records import Prompt
from rlaif.store import Store


def ask_revisions(
    revising: RevisionRoad,
    prompts: Sequence[Prompt],
    *,
    store: Store,
    progress: Progress,
    budget: Budget | None = None,
) -> Blocks[RevisionBlock]:
    """Let the models answer whatever the store does not have, and give the blocks with everything answered.

    Raises EngineError, StoreError or BudgetReached where it cannot go on; what was answered until then is kept.
    """
    budget, answers = budget or Budget(), Answers(store)
    blocks = revision_blocks(revising, prompts, answers)
    ask = partial(ask_blocks, num_blocks=len(blocks), answers=answers, progress=progress)

    def write(policy: int, session: Session) -> None:
        for number in range(1, revising.settings.rounds + 1):
            ask((block.critiques(policy, number).asking for block in blocks), session=session)
            ask((block.revisions(policy, number).asking for block in blocks), session=session)

    policies = revising.road.models.policies
    for policy, model in enumerate(policies):
        with Session(model, budget) as session:
            ask((block.sampling[policy].asking for block in blocks), session=session)
            if revising.writer is None:
                write(policy, session)
    if revising.writer is not None:
        with Session(revising.writer, budget) as session:
            for policy in range(len(policies)):
                write(policy, session)
    ask_judges(revising.road, blocks, ask, budget)
    return blocks
