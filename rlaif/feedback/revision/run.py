"""A run of revisions from its settings to its folder, beside that of `rlaif generate` under the same settings.

outputs/runs/<name>-revisions/
  sft/               prompt → last revision: Parquet and card; `datasets.load_dataset` reads the folder
  sft.jsonl          the same rows
  pairs/             revision and original as judged, Parquet and card
  pairs.jsonl        the same rows
  labels.parquet     every judged pair, in the dataset or not
  rounds.parquet     every round of every answer: principle, critique, revision, how it ended, keys
  settings.yaml  constitution.yaml  templates/    exactly as used
  revisions.json     the figures; written last, so a folder that has it is complete
  wanted.parquet  timings.json  log.txt           as in any run (`rlaif/feedback/run.py`)
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlaif.constitution import dump_constitution
from rlaif.documents import write_yaml
from rlaif.errors import ConstitutionError, IncompleteRun, TemplateError
from rlaif.feedback.ask import Model
from rlaif.feedback.budget import Budget
from rlaif.feedback.plan_record import Plan
from rlaif.feedback.progress import Progress
from rlaif.feedback.rates import read_rates
from rlaif.feedback.revision.block import RevisionBlock, RevisionRoad, RevisionTemplates, revision_settings
from rlaif.feedback.revision.cards import examples_card, pairs_card
from rlaif.feedback.revision.figures import RevisionFigures, summarise
from rlaif.feedback.revision.plan import plan_revisions
from rlaif.feedback.revision.revise import ask_revisions
from rlaif.feedback.revision.rows import (
    EXAMPLE_SCHEMA,
    REVISION_PAIR_SCHEMA,
    ROUND_SCHEMA,
    example_rows,
    revision_pair_row,
    round_rows,
)
from rlaif.feedback.road import Road
from rlaif.feedback.run import (
    Inputs,
    Nothing,
    check_verdicts,
    leading_reasons,
    models_of,
    read_inputs,
    write_mode_template,
    write_other_templates,
)
from rlaif.pair_dataset import DatasetWriter, JsonlWriter, LabelWriter, TableWriter, write_text
from rlaif.prompt_sets import PromptSet
from rlaif.settings import PolicySettings, Settings
from rlaif.store import Store
from rlaif.store.wanted import WANTED, wanted_writer
from rlaif.store.writing import told_as_ours
from rlaif.templates import Template, dump_template, load_template

COMPLETE = "revisions.json"
_SEEN = frozenset({"conversation", "response", "principle", "request"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionInputs:
    """What the settings name, read and checked."""

    main: Inputs
    templates: RevisionTemplates


def read_revision_inputs(settings: Settings, base: Path) -> RevisionInputs:
    """Everything a run of revisions reads. Raises InputError."""
    templates = RevisionTemplates(
        critique=_template(settings.revision.critique_template, base, _SEEN),
        revise=_template(settings.revision.revision_template, base, _SEEN | {"critique"}),
    )
    inputs = read_inputs(settings, base)
    enabled = inputs.constitution.enabled
    if settings.revision.principles == "with_requests" and not any(
        one.critique_request and one.revision_request for one in enabled
    ):
        raise ConstitutionError(
            f"no enabled principle of {inputs.constitution.name!r} has both a critique_request and a revision_request.",
            where=settings.constitution,
            do="Write them, or set revision.principles to all: plain requests are then made from the texts.",
        )
    return RevisionInputs(main=inputs, templates=templates)


def _template(name: str, base: Path, needed: frozenset[str]) -> Template:
    template = load_template(name, base=base)
    if template.variables != needed or template.choices:
        raise TemplateError(
            f"template {template.name!r} has variables {sorted(template.variables)} and {len(template.choices)}"
            " choices.",
            do=f"Here it needs the variables {sorted(needed)} and no choices.",
        )
    return template


def revision_folder(settings: Settings, base: Path) -> Path:
    return base / settings.output / "runs" / f"{settings.name}-revisions"


def revision_road(settings: Settings, inputs: RevisionInputs, folder: Path) -> RevisionRoad:
    """The road of the run in this folder; its models are known, and none is loaded."""
    log_file, own = folder / "log.txt", revision_settings(settings)
    road = Road(
        settings=own,
        constitution=inputs.main.constitution,
        models=models_of(own, log_file),
        templates=inputs.main.templates,
    )
    return RevisionRoad(road=road, writer=_writer(own, log_file), templates=inputs.templates)


def _writer(settings: Settings, log_file: Path) -> Model | None:
    if settings.revision.model is None:
        return None
    alone = PolicySettings(model=settings.revision.model, engine=settings.revision.engine)
    return models_of(settings.model_copy(update={"policies": (alone,)}), log_file).policies[0]


def plan(
    settings: Settings,
    inputs: RevisionInputs,
    *,
    base: Path,
    is_fresh: bool = False,
    progress: Progress | None = None,
) -> Plan:
    """What `run` would ask of models. Reads the store, and writes nothing."""
    folder = revision_folder(settings, base)
    with Store(settings.store_place(base)) as store:
        return plan_revisions(
            revision_road(settings, inputs, folder),
            inputs.main.prompts.prompts,
            known=Nothing() if is_fresh else store,
            rates=read_rates(folder.parent, settings),
            progress=progress,
        )


def run(
    settings: Settings, inputs: RevisionInputs, *, base: Path, progress: Progress, budget: Budget | None = None
) -> dict[str, Any]:
    """Carry a run out and write its folder. Returns the figures of revisions.json.

    Raises IncompleteRun, after everything is written, when too many judgments have no verdict or nothing was revised.
    """
    folder = revision_folder(settings, base)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WANTED).unlink(missing_ok=True)  # a run under way wants everything
    revising = revision_road(settings, inputs, folder)
    with Store(settings.store_place(base), will_append=True) as store:
        blocks = ask_revisions(revising, inputs.main.prompts.prompts, store=store, progress=progress, budget=budget)
        summary = write_revisions(folder, progress.track(blocks, "writing"), revising, settings, inputs.main.prompts)
        for damage in store.damage:
            progress.note(f"unreadable result, asked again: {damage}")
    check_verdicts(summary, settings, complete=folder / COMPLETE)
    if not summary["examples"]:
        raise IncompleteRun(
            f"no example to fine-tune on ({leading_reasons(summary['no_examples'] | summary['left_out'])}).",
            where=str(folder),
            do=f"The files are written; rounds.parquet and {COMPLETE} say how each round ended.",
        )
    return summary


def write_revisions(
    folder: Path, blocks: Iterable[RevisionBlock], revising: RevisionRoad, settings: Settings, prompts: PromptSet
) -> dict[str, Any]:
    """Write the run's files, the one that says "complete" last. Returns what is in it."""
    complete = folder / COMPLETE
    complete.unlink(missing_ok=True)
    with told_as_ours(str(folder)):
        _write_inputs(folder, revising, settings)
        figures, files = RevisionFigures(revising.settings.rounds), _Files(folder)
        with wanted_writer(folder) as want:
            for block in blocks:
                figures.add(block)
                files.add(block)
                for asking in block.askings():
                    want(asking.kind, [place for key in asking.requests for place in asking.places(key)])
        summary = summarise(figures, revising)
        summary["prompts"] = prompts.figures()
        files.finish(summary, settings)
        write_text(complete, json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    return summary


def _write_inputs(folder: Path, revising: RevisionRoad, settings: Settings) -> None:
    write_text(folder / "settings.yaml", write_yaml(settings.model_dump(mode="json")))
    write_text(folder / "constitution.yaml", dump_constitution(revising.road.constitution))
    own, below = revising.templates, revising.road.templates
    for name, template in (
        ("judge", below.judge),
        ("critique", below.critique),
        ("critique_answer", own.critique),
        ("revise", own.revise),
    ):
        write_text(folder / "templates" / f"{name}.txt", dump_template(template))
    write_mode_template(folder / "templates" / "mode.txt", below.mode)
    write_other_templates(folder / "templates", below.others)


class _Files:
    """The data files of a run while they are written."""

    def __init__(self, folder: Path) -> None:
        self._examples = DatasetWriter(folder / "sft", EXAMPLE_SCHEMA), JsonlWriter(folder / "sft.jsonl")
        self._pairs = DatasetWriter(folder / "pairs", REVISION_PAIR_SCHEMA), JsonlWriter(folder / "pairs.jsonl")
        self._labels = LabelWriter(folder / "labels.parquet")
        self._rounds = TableWriter(folder / "rounds.parquet", ROUND_SCHEMA)

    def add(self, block: RevisionBlock) -> None:
        """Write a block's rows."""
        pairs = [revision_pair_row(pair, block.origins) for pair in block.pairs]
        for writers, rows in ((self._examples, list(example_rows(block))), (self._pairs, pairs)):
            for writer in writers:
                writer.add_rows(rows)
        self._labels.add(block.labelled)
        self._rounds.add_rows(round_rows(block))

    def finish(self, summary: dict[str, Any], settings: Settings) -> None:
        self._labels.finish()
        self._rounds.finish()
        for (dataset, lines), card in ((self._examples, examples_card), (self._pairs, pairs_card)):
            lines.finish()
            dataset.finish(card(summary, settings))
