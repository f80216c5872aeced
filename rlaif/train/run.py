"""A training from its settings to the finished folder: read, check, load, train, save.

    result = run_training("dpo", settings, base=Path("."))

The order is that of cost: data and tokenizer are read and checked before a model is loaded, the reference is computed
before the first step, and nothing is written to the output's top before the training is over. The same command
continues a killed run; on a finished one it has nothing to do.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from rlaif.documents import write_yaml
from rlaif.engines.model_files import find_model
from rlaif.errors import InputError
from rlaif.identity import digest, seed_from
from rlaif.settings import EngineSettings
from rlaif.train import checkpoint
from rlaif.train.dpo import DpoTask
from rlaif.train.examples import (
    DataCard,
    DataEntry,
    Limits,
    TrainingRow,
    read_demonstrations,
    read_preferences,
    rows_digest,
)
from rlaif.train.forward import LogprobModel, RewardModel, prepare_model
from rlaif.train.holding_out import hold_out
from rlaif.train.loop import Figures, Report, Watcher, make_accelerator, train
from rlaif.train.reference import reference_sums, weights_digest
from rlaif.train.reward import RewardTask, load_reward_model, note_statistics
from rlaif.train.saving import is_saved, model_card, save_model, unmark_saved
from rlaif.train.settings import (
    WITHOUT_REFERENCE,
    DataSettings,
    DpoSettings,
    RewardSettings,
    SftSettings,
    TrainSettings,
)
from rlaif.train.sft import SftTask
from rlaif.train.task import Layout, Task
from rlaif.train.tokenise import Tokeniser

Method = Literal["sft", "reward", "dpo"]
SETTINGS: dict[Method, type[TrainSettings]] = {"sft": SftSettings, "reward": RewardSettings, "dpo": DpoSettings}
# what may change between a killed run and its continuation without changing a number
_FREE: Any = {
    **dict.fromkeys(
        ("output", "reference_cache", "model", "data", "eval_data"), True
    ),  # what they hold is named itself
    "loop": {"save_every", "keep_checkpoints", "trackers"},
}


@dataclass(frozen=True, slots=True)
class Result:
    """What a training left: the folder, the data card, and how it ended."""

    folder: Path
    card: DataCard
    report: Report


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
    _quiet_transformers()
    output = base / settings.output
    name = find_model(settings.model, EngineSettings()).source
    tokenizer = _load_tokenizer(name)
    rows, card = _read(method, settings, settings.data, tokenizer, base)
    show_card(card)
    card.check(allow_uneven=settings.allow_uneven)
    rows, held_out = hold_out(rows, settings.eval_share, settings.loop.seed)
    held_out += _read(method, settings, settings.eval_data, tokenizer, base)[0]
    if held_out:
        say(f"{len(held_out)} rows are held out; learnt from are {len(rows)}")
    accelerator = make_accelerator(settings.loop, output / "training")
    model = _with_adapters(method, _load(method, name, tokenizer, settings), settings).to(accelerator.device)
    module: nn.Module = RewardModel(model) if method == "reward" else LogprobModel(model)
    if isinstance(module, LogprobModel):
        module.chunk_rows = settings.loop.chunk_rows
    identity = {
        "method": method,
        "settings": digest(settings.model_dump(mode="json", exclude=_FREE)),
        "data": card.digest,
        "eval_data": rows_digest(held_out),
        "model": weights_digest(module),
    }
    if begin_anew:
        _give_up_others(output, identity, accelerator)
    layout = Layout.of(settings.loop, accelerator.device)
    build = _TaskBuilder(method, settings, layout, module, base, say)
    task, evaluation = build.task(rows), build.task(held_out) if held_out else None
    _write_settings(output / "training", settings)
    report = train(
        task,
        module,
        settings.loop,
        folder=output / "training",
        identity=identity,
        evaluation=evaluation,
        accelerator=accelerator,
        watch=watch,
    )
    if accelerator.is_main_process and not (is_saved(output) and report.resumed_at == report.steps):
        say(f"writing {output}")
        if isinstance(task, RewardTask):
            note_statistics(module, evaluation if isinstance(evaluation, RewardTask) else task, settings.loop)
        figures: Figures = {**report.last, **(report.evaluation or {})}
        about = model_card(method, settings.model, settings.model_dump(mode="json"), card.as_dict(), figures)
        save_model(model, tokenizer, output, about)
    return Result(output, card, report)


class _TaskBuilder:
    """Rows to the method's task; holds what several tasks of a run share."""

    def __init__(
        self,
        method: Method,
        settings: TrainSettings,
        layout: Layout,
        module: nn.Module,
        base: Path,
        say: Callable[[str], None],
    ) -> None:
        self.method, self.settings, self.layout, self.module = method, settings, layout, module
        self.base, self.say = base, say

    def task(self, rows: Sequence[TrainingRow]) -> Task:
        settings = self.settings
        if isinstance(settings, DpoSettings):
            sums = None if settings.loss in WITHOUT_REFERENCE else self.reference(rows, settings)
            return DpoTask(rows, self.layout, settings, sums)
        if isinstance(settings, RewardSettings):
            return RewardTask(rows, self.layout, use_margin=settings.use_margin, centring=settings.centring)
        return SftTask(rows, self.layout)

    def reference(self, rows: Sequence[TrainingRow], settings: DpoSettings) -> Any:
        """Log-probabilities of the model as it is now, or of the one that is named."""
        self.say("reference log-probabilities (kept ones are not computed again)")
        module: nn.Module = self.module
        device = next(module.parameters()).device
        if settings.reference:
            name = find_model(settings.reference, EngineSettings()).source
            module = LogprobModel(_load("dpo", name, _load_tokenizer(name), settings).to(device))
        return reference_sums(
            module,
            rows,
            self.layout,
            settings.loop.micro_batch_tokens,
            cache=self.base / settings.reference_cache,
            precision=settings.loop.precision,
            device=device,
        )


