"""The steps that make the tiny models, each from the files of the one before: tokenizers, three trainings, export."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer

from rlaif.bundled import resolve_model
from rlaif.errors import InputError
from rlaif.train.tiny.export import export_model
from rlaif.train.tiny.judge import JUDGE_SHAPE, Heads, JudgeRun, judge_losses
from rlaif.train.tiny.judge_eval import log_line, scores_line
from rlaif.train.tiny.judge_text import JudgeText
from rlaif.train.tiny.loop import Job, checkpoint_path, train
from rlaif.train.tiny.model import Shape, TinyLlama
from rlaif.train.tiny.modes import ModesRun, ScoringHeads, mixed, with_new_tokens
from rlaif.train.tiny.policy import POLICY_SHAPE, PolicyRun, policy_losses
from rlaif.train.tiny.tokenizer import write_judge_tokenizer, write_tokenizer

SHARED, OF_JUDGE = "tokenizer", "tokenizer-judge"


@dataclass(frozen=True, slots=True)
class Shipped:
    """What of the work folder becomes a shipped model."""

    checkpoint: str
    tokenizer: str
    shape: Shape
    temperature: float


SHIPPED = {
    "tiny-judge": Shipped("judge-modes", OF_JUDGE, JUDGE_SHAPE, 0.0),
    "tiny-policy": Shipped("policy", SHARED, POLICY_SHAPE, 1.0),
}


def make_tokenizer_files(work: Path) -> None:
    """The tokenizers, unless they are there: weights are worth nothing beside another one."""
    if not (work / SHARED / "tokenizer.json").exists():
        write_tokenizer(work / SHARED)
    if not (work / OF_JUDGE / "tokenizer.json").exists():
        write_judge_tokenizer(work / SHARED, work / OF_JUDGE)


def load_tokenizer(work: Path, name: str) -> Tokenizer:
    path = work / name / "tokenizer.json"
    if not path.exists():
        raise InputError(
            "there is no tokenizer yet.", where=str(path), do="Run `python -m rlaif.train.tiny tokenizer`."
        )
    return Tokenizer.from_file(str(path))


def train_policy(work: Path, run: PolicyRun) -> None:
    tokenizer = load_tokenizer(work, SHARED)
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
    text = JudgeText(load_tokenizer(work, OF_JUDGE))
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


def train_modes(work: Path, run: ModesRun) -> None:
    """The judge's second training, from the end of the first."""
    path = checkpoint_path(work / "judge")
    if not path.exists():
        raise InputError(
            "the judge has not been trained yet.", where=str(path), do="Run `python -m rlaif.train.tiny judge`."
        )
    text = JudgeText(load_tokenizer(work, OF_JUDGE))
    torch.manual_seed(run.seed)
    model, heads = TinyLlama(JUDGE_SHAPE), Heads(JUDGE_SHAPE.hidden)
    model.load_state_dict(_first_judge(work))
    heads.load_state_dict(_weights(path, "heads"))
    scoring = ScoringHeads(JUDGE_SHAPE.hidden)
    job = Job(
        name="judge-modes",
        folder=work / "judge-modes",
        steps=run.steps,
        losses=lambda step: run.losses(step, model, heads, scoring, text),
        rate=run.rate,
        evaluate=lambda: f"{log_line(model, text)}\n  {scores_line(model, text)}",
    )
    train(job, torch.nn.ModuleDict({"model": model, "heads": heads, "scoring": scoring}))


def _first_judge(work: Path) -> dict[str, torch.Tensor]:
    """The judge after its first training, with room for the tokens of the second."""
    weights = _weights(checkpoint_path(work / "judge"), "model")
    return with_new_tokens(weights, load_tokenizer(work, OF_JUDGE), JUDGE_SHAPE.vocabulary)


def _weights(checkpoint: Path, name: str) -> dict[str, torch.Tensor]:
    """One part of what a checkpoint holds."""
    state = torch.load(checkpoint, weights_only=True)["model"]
    return {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}


def export(work: Path, target: Callable[[str], Path] = lambda name: Path(resolve_model(name))) -> None:
    """Write every model that has a checkpoint where the package ships it."""
    for name, what in SHIPPED.items():
        path = checkpoint_path(work / what.checkpoint)
        if not path.exists():
            continue
        model, weights = TinyLlama(what.shape), _weights(path, "model")
        model.load_state_dict(mixed(_first_judge(work), weights) if name == "tiny-judge" else weights)
        export_model(model, work / what.tokenizer, target(name), temperature=what.temperature)
