"""The two sides of `benchmarks.reward_hh`, the pairs they learn from, and the rule that sees lengths alone.

`make_start` makes the first weights that both trainers begin with; `train_ours` and `train_trl` train from them with
the same rows, batch size, optimizer, schedule, epochs and float32; `is_right` scores both models by one function. How
they are called and what is made of it stands in `benchmarks.reward_hh`.
"""

import gzip
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FOLDS, VOCABULARY, MAX_LENGTH = 5, 4096, 2048
SHAPE = {"hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 2, "num_attention_heads": 4}
BATCH, EPOCHS, RATE = 32, 2, 5e-4
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
LAST_TURN = "\n\nAssistant:"

Watch = Callable[[int, int], None]  # steps done, steps in all


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


def read_pairs(path: Path, say: Callable[[str], None]) -> list[Pair]:
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
    say(f"{len(found)} pairs, {len({pair.opening for pair in found})} prompts; left out: {left_out}")
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


def train_ours(start: Path, pairs: list[Pair], folder: Path, seed: int, watch: Watch):
    from rlaif.train.run import run_training
    from rlaif.train.settings import RewardSettings

    data = folder / "pairs.jsonl"
    data.write_text("".join(json.dumps(pair.as_row()) + "\n" for pair in pairs), encoding="utf-8")
    optimiser = {"learning_rate": RATE, "schedule": "linear", "warmup_share": 0.0}
    loop = {"batch_size": BATCH, "epochs": EPOCHS, "seed": seed, "optimiser": optimiser}
    settings = RewardSettings(
        model=str(start), data=[{"path": str(data)}], output=str(folder / "ours"), max_length=MAX_LENGTH, loop=loop
    )
    run_training("reward", settings, watch=lambda done, total, figures: watch(done, total))
    return load_trained(folder / "ours")


def train_trl(start: Path, pairs: list[Pair], folder: Path, seed: int, watch: Watch):
    import datasets
    import trl
    from transformers import AutoTokenizer, TrainerCallback

    from rlaif.train.memory import keep_memory

    class Watching(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            watch(state.global_step, state.max_steps)

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
        callbacks=[Watching()],
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