def _read(
    method: Method, settings: TrainSettings, data: Sequence[DataSettings], tokenizer: Any, base: Path
) -> tuple[list[TrainingRow], DataCard]:
    entries = [
        DataEntry(path=one.path, name=one.name or one.path, weight=one.weight, split=one.split, config=one.config)
        for one in data
    ]
    limits = Limits(max_length=settings.max_length, too_long=settings.too_long, labels=settings.labels)
    read = read_demonstrations if method == "sft" else read_preferences
    return read(entries, Tokeniser(tokenizer), limits, base=base)


def _quiet_transformers() -> None:
    """No bars and reports of loading: the head of a new reward model is meant to be missing."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers has no annotation here
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]


def _load_tokenizer(name: str) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(name)


def _load(method: Method, name: str, tokenizer: Any, settings: TrainSettings) -> Any:
    """The model in float32, checked against the method, the tokenizer and the settings, ready for packed batches."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(name)
    _check_kind(method, name, config)
    _check_length(name, config, settings.max_length)
    if method == "reward":
        model = load_reward_model(name, tokenizer, seed=settings.loop.seed)
    else:
        model = AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32)
    num_embeddings = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > num_embeddings:
        raise InputError(
            f"the tokenizer of {name!r} has {len(tokenizer)} tokens, the model only {num_embeddings}.",
            do="Use the tokenizer that was made for this model.",
        )
    if settings.loop.packing != "off":
        prepare_model(model)
    if settings.loop.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model


def _with_adapters(method: Method, model: Any, settings: TrainSettings) -> Any:
    """The model with its LoRA adapters, where they are asked for; their first weights follow from the seed."""
    if settings.lora is None:
        return model
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed_from(f"adapters|{settings.loop.seed}"))
    config = LoraConfig(
        task_type="SEQ_CLS" if method == "reward" else "CAUSAL_LM",
        r=settings.lora.rank,
        lora_alpha=settings.lora.alpha,
        lora_dropout=settings.lora.dropout,
        target_modules=list(settings.lora.targets) or "all-linear",
        modules_to_save=["score"] if method == "reward" else None,
    )
    return get_peft_model(model, config)


def _check_kind(method: Method, name: str, config: Any) -> None:
    kinds = config.architectures or []
    if method != "reward" and any(kind.endswith("ForSequenceClassification") for kind in kinds):
        raise InputError(
            f"{name!r} is a reward model ({kinds[0]}); {method} trains a language model.",
            do="Give the model that writes answers.",
        )


def _check_length(name: str, config: Any, max_length: int) -> None:
    longest = getattr(config.get_text_config(), "max_position_embeddings", None)
    if longest is not None and max_length > longest:
        raise InputError(
            f"max_length is {max_length}, but {name!r} reads at most {longest} tokens.",
            do=f"Set max_length: {longest}.",
        )


def _give_up_others(output: Path, identity: Mapping[str, str], accelerator: Any) -> None:
    """Remove the checkpoints of another training, and the mark that says its model is whole."""
    state = checkpoint.newest(output / "training")
    if accelerator.is_main_process and state is not None and state.identity != identity:
        unmark_saved(output)
        shutil.rmtree(output / "training")
    accelerator.wait_for_everyone()


def _write_settings(folder: Path, settings: TrainSettings) -> None:
    """The settings exactly as used."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.yaml").write_text(write_yaml(settings.model_dump(mode="json")), encoding="utf-8")
