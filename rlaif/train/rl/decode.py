"""Our own decode loop: answers from a model of transformers in this process, a batch at a time.

    sampler = DecodeSampler(model, precision="float32")
    rollouts = sampler.sample(prompts, seeds, Sampling(max_new_tokens=64, stop_ids=(2,)))

Equal prompts are read once. Finished rows leave the batch, waiting prompts take their places, the longest prompts go
first. Of the distributions only the drawn tokens' log-probabilities are kept: what is held is one step's logits,
(rows, vocabulary). An answer depends on its seed and its prompt; its neighbours change the order of sums and so
rounding, at about 1e-6 nats in float32.

The weights are read when `sample` is called, so nothing here can be stale. In float32 the log-probabilities are those
of `rlaif.train.forward.LogprobModel` to about 1e-6; in bfloat16 products are rounded in the same places as in training
under autocast.

Temperature divides the logits, log-probabilities are of the divided ones; at temperature 0 the likeliest token is
taken, with log-probability 0. There is no top-k and no top-p: what they cut away has no log-probability, and a
learner's ratio to it no meaning.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rlaif.errors import TrainingStopped
from rlaif.train.forward import head_of, inner_model
from rlaif.train.head import Head, head_logits
from rlaif.train.packing import Ids
from rlaif.train.rl.draws import draw_tokens
from rlaif.train.rl.limits import answer_limits
from rlaif.train.rl.llama_reader import LlamaReader, llama_weights
from rlaif.train.rl.model_reader import ModelReader
from rlaif.train.rl.rollouts import Rollout, Sampling
from rlaif.train.rl.weights import policy_of

MAX_ROWS = 128
_ENTER_SHARE = 8  # waiting prompts enter when one in eight rows is free: reading single prompts wastes products
_READ_TOKENS = 8192  # prompts' tokens read at once
_KEPT_BYTES = 2 << 30  # of keys and values: rows beyond wait


class Reader(Protocol):
    """A model that reads rows token by token: `rlaif.train.rl.llama_reader` says what each method does."""

    @property
    def room(self) -> int: ...

    def enter(self, prompts: Sequence[Ids], copies: Sequence[int]) -> Tensor: ...

    def step(self, tokens: Tensor) -> Tensor: ...

    def keep(self, order: Sequence[int]) -> None: ...


@dataclass(frozen=True, slots=True)
class _Group:
    """Requests with the same prompt, by number."""

    prompt: Ids
    members: list[int] = field(default_factory=list)


class DecodeSampler:
    """Samples from `model`, a causal model of transformers or PEFT. At most `max_rows` rows are decoded at once,
    fewer where their keys and values would take more than 2 GiB."""

    def __init__(
        self, model: nn.Module, *, precision: Literal["float32", "bf16"] = "float32", max_rows: int = MAX_ROWS
    ) -> None:
        self._precision, self._max_rows = precision, max_rows
        self.update(model)

    def update(self, module: nn.Module) -> None:
        self._model = policy_of(module)

    def close(self) -> None:
        """Nothing is held between calls."""

    @torch.no_grad()
    def sample(self, prompts: Sequence[Ids], seeds: Sequence[int], how: Sampling) -> list[Rollout]:
        """One answer to each prompt, in the prompts' order."""
        if not prompts:
            return []
        limits = answer_limits(prompts, how.max_new_tokens, inner_model(self._model).config)
        with _evaluating(self._model):
            loop = _Loop(self._model, self._precision, prompts, seeds, limits, how, self._max_rows)
            loop.run()
        return loop.rollouts()


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Without dropout; afterwards every part is in the mode it was in, which need not be the same for all."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


