"""A run from its settings to its folder: read what the user wrote, check all of it, then let models work.

    outputs/runs/<name>/
      dataset/          Parquet and card: `datasets.load_dataset` reads the folder
      pairs.jsonl       the same rows
      labels.parquet    every judged pair, in the dataset or not
      strengths.parquet with pairs.rank_by bradley_terry: every compared answer's strength and standard error
      settings.yaml     the settings exactly as used
      constitution.yaml the constitution exactly as used, `extends` resolved
      templates/        the templates exactly as used
      run.json          the figures; written last, so a folder that has it is complete
      wanted.parquet    the keys of the store it rests on: `rlaif store gc` keeps them
      timings.json      how long each stage took on this machine (`rlaif/feedback/rates.py`)
      log.txt           what the models' libraries said

Everything a user can get wrong is found before a model is loaded.
"""

import json
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlaif.constitution import Constitution, dump_constitution, load_constitution
from rlaif.documents import write_yaml
from rlaif.engines import identify, open_engine
from rlaif.engines.base import Engine
from rlaif.engines.counting import open_counter
from rlaif.errors import IncompleteRun, TemplateError
from rlaif.feedback.ask import Model, Session, Value
from rlaif.feedback.budget import Budget
from rlaif.feedback.counts import StageCount
from rlaif.feedback.generate import ask_models
from rlaif.feedback.judge import refuse_several_judges
from rlaif.feedback.plan import plan_feedback
from rlaif.feedback.plan_record import Plan
from rlaif.feedback.previous import latest_run, read_previous
from rlaif.feedback.principle_tests import Tested, run_tests
from rlaif.feedback.progress import Progress
from rlaif.feedback.rates import read_rates
from rlaif.feedback.report import Figures, dataset_card, summarise
from rlaif.feedback.road import Block, Models, Road, Templates
from rlaif.feedback.strengths import STRENGTH_SCHEMA, strength_rows
from rlaif.pair_dataset import DatasetWriter, JsonlWriter, LabelWriter, TableWriter, write_text
from rlaif.prompt_sets import PromptSet, clean, read_prompts
from rlaif.settings import EngineSettings, JudgeSettings, Settings
from rlaif.store import Kind, Store
from rlaif.store.gc import tests_folder
from rlaif.store.wanted import WANTED, wanted_writer
from rlaif.store.writing import told_as_ours
from rlaif.templates import Template, dump_template, load_template

