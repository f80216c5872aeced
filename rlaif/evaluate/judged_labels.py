"""A judge's labels on people's pairs as they are, so that both kinds of label exist for the same texts.

The pairs of a label file go down the road of a run (`rlaif/feedback/given_pairs.py`), and what comes out is a label
file of the judge: a probability for each pair, a mark for each principle, both orders in every mark.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rlaif.constitution import load_constitution
from rlaif.errors import DataError
from rlaif.feedback.budget import Budget
from rlaif.feedback.counts import RunCount
from rlaif.feedback.generate import ask_models
from rlaif.feedback.given_pairs import GivenRoad, given_road
from rlaif.feedback.plan import plan_feedback
from rlaif.feedback.plan_record import Plan
from rlaif.feedback.progress import Progress
from rlaif.feedback.rates import read_rates
from rlaif.feedback.road import Block, Blocks
from rlaif.feedback.run import find_templates, models_of
from rlaif.labels.file import write_votes
from rlaif.labels.label import Vote
from rlaif.labels.sources import judge_vote, pairs_of, votes_of
from rlaif.records import Prompt
from rlaif.settings import Settings
from rlaif.store import Store
from rlaif.store.wanted import wanted_writer

Judged = tuple[GivenRoad, tuple[Prompt, ...]]


def read_pairs(files: Sequence[Path], settings: Settings, base: Path, log_file: Path) -> Judged:
    """The road of the pairs in these label files, and its prompts. DataError where there is none."""
    pairs = pairs_of(votes_of(files))
    if not pairs:
        raise DataError("there is no label in it.", where=", ".join(map(str, files)), do="Name a label file.")
    constitution = load_constitution(settings.constitution, base=base)
    return given_road(settings, constitution, models_of(settings, log_file), find_templates(settings, base), pairs)


def judge_name(road: GivenRoad) -> str:
    """As a run's label table has it."""
    return road.judges.name if road.judges.are_several else road.models.judge.identity.name


def plan_judging(judged: Judged, *, store: Store, runs: Path) -> Plan:
    """What `judge_pairs` would ask: `rlaif plan` for a label file."""
    road, prompts = judged
    return plan_feedback(road, prompts, known=store, previous=None, rates=read_rates(runs, road.settings))


def judge_pairs(
    judged: Judged,
    *,
    store: Store,
    progress: Progress,
    output: Path,
    wish: Path,
    budget: Budget | None = None,
) -> dict[str, Any]:
    """Ask whatever the store does not have, and write the label file, whole or not at all. Gives the counts.

    `wish` is the folder that says to `rlaif store gc` what the labels rest on: what is asked first before it is asked,
    everything when it was. Raises as `rlaif.feedback.generate.ask_models` does; what was answered until then is kept.
    """
    road, prompts = judged
    _say_first_wish(road, prompts, store, wish)
    blocks = ask_models(road, prompts, store=store, progress=progress, budget=budget)
    count = RunCount()
    with wanted_writer(wish) as want:

        def counted(some: Iterable[Block]) -> Iterator[Block]:
            for block in some:
                count.add(block)
                for asking in block.askings():
                    want(asking.kind, [place for key in asking.requests for place in asking.places(key)])
                yield block

        written = write_votes(output, _votes(counted(progress.track(blocks, "writing")), judge_name(road)))
    stages = {name: stage for name, stage in count.stages().items() if name not in ("sample", "critique")}
    return {"labels": written, "prompts": len(prompts), "judge": judge_name(road), "stages": stages}


def _votes(blocks: Iterable[Block], judge: str) -> Iterator[Vote]:
    for block in blocks:
        for labelled in block.labelled:
            yield judge_vote(labelled, judge)


def _say_first_wish(road: GivenRoad, prompts: Sequence[Prompt], store: Store, wish: Path) -> None:
    """What is asked before anything is answered: a block at a time, and nothing of it is kept."""
    with wanted_writer(wish) as want:
        for block in Blocks(road, prompts, lambda part: Block(road, part, store)):
            asking = block.judging(0).asking
            want(asking.kind, [place for key in asking.requests for place in asking.places(key)])
