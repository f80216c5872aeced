"""A training from its settings to the finished folder: read, check, load, train, measure, save.

    result = run_training("dpo", settings, base=Path("."))

The order is that of cost: data and tokenizer are read and checked before a model is loaded, the reference is computed
before the first step, and nothing is written to the output's top before the training is over. The same command
continues a killed run; on a finished one it has nothing to do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import nn

from rlaif.engines.model_files import find_model
from rlaif.identity import digest
from rlaif.settings import EngineSettings
from rlaif.train import checkpoint, hub
from rlaif.train.data_card import DataCard
from rlaif.train.dpo import DpoTask
from rlaif.train.examples import (
    DataEntry,
    Limits,
    Reader,
    TrainingRow,
    read_answers,
    read_demonstrations,
    read_preferences,
    read_rankings,
    rows_digest,
)
from rlaif.train.folders import (
    check_output,
    check_same_run,
    give_up_others,
    quiet_transformers,
    write_settings,
)
from rlaif.train.forward import LogprobModel, RewardModel
from rlaif.train.grouping import group_by_prompt
from rlaif.train.heads import Heads, check_principles
from rlaif.train.holding_out import hold_out
from rlaif.train.kl import sampled_kl
from rlaif.train.kto import KtoTask, choose_partners, with_mismatched
from rlaif.train.label_checks import check_answers, check_pairs
from rlaif.train.loading import (
    Method,
    check_same_tokens,
    check_trackers,
    load_model,
    load_tokenizer,
    with_adapters,
)
from rlaif.train.loop import Report, Watcher, train
from rlaif.train.reference import reference_sums, weights_digest
from rlaif.train.reward import RewardTask, note_statistics
from rlaif.train.saving import is_saved, model_card, save_model
from rlaif.train.settings import (
    WITHOUT_REFERENCE,
    DataSettings,
    DpoSettings,
    RewardSettings,
    SftSettings,
    TrainSettings,
)
from rlaif.train.sft import SftTask
from rlaif.train.sharding import is_sharded, whole_weights
from rlaif.train.stepping import Figures, make_accelerator
from rlaif.train.task import Layout, Task
from rlaif.train.tokenise import Tokeniser

SETTINGS: dict[Method, type[TrainSettings]] = {"sft": SftSettings, "reward": RewardSettings, "dpo": DpoSettings}
# what may change between a killed run and its continuation without changing a number of the training
_FREE: Any = {
    **dict.fromkeys(
        ("output", "reference_cache", "model", "data", "eval_data"), True
    ),  # what they hold is named itself
    **dict.fromkeys(("push_to_hub", "hub_private", "kl_prompts", "kl_new_tokens", "combination"), True),
    "loop": {"save_every", "keep_checkpoints", "trackers"},
    "lora": {"merge"},
}


@dataclass(frozen=True, slots=True)
class Result:
    """What a training left: the folder, the data card, how it ended, and where it was sent."""

    folder: Path
    card: DataCard
    report: Report
    figures: Figures
    address: str | None = None


def run_training(
    method: Method,
    settings: TrainSettings,
    *,
    base: Path = Path(),
    begin_anew: bool = False,
    show_card: Callable[[DataCard], None] = lambda card: None,
    say: Callable[[str], None] = lambda text: None,
    watch: Watcher = lambda done, total, figures: None,
) -> Result:
    """Carry a training out; paths of the settings count from `base`. `begin_anew` gives up a training of other data,
    settings or weights that the output folder may hold, where it would otherwise be an error."""
    quiet_transformers()
    check_trackers(settings.loop.trackers)
    run = _Run(method, settings, base, say)
    check_output(run.output, run.name, begin_anew=begin_anew)
    rows, card = run.read(settings.data)
    show_card(card)
    card.check(allow_uneven=settings.allow_uneven)
    places = {id(row): place for row, place in zip(rows, card.places, strict=True)}
    rows, held_out = hold_out(rows, settings.eval_share, settings.loop.seed)
    if settings.eval_data:
        more, eval_card = run.read(settings.eval_data)
        eval_card.check(allow_uneven=True, purpose="evaluate on")
        held_out += more
    if held_out:
        say(f"{len(held_out)} rows are held out; learnt from are {len(rows)}")
    run.check_labels(rows)
    run.load()
    if settings.push_to_hub and run.accelerator.is_main_process:
        hub.make_repository(settings.push_to_hub, is_private=settings.hub_private)
    identity = {
        "method": method,
        "settings": digest(settings.model_dump(mode="json", exclude=_FREE)),
        "data": card.digest,
        "eval_data": rows_digest(held_out),
        "model": weights_digest(run.module),
    }
    if begin_anew:
        give_up_others(run.output, identity, run.accelerator)
    check_same_run(run.output / "training", identity, settings, _FREE)
    task, evaluation = run.task(rows), run.task(held_out) if held_out else None
    write_settings(run.output / "training", settings)
    report = train(
        task,
        run.module,
        settings.loop,
        folder=run.output / "training",
        identity=identity,
        evaluation=evaluation,
        accelerator=run.accelerator,
        watch=watch,
        place_of=lambda row: places[id(rows[row])],
        say=say,
    )
    figures: Figures = {**report.last, **(report.evaluation or {})}
    run.put_together()
    address = None
    if run.accelerator.is_main_process:
        if not (is_saved(run.output) and report.resumed_at == report.steps):
            figures |= run.measure(held_out or rows)
            say(f"writing {run.output}")
            run.save(evaluation or task, card, figures)
        if settings.push_to_hub:
            say(f"sending it to {settings.push_to_hub}")
            address = hub.push(run.output, settings.push_to_hub)
    return Result(run.output, card, report, figures, address)


class _Run:
    """What the stages of a training share."""

    module: nn.Module
    model: Any
    accelerator: Accelerator
    layout: Layout

    def __init__(self, method: Method, settings: TrainSettings, base: Path, say: Callable[[str], None]) -> None:
        self.method, self.settings, self.base, self.say = method, settings, base, say
        self.output = base / settings.output
        self.name = find_model(settings.model, EngineSettings()).source
        self.tokenizer = load_tokenizer(self.name)
        self.heads = Heads()
        if isinstance(settings, RewardSettings):
            self.heads = Heads(settings.principles, settings.members)

    def read(self, data: Sequence[DataSettings]) -> tuple[list[TrainingRow], DataCard]:
        """Rows as the method wants them, and what became of those in the files."""
        s = self.settings
        entries = [
            DataEntry(path=one.path, name=one.name or one.path, weight=one.weight, split=one.split, config=one.config)
            for one in data
        ]
        limits = Limits(
            max_length=s.max_length,
            too_long=s.too_long,
            labels=s.labels,
            with_principles=bool(self.heads.principles),
        )
        rows, card = self.reader()(entries, Tokeniser(self.tokenizer), limits, base=self.base)
        if isinstance(s, RewardSettings) and s.group_prompts:
            rows, places = group_by_prompt(rows, card.places)
            card = replace(card, num_rows=len(rows), digest=rows_digest(rows), places=places)
        return rows, card

    def reader(self) -> Reader:
        if self.method == "sft":
            return read_demonstrations
        if self.method == "reward":
            return read_rankings
        return read_answers if self.is_kto else read_preferences

    @property
    def is_kto(self) -> bool:
        return isinstance(self.settings, DpoSettings) and self.settings.loss == "kto"

    def check_labels(self, rows: Sequence[TrainingRow]) -> None:
        if self.is_kto:
            check_answers(rows)
        elif self.method != "sft":
            check_principles(rows, self.heads)
            check_pairs(rows)

    def load(self) -> None:
        self.accelerator = make_accelerator(self.settings.loop, self.output / "training")
        self.layout = Layout.of(self.settings.loop, self.accelerator.device)
        self.make_module()

    def make_module(self) -> None:
        """The model as it is before the first step."""
        model = load_model(self.method, self.name, self.tokenizer, self.settings, self.heads)
        self.model = with_adapters(self.method, model, self.settings).to(self.accelerator.device)
        self.module = RewardModel(self.model) if self.method == "reward" else self.readable(self.model)

    def put_together(self) -> None:
        """After a sharded training, a whole model in the place of its shards on the process that writes it."""
        if not is_sharded(self.module):
            return
        weights = whole_weights(self.module)
        if self.accelerator.is_main_process:
            self.accelerator.free_memory()
            self.make_module()
            checkpoint.load_weights(self.module, weights)

    def readable(self, model: Any) -> LogprobModel:
        return LogprobModel(model, chunk_rows=self.settings.loop.chunk_rows)

    # --- the method's task

    def task(self, rows: Sequence[TrainingRow]) -> Task:
        s = self.settings
        if isinstance(s, DpoSettings) and self.is_kto:
            partners = choose_partners(rows)
            sums = self.reference(with_mismatched(rows, partners, s.max_length), s)
            return KtoTask(rows, self.layout, s, sums, partners)
        if isinstance(s, DpoSettings):
            return DpoTask(rows, self.layout, s, None if s.loss in WITHOUT_REFERENCE else self.reference(rows, s))
        if isinstance(s, RewardSettings):
            return RewardTask(
                rows,
                self.layout,
                use_margin=s.use_margin,
                centring=s.centring,
                heads=self.heads,
                seed=s.loop.seed,
            )
        return SftTask(rows, self.layout)

    def reference(self, rows: Sequence[TrainingRow], settings: DpoSettings) -> NDArray[np.float64]:
        """Log-probabilities of the model as it is now, or of the one that is named."""
        self.say("reference log-probabilities (kept ones are not computed again)")
        return reference_sums(
            self.reference_module(settings) if settings.reference else self.module,
            rows,
            self.layout,
            settings.loop.micro_batch_tokens,
            cache=self.base / settings.reference_cache,
            precision=settings.loop.precision,
            device=self.accelerator.device,
        )

    def reference_module(self, settings: DpoSettings) -> LogprobModel:
        """The model that is named as the reference, or that of the start."""
        name, tokenizer = self.name, self.tokenizer
        if settings.reference:
            name = find_model(settings.reference, EngineSettings()).source
            tokenizer = load_tokenizer(name)
            check_same_tokens(settings.model, self.tokenizer, settings.reference, tokenizer)
        return self.readable(load_model("dpo", name, tokenizer, settings).to(self.accelerator.device)).eval()

    # --- after the last step

    def measure(self, rows: Sequence[TrainingRow]) -> Figures:
        """How far the policy has moved, where that is asked for."""
        s = self.settings
        if not isinstance(s, DpoSettings) or not isinstance(self.module, LogprobModel) or not s.kl_prompts:
            return {}
        self.say(f"KL to the reference, from answers to {s.kl_prompts} prompts")
        self.accelerator.free_memory()  # the optimizer's state makes room for the reference
        is_adapted = s.lora is not None and not s.reference
        return sampled_kl(
            self.module,
            None if is_adapted else self.reference_module(s),
            [row.family[0] for row in rows],
            s,
            tokenizer=self.tokenizer,
            device=self.accelerator.device,
        ).as_figures()

    def save(self, task: Task, card: DataCard, figures: Figures) -> None:
        s = self.settings
        heads = None
        if isinstance(task, RewardTask) and isinstance(s, RewardSettings):
            given = None if s.combination == "learnt" else s.combination
            combination = note_statistics(self.module, task, s.loop, given)
            heads = (self.heads, combination) if self.heads.num_outputs > 1 else None
        about = model_card(self.method, s.model, s.model_dump(mode="json"), card.as_dict(), figures)
        save_model(
            self.model,
            self.tokenizer,
            self.output,
            about,
            heads=heads,
            is_merged=s.lora is None or s.lora.merge,
        )
