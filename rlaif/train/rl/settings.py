"""The settings of PPO and of GRPO and RLOO. Saved with the run; what each formula is, `objectives` and `kl` say."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rlaif.checks import Check
from rlaif.settings import PositiveInt, PromptSource, Share, Strict
from rlaif.train.rl.kl import Estimator
from rlaif.train.rl.objectives import Mean
from rlaif.train.rl.watch import WatchSettings
from rlaif.train.settings import ModelSettings, StepSettings


class RolloutSettings(Strict):
    """What is asked in an iteration, and how answers are drawn."""

    prompts: PositiveInt = Field(64, description="Prompts per iteration, over all processes. Usual: 32 to 512.")
    group_size: PositiveInt = Field(1, description="Answers per prompt. Usual: 1 for PPO, 4 to 16 for GRPO and RLOO.")
    max_new_tokens: PositiveInt = Field(128, description="Longest answer in tokens. Usual: 64 to 1024.")
    temperature: float = Field(1.0, gt=0.0, le=5.0, description="Divides the logits, in learning too. Usual: 0.7 to 1.")
    sampler: Literal["own", "vllm"] = Field("own", description="own: in torch; vllm: in this process, where installed.")
    most_weight: float | None = Field(
        None, gt=0.0, description="Weigh tokens by min(π / sampler, this) where the sampler's arithmetic is another."
    )


class KlSettings(Strict):
    """The pull to the reference."""

    coefficient: float = Field(0.05, ge=0.0, description="β, per nat. Usual: 0.01 to 0.2; 0: no pull, only measured.")
    place: Literal["reward", "loss"] = Field(
        "reward", description="Where the KL is taken off: k1 in reward, k2 in loss."
    )
    estimator: Estimator | None = Field(None, description="k1, k2, k3; default: k1 in the reward, k2 in the loss.")
    target: float | None = Field(None, gt=0.0, description="Lead β so that the KL is this, in nats per answer.")
    gain: float = Field(0.1, gt=0.0, description="How fast β follows the target. Usual: 0.05 to 0.2.")

    corrected: bool = Field(
        False, description="In the loss: times the ratio to the policy that was sampled; right for k1 and k3 then, too."
    )

    @property
    def chosen(self) -> Estimator:
        return self.estimator or ("k1" if self.place == "reward" else "k2")

    @model_validator(mode="after")
    def _a_target_needs_a_coefficient(self) -> "KlSettings":
        if self.target is not None and self.coefficient == 0.0:
            raise ValueError("kl.target leads the coefficient by factors; start it above 0")
        return self


class ClipSettings(Strict):
    """How far a step may go from the policy that wrote the answers."""

    low: float = Field(0.2, gt=0.0, lt=1.0, description="Ratios count down to 1 - low. Usual: 0.1 to 0.3.")
    high: float = Field(0.2, gt=0.0, description="Ratios count up to 1 + high. Usual: 0.2 to 0.3.")
    dual: float | None = Field(None, gt=1.0, description="Bound on what a bad token's ratio counts. Usual: 3, or none.")


class StopSettings(Strict):
    """When a run ends by itself; null never does. The last checkpoint is of weights within limits."""

    kl: float | None = Field(None, gt=0.0, description="Mean KL in nats per answer above which the run stops.")
    constant_rewards: PositiveInt | None = Field(10, description="Iterations in a row whose rewards are all the same.")
    unended: Share | None = Field(
        0.98, description="Share of answers that never end, in each of `patience` iterations."
    )
    patience: PositiveInt = Field(5, description="Iterations in a row for `unended`.")


class ModelRewardSettings(Strict):
    """A reward model that `rlaif train reward` wrote; its mean and deviation are applied."""

    kind: Literal["model"] = Field(description="A reward model.")
    path: str = Field(description="Its folder.")
    name: str = Field("reward_model", description="What its figures are called.")
    weight: float = Field(1.0, description="Factor in the sum. Usual: 1.")
    pessimism: float = Field(0.0, ge=0.0, description="Deviations of its members taken off their mean. Usual: 0 to 1.")


class CheckRewardSettings(Strict):
    """A verifiable reward, 0 to 1: an objective check of the answer."""

    kind: Literal["check"] = Field(description="An objective check.")
    check: Check = Field(description="As `check:` in a constitution, e.g. {kind: number}.")
    name: str = Field("check", description="What its figures are called.")
    weight: float = Field(1.0, description="Factor in the sum. Usual: 1.")
    unscored: float | None = Field(None, description="What an answer counts as of which the check cannot say anything.")


class JudgeRewardSettings(Strict):
    """The judge itself: RLAIF's direct form. Needs several answers per prompt, or a judge of mode score."""

    kind: Literal["judge"] = Field(description="A judge, as `rlaif generate` asks it.")
    config: str = Field(description="A settings file (rlaif.yaml): its judge, constitution, label and store are used.")
    name: str = Field("judge", description="What its figures are called.")
    weight: float = Field(1.0, description="Factor in the sum. Usual: 1.")


