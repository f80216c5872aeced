"""The settings of a training: the loop's, the same for every method, and each method's own. Saved with the run."""

from typing import Literal

from pydantic import Field, model_validator

from rlaif.settings import PositiveInt, Share, Strict
from rlaif.train.cells import Labels
from rlaif.train.tokenise import TooLong

DpoLoss = Literal["sigmoid", "conservative", "robust", "ipo", "hinge", "simpo", "orpo", "kto"]
WITHOUT_REFERENCE: tuple[DpoLoss, ...] = ("simpo", "orpo")


class DataSettings(Strict):
    """One dataset of a run."""

    path: str = Field(description="A .jsonl, .jsonl.gz or .parquet file, a dataset's folder, or a Hugging Face name.")
    name: str | None = Field(None, description="What the data card calls it; default: its path.")
    weight: float = Field(1.0, gt=0.0, description="Multiplies its rows' weights. Usual: 1.")
    split: str = Field("train", description="Split of a Hugging Face dataset.")
    config: str | None = Field(None, description="Configuration name of a Hugging Face dataset.")


class OptimiserSettings(Strict):
    """AdamW, and how its rate changes over the run."""

    learning_rate: float = Field(1e-5, gt=0.0, description="Peak rate. Usual: 1e-6 to 5e-5 in full, 1e-4 for LoRA.")
    schedule: Literal["constant", "linear", "cosine"] = Field("linear", description="What follows the warm-up.")
    warmup_share: Share = Field(0.05, description="Share of the steps in which the rate climbs. Usual: 0 to 0.1.")
    final_share: Share = Field(0.0, description="Rate of the last step, as a share of the peak. Usual: 0 to 0.1.")
    beta1: float = Field(0.9, ge=0.0, lt=1.0, description="Decay of the mean of gradients. Usual: 0.9.")
    beta2: float = Field(0.999, ge=0.0, lt=1.0, description="Decay of the mean of squares. Usual: 0.95 to 0.999.")
    epsilon: float = Field(1e-8, gt=0.0, description="Added to the root of the squares. Usual: 1e-8.")
    weight_decay: float = Field(0.0, ge=0.0, description="On matrices, not on norms and biases. Usual: 0 to 0.1.")
    max_grad_norm: float = Field(1.0, gt=0.0, description="Gradients are scaled down to this norm. Usual: 1.")


class StepSettings(Strict):
    """How steps are computed and kept: the same for every loop."""

    micro_batch_tokens: PositiveInt = Field(
        4096, description="Tokens per forward pass; a longer row goes alone. Lower it when memory runs out."
    )
    precision: Literal["float32", "bf16"] = Field("float32", description="bf16: products in bfloat16, weights float32.")
    packing: Literal["shared", "packed", "off"] = Field(
        "shared", description="shared: prompts once; packed: prompts repeated; off: one padded row per answer."
    )
    gradient_checkpointing: bool = Field(False, description="Compute activations twice instead of keeping them.")
    chunk_rows: PositiveInt = Field(256, description="Rows of logits held at a time. Usual: 128 to 1024.")
    optimiser: OptimiserSettings = Field(default_factory=lambda: OptimiserSettings())
    save_every: PositiveInt = Field(100, description="Steps between checkpoints. Usual: 50 to 500.")
    keep_checkpoints: PositiveInt = Field(2, description="Older ones are removed. Usual: 1 to 3.")
    seed: int = Field(0, ge=0, description="Order of rows, dropout, new heads' first weights, sampled answers.")
    trackers: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = Field(
        (), description="Where metrics go beside metrics.jsonl."
    )


class LoopSettings(StepSettings):
    """What every training on a dataset has in common."""

    epochs: float = Field(1.0, gt=0.0, description="Passes over the data. Usual: 1 to 3.")
    max_steps: PositiveInt | None = Field(None, description="End after so many optimizer steps, if that is sooner.")
    batch_size: PositiveInt = Field(32, description="Rows per optimizer step, over all processes. Usual: 16 to 256.")
    eval_every: PositiveInt | None = Field(None, description="Steps between evaluations; default: at the end only.")
    patience: PositiveInt | None = Field(None, description="Stop after so many evaluations without a better loss.")

    @model_validator(mode="after")
    def _patience_counts_evaluations(self) -> "LoopSettings":
        if self.patience and not self.eval_every:
            raise ValueError("`patience` counts evaluations, and without `eval_every` there is one, at the end")
        return self


class LoraSettings(Strict):
    """Low-rank adapters (peft) instead of all weights; a reward model's head is trained with them."""

    rank: PositiveInt = Field(16, description="Width of an adapter. Usual: 8 to 64.")
    alpha: PositiveInt = Field(32, description="Adapters count for alpha / rank. Usual: one to two times the rank.")
    dropout: float = Field(0.0, ge=0.0, lt=1.0, description="On the adapters' input. Usual: 0 to 0.1.")
    targets: tuple[str, ...] = Field((), description="Names of the layers that get one; default: all linear ones.")
    merge: bool = Field(True, description="Save the whole model, adapters in `adapter/`; false: adapters alone.")


