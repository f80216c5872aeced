"""A reward model with several heads: one per principle, and several of each, which disagree where they do not know.

    Heads(principles=("honest", "kind"), members=4)     8 outputs of one backbone, member after member

Every head is linear in the backbone's last state, so a weighted sum of heads is one head: what is saved is an ordinary
reward model with one label, whose head is the combination, and beside it `heads.safetensors` with all of them. A
combination is given (a weight per principle) or learnt: a logistic regression of the labels on the heads' gaps, fitted
after the training in closed form up to Newton's steps, not by the trainer's small steps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import optimize, special
from torch import Tensor, nn

from rlaif.errors import DataError, nearest
from rlaif.identity import seed_from
from rlaif.train.examples import TrainingRow
from rlaif.train.grouping import prompt_ids

FILE = "heads.safetensors"
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Heads:
    """What a reward model's outputs are. Without principles there is one reward, that of the label itself."""

    principles: tuple[str, ...] = ()
    members: int = 1

    @property
    def num_rewards(self) -> int:
        return max(1, len(self.principles))

    @property
    def num_outputs(self) -> int:
        return self.members * self.num_rewards

    def split(self, outputs: Tensor) -> Tensor:
        """(…, outputs) as (…, members, rewards)."""
        return outputs.reshape(*outputs.shape[:-1], self.members, self.num_rewards)


def check_principles(rows: Sequence[TrainingRow], heads: Heads) -> None:
    """Raise DataError where a principle with a head has no verdict in the data at all."""
    known = sorted({name for row in rows for pair in row.pairs for name in pair.principles})
    for name in heads.principles:
        if name not in known:
            raise DataError(
                f"no row has a verdict under the principle {name!r}{nearest(name, known)}.",
                do=f"The data have: {', '.join(known) or 'no verdicts under single principles'}.",
            )


def bootstrap_counts(rows: Sequence[TrainingRow], members: int, seed: int) -> Array:
    """(rows, members): how often each member sees a row, Poisson(1) by prompt; a single member sees all once."""
    if members == 1:
        return np.ones((len(rows), 1))
    prompts = [prompt_ids(row.family[0]).hex() for row in rows]
    drawn = [np.random.default_rng(seed_from(f"members|{seed}|{prompt}")).poisson(1.0, members) for prompt in prompts]
    return np.array(drawn, dtype=np.float64)


def fit_combination(gaps: Array, probability: Array, weight: Array, *, penalty: float = 1.0) -> Array:
    """The weights (K,) that minimise Σ w · [-p log σ(g·β) - (1 - p) log σ(-g·β)] + penalty/2 · Σ (s β)², with gaps
    g (P, K) and s their root mean squares. The penalty is a standard normal prior, one row's worth of doubt: without
    it a combination that explains every label has no end."""
    scale = np.sqrt((gaps**2).mean(axis=0))
    scale[scale == 0.0] = 1.0
    design = gaps / scale

    def loss(beta: Array) -> tuple[float, Array]:
        at = design @ beta
        value = weight @ (probability * np.logaddexp(0.0, -at) + (1.0 - probability) * np.logaddexp(0.0, at))
        slope = design.T @ (weight * (special.expit(at) - probability)) + penalty * beta
        return float(value + 0.5 * penalty * beta @ beta), slope

    found = optimize.minimize(loss, np.zeros(gaps.shape[1]), jac=True, method="BFGS", options={"gtol": 1e-8})
    return np.asarray(found.x / scale)


def combination_of(heads: Heads, given: Mapping[str, float] | None, gaps: Array, p: Array, weight: Array) -> Array:
    """A weight per reward: as given, learnt from the labels, or 1 where there is only one reward."""
    if not heads.principles:
        return np.ones(1)
    if given is not None:
        return np.array([given[name] for name in heads.principles])
    return fit_combination(gaps, p, weight)


@torch.no_grad()
def fold(model: Any, heads: Heads, combination: Array) -> Tensor:
    """Put the combination in the place of the model's heads, and return these: (members, rewards, width)."""
    stacked: Tensor = heads.split(model.score.weight.T).permute(1, 2, 0).contiguous()
    weights = torch.from_numpy(combination).to(stacked)
    single = nn.Linear(stacked.shape[-1], 1, bias=False, dtype=stacked.dtype, device=stacked.device)
    single.weight.copy_((weights[:, None] * stacked.mean(dim=0)).sum(dim=0, keepdim=True))
    model.score = single
    model.num_labels = model.config.num_labels = 1
    return stacked