COMPARED = frozenset({"conversation", "response_a", "response_b", "principle", "question"})
SCORED = frozenset({"conversation", "response", "principle", "scale", "lowest", "highest"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What the settings name, read and checked."""

    constitution: Constitution
    prompts: PromptSet
    templates: Templates


def read_inputs(settings: Settings, base: Path) -> Inputs:
    """Everything a run reads. Paths are relative to `base`, the folder of the settings file. Raises InputError."""
    return Inputs(
        constitution=load_constitution(settings.constitution, base=base),
        prompts=clean(read_prompts(settings.prompts, base=base), settings.cleaning, base=base),
        templates=find_templates(settings, base),
    )


def find_templates(settings: Settings, base: Path) -> Templates:
    """The templates that the judges' settings name, checked."""
    *others, judge = settings.judges_in_order()
    return Templates(
        judge=_comparison_template(judge.template, base, num_choices=2),
        critique=_comparison_template(judge.critique_template, base, num_choices=0),
        mode=None if judge.mode == "verdict" else judge_template(judge, base),
        others=tuple(judge_template(one, base) for one in others),
    )


def judge_template(settings: JudgeSettings, base: Path) -> Template:
    """The template through which the judge reads in its mode."""
    if settings.mode == "score":
        return _checked(load_template(settings.score_template, base=base), SCORED, num_choices=0)
    return _comparison_template(settings.mode_template, base, num_choices=2)


def _comparison_template(name: str, base: Path, *, num_choices: int) -> Template:
    return _checked(load_template(name, base=base), COMPARED, num_choices=num_choices)


def _checked(template: Template, needed: frozenset[str], *, num_choices: int) -> Template:
    if template.variables != needed or len(template.choices) != num_choices:
        variables = sorted(template.variables)
        raise TemplateError(
            f"template {template.name!r} has variables {variables} and {len(template.choices)} choices.",
            do=f"Here it needs the variables {sorted(needed)} and {num_choices} choices.",
        )
    return template


def run_folder(settings: Settings, base: Path) -> Path:
    return base / settings.output / "runs" / settings.name


class Nothing:
    """In the place of the store: as if no model had ever answered."""

    def get(self, kind: Kind, keys: Iterable[str]) -> dict[str, Value]:
        return {}


def plan(
    settings: Settings, inputs: Inputs, *, base: Path, is_fresh: bool = False, progress: Progress | None = None
) -> Plan:
    """What `run` would ask of models. Reads the store and the run's folder, and writes nothing."""
    folder = run_folder(settings, base)
    with Store(settings.store_place(base)) as store:
        found = plan_feedback(
            road_of(settings, inputs, folder),
            inputs.prompts.prompts,
            known=Nothing() if is_fresh else store,
            previous=None if is_fresh else read_previous(folder) or latest_run(folder.parent),
            rates=read_rates(folder.parent, settings),
            progress=progress,
        )
        _announce(store, progress)
    return found


def road_of(settings: Settings, inputs: Inputs, folder: Path) -> Road:
    """The road of the run in this folder; its models are known, and none is loaded."""
    models = models_of(settings, folder / "log.txt")
    return Road(settings=settings, constitution=inputs.constitution, models=models, templates=inputs.templates)


def run(
    settings: Settings, inputs: Inputs, *, base: Path, progress: Progress, budget: Budget | None = None
) -> dict[str, Any]:
    """Carry a run out and write its folder. Returns the figures of run.json.

    Raises IncompleteRun, after everything is written, when too large a share of the judgments has no verdict.
    """
    folder = run_folder(settings, base)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WANTED).unlink(missing_ok=True)  # a run under way wants everything
    road = road_of(settings, inputs, folder)
    with Store(settings.store_place(base), will_append=True) as store:
        blocks = ask_models(road, inputs.prompts.prompts, store=store, progress=progress, budget=budget)
        summary = write_run(folder, progress.track(blocks, "writing"), road, inputs.prompts)
        _announce(store, progress)
    check_verdicts(summary, settings, complete=folder / "run.json")
    if not summary["pairs"]:
        raise IncompleteRun(
            f"no pair entered the dataset ({leading_reasons(summary['left_out'])}).",
            where=str(folder),
            do="Sample more or longer answers (policies.samples, sampling.max_tokens), or lower pairs.min_margin.",
        )
    return summary


def test_constitution(
    constitution: Constitution, settings: Settings, *, base: Path, progress: Progress
) -> list[Tested]:
    """Put a constitution's own tests to the judge of these settings, through the project's store."""
    refuse_several_judges(settings, "rlaif constitution test")
    template = judge_template(settings.judge, base)
    log_file = base / settings.output / "constitution-test.log"
    judge = judge_of(settings, log_file)
    wish = tests_folder(base / settings.output, constitution.name, settings.judge.model)
    with Store(settings.store_place(base), will_append=True) as store, Session(judge) as session:
        found = run_tests(
            constitution, settings.judge, template=template, session=session, store=store, progress=progress, wish=wish
        )
        _announce(store, progress)
    return found


def _announce(store: Store, progress: Progress | None) -> None:
    for damage in store.damage:
        if progress is not None:
            progress.note(f"unreadable result, asked again: {damage}")


def models_of(settings: Settings, log_file: Path) -> Models:
    """The models of a run, known by their small files or their servers; none is loaded."""
    policies = [_model(policy.model, policy.engine or settings.engine, log_file) for policy in settings.policies]
    judges = [_model(one.model, one.engine or settings.engine, log_file) for one in settings.judges_in_order()]
    return Models(policies=tuple(policies), judge=judges[-1], others=tuple(judges[:-1]))


def judge_of(settings: Settings, log_file: Path) -> Model:
    """The judge alone."""
    return _model(settings.judge.model, settings.judge.engine or settings.engine, log_file)


def _model(name: str, engine: EngineSettings, log_file: Path) -> Model:
    """A model by who it is, and a way to open it when it must answer."""

    def opened() -> AbstractContextManager[Engine]:
        return open_engine(engine, name, log_file=log_file)

    return Model(name=name, identity=identify(engine, name), open=opened, counter=lambda: open_counter(engine, name))


def write_run(folder: Path, blocks: Iterable[Block], road: Road, prompts: PromptSet) -> dict[str, Any]:
    """Write the run's files, the one that says "complete" last. Returns what is in it."""
    settings, constitution = road.settings, road.constitution
    complete = folder / "run.json"
    complete.unlink(missing_ok=True)
    with told_as_ours(str(folder)):
        write_text(folder / "settings.yaml", write_yaml(settings.model_dump(mode="json")))
        write_text(folder / "constitution.yaml", dump_constitution(constitution))
        write_text(folder / "templates" / "judge.txt", dump_template(road.templates.judge))
        write_text(folder / "templates" / "critique.txt", dump_template(road.templates.critique))
        write_mode_template(folder / "templates" / "mode.txt", road.templates.mode)
        write_other_templates(folder / "templates", road.templates.others)
        figures = Figures()
        labels, lines = LabelWriter(folder / "labels.parquet"), JsonlWriter(folder / "pairs.jsonl")
        strengths = _strengths_writer(folder / "strengths.parquet", settings)
        dataset = DatasetWriter(folder / "dataset")
        with wanted_writer(folder) as want:
            for block in blocks:
                figures.add(block)
                labels.add(block.labelled)
                if strengths is not None:
                    strengths.add_rows(strength_rows(block.labelled))
                lines.add(block.pairs)
                dataset.add(block.pairs)
                for asking in block.askings():
                    want(asking.kind, [place for key in asking.requests for place in asking.places(key)])
        summary = summarise(figures, road)
        summary["prompts"] = prompts.figures()
        labels.finish()
        if strengths is not None:
            strengths.finish()
        lines.finish()
        dataset.finish(dataset_card(summary, settings, constitution))
        write_text(complete, json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    return summary


def _strengths_writer(path: Path, settings: Settings) -> TableWriter | None:
    """Where strengths are written, when pairs are ranked by them."""
    if settings.pairs.rank_by == "bradley_terry":
        return TableWriter(path, STRENGTH_SCHEMA)
    path.unlink(missing_ok=True)  # of an earlier run
    return None


def write_mode_template(path: Path, template: Template | None) -> None:
    if template is None:
        path.unlink(missing_ok=True)  # of an earlier run in another mode
    else:
        write_text(path, dump_template(template))


def write_other_templates(folder: Path, templates: Sequence[Template]) -> None:
    for old in folder.glob("other-*.txt"):
        old.unlink()
    for number, template in enumerate(templates):
        write_text(folder / f"other-{number}.txt", dump_template(template))


def check_verdicts(summary: dict[str, Any], settings: Settings, *, complete: Path) -> None:
    """A run that asked and got too little in return must not look like a success to a script."""
    judged = StageCount(**summary["stages"]["judge"])
    if settings.judges.others and "principles" in summary:
        _check_several(summary, settings, complete)
    elif judged.no_verdict_share > settings.max_no_verdict_share:
        raise IncompleteRun(
            f"{judged.no_verdict_share:.1%} of {judged.planned} judgments have no verdict; allowed are"
            f" {settings.max_no_verdict_share:.1%} ({leading_reasons(judged.reasons)}).",
            where=str(complete.parent),
            do=f"The files are written. Look at the reasons in {complete.name}, or raise max_no_verdict_share.",
        )


def _check_several(summary: dict[str, Any], settings: Settings, complete: Path) -> None:
    """Of several judges one may be silent where another speaks: what counts is what none of them gave."""
    heard, silent = (sum(row[name] for row in summary["principles"]) for name in ("judged_pairs", "silent_pairs"))
    if silent > settings.max_no_verdict_share * (heard + silent):
        reasons = {
            f"{name}, {reason}": count
            for name, stage in summary["stages"].items()
            if name.startswith("judge")
            for reason, count in stage["reasons"].items()
        }
        raise IncompleteRun(
            f"no judge gave a verdict on {silent:,} of {heard + silent:,} principles of pairs; allowed are"
            f" {settings.max_no_verdict_share:.1%} ({leading_reasons(reasons)}).",
            where=str(complete.parent),
            do=f"The files are written. Look at the reasons in {complete.name}, or raise max_no_verdict_share.",
        )


def leading_reasons(reasons: dict[str, int]) -> str:
    leading: Sequence[tuple[str, int]] = sorted(reasons.items(), key=lambda item: -item[1])[:3]
    return "; ".join(f"{count} × {reason}" for reason, count in leading) or "there was none"