class ModelSettings(Strict):
    """Which model is trained, how much of it, and where it goes."""

    model: str = Field(description="A folder, a hub name, or the bundled tiny-policy.")
    output: str = Field(description="Folder for the trained model.")
    max_length: PositiveInt = Field(1024, description="Longest prompt + answer in tokens. Usual: 512 to 4096.")
    lora: LoraSettings | None = Field(None, description="Train adapters instead of all weights.")
    push_to_hub: str | None = Field(None, description="Repository of the Hugging Face hub for the result: org/name.")
    hub_private: bool = Field(True, description="Whether a repository that is made for it is private.")
    loop: StepSettings = Field(default_factory=lambda: StepSettings())


class TrainSettings(ModelSettings):
    """What is trained on a dataset, and on which."""

    data: tuple[DataSettings, ...] = Field(min_length=1, description="Datasets, one after the other.")
    eval_data: tuple[DataSettings, ...] = Field((), description="Held-out datasets; evaluated, never learnt from.")
    eval_share: float = Field(
        0.0, ge=0.0, lt=1.0, description="Hold this share of the prompts out, and evaluate on their rows. Usual: 0.1."
    )
    too_long: TooLong = Field("refuse", description="What happens to longer rows: refuse, cut_answer, cut_prompt.")
    labels: Labels = Field("soft", description="soft: the probability column; hard: 0 or 1, ties refused.")
    allow_uneven: bool = Field(False, description="Go on when one dataset loses more rows than another.")
    loop: LoopSettings = Field(default_factory=lambda: LoopSettings())

    @model_validator(mode="after")
    def _something_is_evaluated(self) -> "TrainSettings":
        if self.loop.eval_every and not (self.eval_data or self.eval_share):
            raise ValueError("loop.eval_every has nothing to evaluate on; set eval_share: 0.1, or give eval_data")
        return self

    @model_validator(mode="after")
    def _names_tell_datasets_apart(self) -> "TrainSettings":
        for entries in (self.data, self.eval_data):
            names = [one.name or one.path for one in entries]
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise ValueError(f"two datasets are called {twice!r}; give each a `name` of its own")
        return self


class SftSettings(TrainSettings):
    """Supervised fine-tuning on answers."""


class RewardSettings(TrainSettings):
    """A Bradley-Terry reward model."""

    use_margin: bool = Field(False, description="Ask for a gap of the margin column; on top of soft labels, twice.")
    centring: float = Field(0.0, ge=0.0, description="Weight of (r chosen + r rejected)². Usual: 0 to 0.01.")
    group_prompts: bool = Field(False, description="All pairs of a prompt in one row; batch_size then counts prompts.")
    principles: tuple[str, ...] = Field((), description="Principles of the data's verdicts that get a head each.")
    combination: Literal["learnt"] | dict[str, float] = Field(
        "learnt", description="Weight of each principle's head in the reward, or learnt from the rows' labels."
    )
    members: PositiveInt = Field(1, description="Heads of each kind; their spread is the uncertainty. Usual: 1 to 8.")

    @model_validator(mode="after")
    def _combination_is_of_the_principles(self) -> "RewardSettings":
        if len(set(self.principles)) < len(self.principles):
            raise ValueError("a principle is named twice in `principles`")
        if isinstance(self.combination, dict) and set(self.combination) != set(self.principles):
            raise ValueError("`combination` has to give a weight to each of `principles`, and to nothing else")
        if self.lora and not self.lora.merge and (self.principles or self.members > 1):
            raise ValueError("several heads are combined in a whole model; leave out lora.merge: false")
        return self


class DpoSettings(TrainSettings):
    """DPO and its relatives."""

    loss: DpoLoss = Field("sigmoid", description="The formula; rlaif/train/losses.py has all of them.")
    beta: float = Field(0.1, gt=0.0, description="Strength of the pull to the reference. Usual: 0.01 to 0.5.")
    length_normalised: bool = Field(False, description="Divide log-ratios by the answers' lengths (β then 2 to 10).")
    flip_rate: float = Field(0.1, ge=0.0, lt=0.5, description="conservative, robust: how often labels are wrong.")
    gamma: float = Field(0.5, ge=0.0, description="simpo: target margin. Usual: 0.3 to 1.5.")
    strength: float = Field(0.1, ge=0.0, description="orpo: weight of the odds ratio. Usual: 0.05 to 0.5.")
    desirable: float = Field(1.0, ge=0.0, description="kto: weight of good answers' losses. Usual: 1 to 1.33.")
    undesirable: float = Field(1.0, ge=0.0, description="kto: weight of bad answers' losses. Usual: 1 to 1.33.")
    sft_weight: float = Field(0.0, ge=0.0, description="Adds -log π per token of the better answer. Usual: 0 to 1.")
    reference: str | None = Field(None, description="Another model as the reference; default: the model at the start.")
    reference_cache: str = Field("outputs/reference", description="Where reference log-probabilities are kept.")
    kl_prompts: int = Field(
        32, ge=0, description="After training: prompts answered to measure the KL. Usual: 0 to 256."
    )
    kl_new_tokens: PositiveInt = Field(128, description="Longest such answer, in tokens. Usual: 64 to 512.")

    @model_validator(mode="after")
    def _reference_is_used(self) -> "DpoSettings":
        if self.reference and self.loss in WITHOUT_REFERENCE:
            raise ValueError(f"loss {self.loss!r} has no reference, but reference is {self.reference!r}")
        if self.length_normalised and self.loss in WITHOUT_REFERENCE:
            raise ValueError(f"loss {self.loss!r} works on means per token already; leave length_normalised out")
        if self.length_normalised and self.loss == "kto":
            raise ValueError("loss 'kto' compares sums with a KL, which is one; leave length_normalised out")
        return self
