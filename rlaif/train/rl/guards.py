"""When a run by sampled answers ends itself: KL out of bounds, rewards that say nothing, answers that never end.

    guards = Guards().after(figures, settings, iteration=…, where=…)    # raises TrainingStopped, or counts on

Looked at after an iteration's answers were scored and before anything is learnt from them or kept: the checkpoint that
is written next is then of weights whose answers were within limits. What watches for reward hacking is `watch`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from rlaif.errors import TrainingStopped
from rlaif.train.rl.settings import StopSettings

_DO = "Checkpoints that lie there are of weights whose answers were within limits. "


@dataclass(frozen=True, slots=True)
class Guards:
    """`constant` and `unended` are iterations in a row, `constant_in_all` those of the run. Values of this class are
    all there is to save."""

    constant: int = 0
    constant_in_all: int = 0
    unended: int = 0

    def after(self, figures: Mapping[str, float], stop: StopSettings, *, iteration: int, where: str) -> "Guards":
        """The counts with one more iteration."""
        self._check_kl(figures["kl"], stop, iteration, where)
        is_constant = figures["reward_deviation"] == 0.0
        is_unended = stop.unended is not None and 1.0 - figures["ended_share"] > stop.unended
        found = replace(
            self,
            constant=self.constant + 1 if is_constant else 0,
            constant_in_all=self.constant_in_all + is_constant,
            unended=self.unended + 1 if is_unended else 0,
        )
        if stop.constant_rewards is not None and found.constant >= stop.constant_rewards:
            raise TrainingStopped(
                f"iteration {iteration + 1}: for {found.constant} iterations in a row every answer got the same "
                f"reward, {figures['reward']:g}; there is nothing to learn from it.",
                where=where,
                do="Look at the reward: does it read these answers? Or raise stop.constant_rewards.",
            )
        if found.unended >= stop.patience:
            raise TrainingStopped(
                f"iteration {iteration + 1}: for {found.unended} iterations in a row nearly no answer ended; of the "
                f"last ones {1 - figures['ended_share']:.1%} did not.",
                where=where,
                do="Raise rollout.max_new_tokens, price it (a reward part of kind end), or set stop.unended: null.",
            )
        return found

    def _check_kl(self, kl: float, stop: StopSettings, iteration: int, where: str) -> None:
        if math.isfinite(kl) and (stop.kl is None or kl <= stop.kl):
            return
        limit = "" if stop.kl is None else f"; the limit stop.kl is {stop.kl:g}"
        raise TrainingStopped(
            f"iteration {iteration + 1}: the KL to the reference is {kl:.4g} nats per answer{limit}.",
            where=where,
            do=_DO + "Raise kl.coefficient or lower loop.optimiser.learning_rate, and begin anew.",
        )