class _Loop:
    """One call of `sample`: which rows are live, and what they have drawn."""

    def __init__(
        self,
        model: Any,
        precision: str,
        prompts: Sequence[Ids],
        seeds: Sequence[int],
        limits: NDArray[np.int64],
        how: Sampling,
        max_rows: int,
    ) -> None:
        self._prompts, self._seeds, self._limits, self._how = prompts, np.array(seeds, dtype=np.int64), limits, how
        self._head, self._dtype = _head(model, precision)
        length = max(len(prompt) + int(limit) for prompt, limit in zip(prompts, limits, strict=True))
        self._reader = _reader(model, self._dtype, min(max_rows, len(prompts)), length)
        self._num_rows = self._reader.room
        self._waiting = _groups(prompts, self._num_rows)
        self._live = np.zeros(0, dtype=np.int64)  # requests by row
        self._tokens = np.zeros((len(prompts), how.max_new_tokens), dtype=np.int64)
        self._logprobs = np.zeros(self._tokens.shape, dtype=np.float32)
        self._counts = np.zeros(len(prompts), dtype=np.int64)

    def run(self) -> None:
        while self._waiting or len(self._live):
            self._enter()
            newest = self._tokens[self._live, self._counts[self._live] - 1]
            if len(newest):
                hidden = self._reader.step(torch.from_numpy(newest).to(self._head.weight.device))
                self._draw(hidden, np.arange(len(newest)))

    def _enter(self) -> None:
        """Let waiting prompts in where enough rows are free, and draw their first tokens."""
        room = self._reader.room
        if not self._waiting or room < min(max(1, self._num_rows // _ENTER_SHARE), sum(map(_size, self._waiting))):
            return
        entering = self._first_waiting(room)
        if not entering:
            return
        hidden = self._reader.enter([one.prompt for one in entering], [len(one.members) for one in entering])
        before = len(self._live)
        self._live = np.concatenate([self._live, *(np.array(one.members) for one in entering)])
        self._draw(hidden, np.arange(before, len(self._live)))

    def _first_waiting(self, room: int) -> list[_Group]:
        """What fits into so many rows, and is read at once without much memory."""
        entering: list[_Group] = []
        num_tokens = 0
        while self._waiting and len(self._waiting[0].members) <= room and num_tokens < _READ_TOKENS:
            entering.append(self._waiting.pop(0))
            room -= len(entering[-1].members)
            num_tokens += len(entering[-1].prompt)
        return entering

    def _draw(self, hidden: Tensor, rows: NDArray[np.int64]) -> None:
        """Draw a token for each of these rows; rows that end with it leave."""
        requests = self._live[rows]
        steps = self._counts[requests]
        logits = head_logits(hidden, self._head, self._dtype)
        tokens, logprobs = draw_tokens(logits, self._seeds[requests], steps, self._how.temperature)
        self._tokens[requests, steps] = drawn = tokens.cpu().numpy()
        self._logprobs[requests, steps] = found = logprobs.cpu().numpy()
        if not np.isfinite(found).all():
            raise TrainingStopped(
                "the policy's logits are not numbers (NaN or infinite): its weights are spoilt.",
                do="Go back to the last good checkpoint; lower the learning rate or clip gradients.",
            )
        self._counts[requests] += 1
        is_done = np.zeros(len(self._live), dtype=bool)
        is_done[rows] = np.isin(drawn, self._how.stop_ids) | (self._counts[requests] == self._limits[requests])
        if is_done.any():
            order = _order_without(is_done)
            self._reader.keep(order.tolist())
            self._live = self._live[order]

    def rollouts(self) -> list[Rollout]:
        return [
            Rollout(
                prompt=prompt,
                answer=self._tokens[number, :count].copy(),
                logprobs=self._logprobs[number, :count].copy(),
                is_ended=bool(np.isin(self._tokens[number, count - 1], self._how.stop_ids)),
            )
            for number, (prompt, count) in enumerate(zip(self._prompts, self._counts, strict=True))
        ]


def _groups(prompts: Sequence[Ids], most: int) -> list[_Group]:
    """Equal prompts together, at most `most` in a group; the longest first."""
    groups: dict[bytes, _Group] = {}
    whole: list[_Group] = []
    for number, prompt in enumerate(prompts):
        key = np.asarray(prompt, dtype=np.int64).tobytes()
        group = groups.get(key)
        if group is None or len(group.members) == most:
            group = groups[key] = _Group(prompt)
            whole.append(group)
        group.members.append(number)
    return sorted(whole, key=lambda one: -len(one.prompt))


def _size(group: _Group) -> int:
    return len(group.members)


def _order_without(is_done: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The rows that stay, the last ones in the places of those that leave."""
    num_kept = int((~is_done).sum())
    order = np.arange(num_kept)
    order[is_done[:num_kept]] = num_kept + np.flatnonzero(~is_done[num_kept:])
    return order


def _head(model: Any, precision: str) -> tuple[Head, torch.dtype]:
    """The LM head with its weight in the products' type, and that type."""
    head = head_of(model)
    dtype = torch.bfloat16 if precision == "bf16" else head.weight.dtype
    return Head(head.weight.detach().to(dtype), head.bias, head.scale, head.softcap), dtype


def _reader(model: Any, dtype: torch.dtype, num_rows: int, length: int) -> Reader:
    weights = llama_weights(model, dtype)
    if weights is None:
        return ModelReader(model, num_rows=num_rows, dtype=dtype)
    fitting = max(1, _KEPT_BYTES // (weights.bytes_per_token * length))
    return LlamaReader(weights, num_rows=min(num_rows, fitting), length=length)
