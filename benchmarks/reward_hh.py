"""What a small reward model from scratch learns of people's labels: HH-RLHF harmless, 5-fold cross-validation.

    python -m benchmarks.reward_hh ../shared/data/hh-harmless-dev.jsonl.gz
    python -m benchmarks.reward_hh FILE --seeds 3 --json
    python -m benchmarks.reward_hh FILE --only ours          # without TRL's trainer, four times as quick

The folds are by prompt (the first human turn), so no prompt is on both sides. Per fold: a tokenizer from the training
part, a Llama of random weights with a reward head, and from these same first weights our trainer and TRL's, with the
same rows, batch size, optimizer, schedule, epochs and float32. Both models are scored by the same function. Nothing was
tuned on these folds: the settings were written down before the first run.

Beside them a baseline that sees lengths alone: it prefers the longer or the shorter answer, whichever was chosen more
often in the training part. Intervals are bootstraps over prompts; differences are taken pair by pair.
"""

import argparse
import gzip
import hashlib
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rlaif.numbers.bootstrap import cluster_bootstrap
from rlaif.numbers.figures import Figure, NotDefined
from rlaif.numbers.intervals import difference, estimates, mean_measure

FOLDS, VOCABULARY, MAX_LENGTH = 5, 4096, 2048
SHAPE = {"hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 2, "num_attention_heads": 4}
BATCH, EPOCHS, RATE = 32, 2, 5e-4
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
LAST_TURN = "\n\nAssistant:"


@dataclass(frozen=True)
class Pair:
    """One comparison; `prompt` ends with the turn that both answers continue."""

    prompt: str
    chosen: str
    rejected: str

    @property
    def opening(self) -> str:
        """The first human turn: what a prompt is here."""
        return self.prompt.split(LAST_TURN)[0]

    @property
    def fold(self) -> int:
        return hashlib.sha256(self.opening.encode()).digest()[0] % FOLDS

    def as_row(self) -> dict[str, str]:
        return {"prompt": self.prompt, "chosen": self.chosen, "rejected": self.rejected}


def read_pairs(path: Path) -> list[Pair]:
    """Pairs of transcripts that part at their last turn; the others (a handful) are counted and left out."""
    found, left_out = [], 0
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        for row in map(json.loads, stream):
            cuts = [row[name].rindex(LAST_TURN) + len(LAST_TURN) for name in ("chosen", "rejected")]
            prompts = [row[name][:cut] for name, cut in zip(("chosen", "rejected"), cuts, strict=True)]
            answers = [row[name][cut:] for name, cut in zip(("chosen", "rejected"), cuts, strict=True)]
            if prompts[0] == prompts[1] and answers[0] != answers[1] and all(one.strip() for one in answers):
                found.append(Pair(prompts[0], *answers))
            else:
                left_out += 1
    print(f"{len(found)} pairs, {len({pair.opening for pair in found})} prompts; left out: {left_out}", flush=True)
    return found


def make_start(pairs: list[Pair], folder: Path, seed: int) -> None:
    """A tokenizer learnt from the pairs, and a model of random weights with our reward head."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from rlaif.train.reward import load_reward_model

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=list(SPECIAL.values()), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator((text for one in pairs for text in one.as_row().values()), trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL)
    ids = {f"{name}_id": tokenizer.token_to_id(text) for name, text in SPECIAL.items()}
    torch.manual_seed(seed)
    config = LlamaConfig(vocab_size=VOCABULARY, max_position_embeddings=MAX_LENGTH, **SHAPE, **ids)
    LlamaForCausalLM(config).save_pretrained(folder / "base")
    load_reward_model(str(folder / "base"), fast, seed=seed).save_pretrained(folder)
    fast.save_pretrained(folder)


def train_ours(start: Path, pairs: list[Pair], folder: Path, seed: int):
    from rlaif.train.run import run_training
    from rlaif.train.settings import RewardSettings

    data = folder / "pairs.jsonl"
    data.write_text("".join(json.dumps(pair.as_row()) + "\n" for pair in pairs), encoding="utf-8")
    optimiser = {"learning_rate": RATE, "schedule": "linear", "warmup_share": 0.0}
    loop = {"batch_size": BATCH, "epochs": EPOCHS, "seed": seed, "optimiser": optimiser}
    settings = RewardSettings(
        model=str(start), data=[{"path": str(data)}], output=str(folder / "ours"), max_length=MAX_LENGTH, loop=loop
    )
    run_training("reward", settings)
    return load_trained(folder / "ours")


def train_trl(start: Path, pairs: list[Pair], folder: Path, seed: int):
    import datasets
    import trl
    from transformers import AutoTokenizer

    from rlaif.train.memory import keep_memory

    keep_memory()  # what our trainer does, for theirs as well
    arguments = trl.RewardConfig(
        output_dir=str(folder / "trl"),
        per_device_train_batch_size=BATCH,
        num_train_epochs=EPOCHS,
        learning_rate=RATE,
        lr_scheduler_type="linear",
        warmup_steps=0,
        weight_decay=0.0,
        max_length=MAX_LENGTH,
        seed=seed,
        bf16=False,
        use_cpu=True,
        gradient_checkpointing=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        logging_steps=1000,
    )
    trainer = trl.RewardTrainer(
        model=load_trained(start),
        args=arguments,
        train_dataset=datasets.Dataset.from_list([pair.as_row() for pair in pairs]),
        processing_class=AutoTokenizer.from_pretrained(start),
    )
    trainer.train()
    return trainer.model


def load_trained(folder: Path):
    import torch
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, dtype=torch.float32)


def is_right(model, start: Path, pairs: list[Pair]) -> np.ndarray:
    """1 where the chosen answer has the higher reward, 1/2 for a tie, else 0."""
    import torch
    from transformers import AutoTokenizer

    from rlaif.train.batches import divide
    from rlaif.train.examples import TrainingRow
    from rlaif.train.forward import RewardModel, prepare_model
    from rlaif.train.reward import RewardTask
    from rlaif.train.task import Layout
    from rlaif.train.tokenise import Tokeniser

    tokeniser = Tokeniser(AutoTokenizer.from_pretrained(start))
    rows = [TrainingRow(family=tokeniser.tokenise(one.prompt, [one.chosen, one.rejected]).family) for one in pairs]
    module, task = RewardModel(prepare_model(model)).eval(), RewardTask(rows, Layout())
    right = np.zeros(len(rows))
    with torch.no_grad():
        for part in divide(range(len(rows)), task.sizes, 8192)[0]:
            rewards = module(task.batch(part, torch.device("cpu"))).view(-1, 2).double().numpy()
            right[part] = 0.5 + 0.5 * np.sign(rewards[:, 0] - rewards[:, 1])
    return right


def by_length(learnt: list[Pair], held_out: list[Pair]) -> np.ndarray:
    """The better of "longer" and "shorter" in the training part, on the held-out part."""

    def longer(pairs: list[Pair]) -> np.ndarray:
        return np.array([np.sign(len(pair.chosen) - len(pair.rejected)) for pair in pairs])

    side = 1.0 if longer(learnt).sum() >= 0 else -1.0
    return 0.5 + 0.5 * side * longer(held_out)


def one_fold(pairs: list[Pair], fold: int, seed: int, arms: list[str]) -> dict[str, np.ndarray]:
    learnt = [pair for pair in pairs if pair.fold != fold]
    held_out = [pair for pair in pairs if pair.fold == fold]
    found = {"length alone": by_length(learnt, held_out)}
    with tempfile.TemporaryDirectory() as scratch:
        start = Path(scratch) / "start"
        make_start(learnt, start, seed=1000 * seed + fold)
        for name, train in (("ours", train_ours), ("TRL", train_trl)):
            if name.lower() in arms:
                began = time.perf_counter()
                found[name] = is_right(train(start, learnt, Path(scratch), seed), start, held_out)
                told = f"seed {seed} fold {fold}: {name} {found[name].mean():.3f}"
                print(f"{told}, {time.perf_counter() - began:.0f} s", flush=True)
    return found


def figures(right: dict[str, np.ndarray], prompts: np.ndarray) -> dict[str, Figure]:
    """Accuracies, and their differences on the same resamples."""
    measures = {name: mean_measure(values) for name, values in right.items()}
    compared = [(a, b) for a, b in (("ours", "TRL"), ("ours", "length alone")) if a in measures and b in measures]
    for first, second in compared:
        measures[f"{first} - {second}"] = difference(measures[first], measures[second])
    return estimates(cluster_bootstrap(prompts), measures)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="hh-harmless-dev.jsonl.gz, or a file like it")
    parser.add_argument("--seeds", type=int, default=1, help="runs of all folds; a pair's accuracy is their mean")
    parser.add_argument("--only", choices=("ours", "trl"), help="one of the two trainers")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    pairs = read_pairs(chosen.data)
    arms = [chosen.only] if chosen.only else ["ours", "trl"]
    total: dict[str, np.ndarray] = {}
    for seed in range(chosen.seeds):
        for fold in range(FOLDS):
            places = np.array([place for place, pair in enumerate(pairs) if pair.fold == fold])
            for name, values in one_fold(pairs, fold, seed, arms).items():
                total.setdefault(name, np.zeros(len(pairs)))[places] += values / chosen.seeds
    found = figures(total, np.array([pair.opening for pair in pairs]))
    if chosen.json:
        print(json.dumps({name: figure.as_dict() for name, figure in found.items()}, indent=2))
        return 0
    for name, figure in found.items():
        assert not isinstance(figure, NotDefined)
        print(f"{name:22} {figure.value:+.3f} ({figure.low:+.3f} to {figure.high:+.3f}), n {figure.n}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