class LengthRewardSettings(Strict):
    """A price per token."""

    kind: Literal["length"] = Field(description="Takes something off for every token.")
    per_token: float = Field(description="What a token costs. Usual: 0.001 to 0.01.")
    free: int = Field(0, ge=0, description="Tokens that cost nothing.")
    name: Literal["length_penalty"] = "length_penalty"


class EndRewardSettings(Strict):
    """A price for answers that never end."""

    kind: Literal["end"] = Field(description="Takes something off an answer that was cut off.")
    penalty: float = Field(1.0, description="What is taken off. Usual: 1.")
    name: Literal["end_penalty"] = "end_penalty"


RewardPart = Annotated[
    ModelRewardSettings | CheckRewardSettings | JudgeRewardSettings | LengthRewardSettings | EndRewardSettings,
    Field(discriminator="kind"),
]


class RewardShape(Strict):
    """What becomes of scores before they are learnt from."""

    scale: bool = Field(False, description="Divide by the standard deviation of all scores so far.")
    centre: bool = Field(False, description="Take off the mean of all scores so far; with `scale`.")
    clip: float | None = Field(None, gt=0.0, description="Keep scores within ± this. Usual: 5 or 10, or none.")
    unended: float | None = Field(None, description="Score of an answer that never ends, whatever it says. Usual: -1.")


class RlStepSettings(StepSettings):
    """How steps are computed and kept."""

    save_every: PositiveInt = Field(10, description="Iterations between checkpoints. Usual: 5 to 50.")


class RlSettings(ModelSettings):
    """Training on answers that the policy samples itself."""

    prompts: tuple[PromptSource, ...] = Field(min_length=1, description="What the policy is asked.")
    reward: tuple[RewardPart, ...] = Field((), description="The parts of the reward; their weighted sum.")
    shape: RewardShape = Field(default_factory=lambda: RewardShape())
    reference: str | None = Field(None, description="Model the KL is measured to; default: the policy at the start.")
    iterations: PositiveInt = Field(100, description="Rounds of sampling and learning. Usual: 50 to 1000.")
    epochs: PositiveInt = Field(1, description="Passes over an iteration's answers. Usual: 1 to 4.")
    minibatches: PositiveInt = Field(1, description="Optimizer steps per epoch. Usual: 1 to 8.")
    rollout: RolloutSettings = Field(default_factory=lambda: RolloutSettings())
    kl: KlSettings = Field(default_factory=lambda: KlSettings())
    clip: ClipSettings = Field(default_factory=lambda: ClipSettings())
    entropy: float = Field(0.0, ge=0.0, description="Weight of the entropy bonus, per nat and token. Usual: 0 to 0.01.")
    mean: Mean = Field("tokens", description="How tokens of answers of different lengths are averaged.")
    stop: StopSettings = Field(default_factory=lambda: StopSettings())
    watch: WatchSettings = Field(default_factory=lambda: WatchSettings(), description="docs/reward-hacking.md.")
    loop: RlStepSettings = Field(default_factory=lambda: RlStepSettings())

    @model_validator(mode="after")
    def _parts_fit_together(self) -> "RlSettings":
        names = [part.name for part in self.reward]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"two parts of the reward are called {twice!r}; give each a `name` of its own")
        if self.minibatches > self.rollout.prompts:
            raise ValueError(f"{self.rollout.prompts} prompts cannot be divided into {self.minibatches} minibatches")
        if self.rollout.max_new_tokens >= self.max_length:
            raise ValueError("rollout.max_new_tokens leaves no room for a prompt within max_length")
        if self.lora and self.lora.dropout:
            raise ValueError("RL learns without dropout (a fresh answer's ratio would not be 1); set lora.dropout: 0")
        if self.lora and self.reference:
            raise ValueError("under lora the reference is the model without its adapters; leave `reference` out")
        return self


