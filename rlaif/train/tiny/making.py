"""The steps that make the tiny models, each from the files of the one before: tokenizer, two trainings, export."""

from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import Tokenizer

from rlaif.bundled import resolve_model
from rlaif.errors import InputError
from rlaif.train.tiny.export import export_model
from rlaif.train.tiny.judge import JUDGE_SHAPE, Heads, JudgeRun, judge_losses
from rlaif.train.tiny.judge_data import JudgeText
from rlaif.train.tiny.judge_eval import log_line
from rlaif.train.tiny.loop import Job, checkpoint_path, train
from rlaif.train.tiny.model import Shape, TinyLlama
from rlaif.train.tiny.policy import POLICY_SHAPE, PolicyRun, policy_losses
from rlaif.train.tiny.tokenizer import write_tokenizer

SHAPES: dict[str, tuple[Shape, float]] = {"judge": (JUDGE_SHAPE, 0.0), "policy": (POLICY_SHAPE, 1.0)}


def make_tokenizer_files(work: Path) -> None:
    """The tokenizer, unless it is there: weights are worth nothing beside another one."""
    if not (work / "tokenizer" / "tokenizer.json").exists():
        write_tokenizer(work / "tokenizer")


def load_tokenizer(work: Path) -> Tokenizer:
    path = work / "tokenizer" / "tokenizer.json"
    if not path.exists():
        raise InputError(
            "there is no tokenizer yet.", where=str(path), do="Run `python -m rlaif.train.tiny tokenizer`."
        )
    return Tokenizer.from_file(str(path))


def train_policy(work: Path, run: PolicyRun) -> None:
    tokenizer = load_tokenizer(work)
    torch.manual_seed(run.seed)
    model = TinyLlama(POLICY_SHAPE)
    job = Job(
        name="policy",
        folder=work / "policy",
        steps=run.steps,
        losses=lambda step: policy_losses(model, *run.batch(step, tokenizer)),
        rate=run.rate,
    )
    train(job, torch.nn.ModuleDict({"model": model}))


def train_judge(work: Path, run: JudgeRun) -> None:
    text = JudgeText(load_tokenizer(work))
    torch.manual_seed(run.seed)
    model = TinyLlama(JUDGE_SHAPE)
    heads = Heads(JUDGE_SHAPE.hidden)
    job = Job(
        name="judge",
        folder=work / "judge",
        steps=run.steps,
        losses=lambda step: judge_losses(model, heads, run.batch(step, text), text, run.kind(step)),
        rate=run.rate,
        evaluate=lambda: log_line(model, text),
    )
    train(job, torch.nn.ModuleDict({"model": model, "heads": heads}))


def export(work: Path, target: Callable[[str], Path] = lambda name: Path(resolve_model(name))) -> None:
    """Write every model that has a checkpoint where the package ships it."""
    for name, (shape, temperature) in SHAPES.items():
        path = checkpoint_path(work / name)
        if not path.exists():
            continue
        state = torch.load(path, weights_only=True)["model"]
        model = TinyLlama(shape)
        weights = {key.removeprefix("model."): value for key, value in state.items() if key.startswith("model.")}
        model.load_state_dict(weights)
        export_model(model, work / "tokenizer", target(f"tiny-{name}"), temperature=temperature)
