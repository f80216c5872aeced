"""What the watch over a training notes after an update: the rollouts in a few numbers.

    reading = read(step, rewards=…, kls=…, answers=…, entropy=…)
    reading.figures()                   # for the metrics log: watch_reward, watch_kl, …

Which readings are bad ones, `watch` decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlaif.train.packing import Ids
from rlaif.train.rl.repetition import measure_repetition


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One update's rollouts in numbers. `kl` is Σ log(π/π_ref) of the sampled tokens, nats per answer; `entropy` nats
    per token; `disagreement` the standard deviation over the reward's members; `held_out` higher is better, and `each`
    is what every held-out prompt has of it (NaN: no verdict), in the same order all the time."""

    step: int
    reward: float
    kl: float
    length: float
    entropy: float
    repeated: float = 0.0
    longest_repeat: float = 0.0
    alike: float = 0.0
    disagreement: float | None = None
    held_out: float | None = None
    each: tuple[float, ...] = ()

    def with_scores(self, each: Sequence[float] | NDArray[np.floating[Any]]) -> "Reading":
        """The reading with its held-out score, from every prompt's."""
        scores = tuple(float(one) for one in each)
        return replace(self, held_out=float(np.nanmean(scores)), each=scores)

    def figures(self) -> dict[str, float]:
        """What goes into the metrics log; of the prompts' scores their standard error."""
        names = [one.name for one in fields(self) if one.name not in ("step", "each")]
        found = {f"watch_{name}": getattr(self, name) for name in names if getattr(self, name) is not None}
        heard = np.array(self.each)[~np.isnan(self.each)]
        if len(heard) > 1:
            found["watch_held_out_error"] = float(heard.std(ddof=1)) / len(heard) ** 0.5
        return found


def read(
    step: int,
    *,
    rewards: Sequence[float] | NDArray[np.floating[Any]],
    kls: Sequence[float] | NDArray[np.floating[Any]],
    answers: Sequence[Ids],
    entropy: float,
    members: NDArray[np.floating[Any]] | None = None,
) -> Reading:
    """The reading of one update: rewards and KLs (B,) of B answers, and, of an ensemble, each member's reward (B, M).
    `rewards` are those of the answers, without the penalty for the KL."""
    assert len(rewards) == len(kls) == len(answers), "one of each per answer"
    found = measure_repetition(answers)
    spread = None if members is None or members.shape[1] < 2 else float(members.std(axis=1, ddof=1).mean())
    return Reading(
        step=step,
        reward=float(np.mean(rewards)),
        kl=float(np.mean(kls)),
        length=float(np.mean([len(one) for one in answers])),
        entropy=entropy,
        repeated=found.repeated,
        longest_repeat=found.longest,
        alike=found.alike,
        disagreement=spread,
    )