class PpoSettings(RlSettings):
    """PPO with a value model and GAE."""

    value: Literal["shared", "separate", "reward_model"] = Field(
        "separate", description="shared: a head on the policy; separate: a copy of it; reward_model: begins as that."
    )
    value_weight: float = Field(0.1, ge=0.0, description="Weight of the value's loss. Usual: 0.05 to 1.")
    value_clip: float | None = Field(0.2, gt=0.0, description="How far a value may move per iteration. Usual: 0.2.")
    gamma: float = Field(1.0, gt=0.0, le=1.0, description="Discount per token. Usual: 1.")
    lam: Share = Field(0.95, description="λ of GAE: 0 trusts the values, 1 the rewards. Usual: 0.9 to 1.")
    whiten_advantages: bool = Field(True, description="Mean 0 and deviation 1 over the iteration's tokens.")
    whiten_rewards: bool = Field(False, description="Deviation 1 of the tokens' rewards; their mean stays.")
    epochs: PositiveInt = Field(4, description="Passes over an iteration's answers. Usual: 1 to 4.")


class GroupRolloutSettings(RolloutSettings):
    """Groups of answers to one prompt."""

    prompts: PositiveInt = Field(16, description="Prompts per iteration, over all processes. Usual: 16 to 256.")
    group_size: int = Field(8, ge=2, description="Answers per prompt. Usual: 4 to 16.")


class GroupKlSettings(KlSettings):
    """The pull to the reference, where GRPO has it."""

    place: Literal["reward", "loss"] = Field("loss", description="Where the KL is taken off; RLOO: reward.")
    estimator: Estimator | None = Field("k3", description="k1, k2, k3; GRPO: k3 in the loss. RLOO: k1 in the reward.")


class GrpoSettings(RlSettings):
    """GRPO, Dr. GRPO and RLOO: a prompt's other answers in place of a value model."""

    advantage: Literal["grpo", "dr_grpo", "rloo"] = Field(
        "grpo", description="grpo: (r - mean) / std of the group; dr_grpo: r - mean; rloo: r - mean of the others."
    )
    ratio: Literal["token", "answer", "mean"] = Field(
        "token", description="What is clipped: each token's ratio, the answer's (RLOO), its mean per token (GSPO)."
    )
    rollout: GroupRolloutSettings = Field(default_factory=lambda: GroupRolloutSettings())
    mean: Mean = Field("answers", description="How tokens of answers of different lengths are averaged.")
    kl: GroupKlSettings = Field(default_factory=lambda: GroupKlSettings())

    @model_validator(mode="after")
    def _an_answers_ratio_is_averaged_over_answers(self) -> "GrpoSettings":
        if self.ratio != "token" and self.mean != "answers":
            raise ValueError(f"ratio: {self.ratio} is one number per answer; set mean: answers")
        return self


class PairRolloutSettings(RolloutSettings):
    """Two answers to one prompt."""

    group_size: Literal[2] = Field(2, description="Answers per prompt: a pair.")


class OnlineDpoSettings(RlSettings):
    """DPO on pairs that the policy samples itself; the pull to the reference is the loss's own β."""

    loss: Literal["sigmoid", "conservative", "robust", "ipo", "hinge"] = Field(
        "sigmoid", description="The formula; rlaif/train/losses.py has all of them."
    )
    beta: float = Field(0.1, gt=0.0, description="Strength of the pull to the reference. Usual: 0.01 to 0.5.")
    length_normalised: bool = Field(False, description="Divide log-ratios by the answers' lengths (β then 2 to 10).")
    flip_rate: float = Field(0.1, ge=0.0, lt=0.5, description="conservative, robust: how often labels are wrong.")
    labels: Literal["shares", "hard", "logistic"] = Field(
        "hard", description="P(better) from two rewards: shares: a comparing judge's own; hard: who has more; logistic."
    )
    rollout: PairRolloutSettings = Field(default_factory=lambda: PairRolloutSettings())
    kl: KlSettings = Field(default_factory=lambda: KlSettings(coefficient=0.0), description="Measured, not learnt.")

    @model_validator(mode="after")
    def _the_pull_is_the_losss_own(self) -> "OnlineDpoSettings":
        if self.kl.coefficient or self.kl.target:
            raise ValueError("the pull to the reference is `beta` here; leave kl.coefficient at 0 and kl.target out")
        if self.entropy:
            raise ValueError("the losses of DPO have no entropy bonus; leave `entropy` out")
        return self
