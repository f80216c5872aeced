"""A rollout: one answer as it was sampled, and what a sampler is.

    rollouts = sampler.sample(prompts, seeds, how)      # in the prompts' order, one for each
    sampler.update(module)                              # after every change of the policy's weights

Who samples is handed in: our own decode loop, or vLLM in this process. A rollout keeps the sampled tokens'
log-probabilities and nothing else of the distributions they came from.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import nn

from rlaif.train.packing import Ids, TokenSequence


@dataclass(frozen=True, slots=True)
class Sampling:
    """How answers are drawn. `stop_ids` end an answer and belong to it; temperature divides the logits, and the
    log-probabilities are those of the divided ones: of the distribution that was sampled."""

    max_new_tokens: int
    stop_ids: tuple[int, ...]
    temperature: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Rollout:
    """One sampled answer. A (T,) tokens; `is_ended` when its last token is a stop token, otherwise it was cut off."""

    prompt: Ids
    answer: Ids
    logprobs: NDArray[np.float32]  # (T,) nats, as the sampler had them
    is_ended: bool

    def sequence(self) -> TokenSequence:
        """Prompt and answer, the answer's tokens scored."""
        ids = np.concatenate([self.prompt, self.answer]).astype(np.int64)
        return TokenSequence(ids, np.arange(len(ids)) >= len(self.prompt))


class Sampler(Protocol):
    """What draws answers from the policy as it was at the last `update`."""

    def sample(self, prompts: Sequence[Ids], seeds: Sequence[int], how: Sampling) -> list[Rollout]: ...

    def update(self, module: nn.Module) -> None: ...

    def close(self) -> None: ...


class WhenAsked:
    """A sampler that is made when it is first used: a run that has ended asks none, and loading one takes a while."""

    def __init__(self, make: Callable[[], Sampler]) -> None:
        self._make, self._made = make, list[Sampler]()

    def sample(self, prompts: Sequence[Ids], seeds: Sequence[int], how: Sampling) -> list[Rollout]:
        return self._sampler().sample(prompts, seeds, how)

    def update(self, module: nn.Module) -> None:
        self._sampler().update(module)

    def close(self) -> None:
        for one in self._made:
            one.close()

    def _sampler(self) -> Sampler:
        if not self._made:
            self._made.append(self._make())
        return self._made[0]
