"""vLLM as a sampler of the policy: its weights go over after every update, in a file of shared memory.

    with VllmSampler(policy, dtype="float32", log_file=…) as sampler: …

What is sent is `merged_state`: every weight under its checkpoint's name, adapters added in, a tied head as a twin. The
file is deleted as soon as vLLM has read it. For small models our own loop (`rlaif.train.rl.decode`) is the simpler
choice and starts at once; `docs/rollouts.md` has figures for both.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn

from rlaif.engines.vllm_rollouts import VllmRollouts
from rlaif.errors import InputError
from rlaif.settings import EngineSettings
from rlaif.train.forward import inner_model
from rlaif.train.packing import Ids
from rlaif.train.rl.limits import answer_limits
from rlaif.train.rl.rollouts import Rollout, Sampling
from rlaif.train.rl.weights import merged_state, policy_of

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - files here have random names and live for one update


class VllmSampler:
    """Draws answers from `policy` as it was at the last `update`; the constructor is the first one."""

    def __init__(
        self,
        policy: nn.Module,
        *,
        log_file: Path,
        dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16",
        settings: EngineSettings | None = None,
    ) -> None:
        self._config = inner_model(policy_of(policy)).config
        self._folder = tempfile.TemporaryDirectory(prefix="rlaif-rollouts-", dir=_shared_folder())
        folder = Path(self._folder.name)
        settings = (settings or EngineSettings(kind="vllm")).model_copy(update={"dtype": dtype})
        self._dtype = getattr(torch, dtype)
        config = self._config.to_dict() | {"architectures": [type(inner_model(policy_of(policy))).__name__]}
        type(self._config).from_dict(config).save_pretrained(folder)
        self._write(policy, folder / "model.safetensors")
        try:
            self._engine = VllmRollouts(folder, settings, log_file=log_file)
        except BaseException:
            self._folder.cleanup()
            raise
        self.update(policy)

    def update(self, module: nn.Module) -> None:
        file = Path(self._folder.name) / "weights.safetensors"
        same = self._write(module, file)
        self._engine.update(file, same)
        for name in ("weights", "model"):  # vLLM has read both
            (Path(self._folder.name) / f"{name}.safetensors").unlink(missing_ok=True)

    def sample(self, prompts: Sequence[Ids], seeds: Sequence[int], how: Sampling) -> list[Rollout]:
        if not prompts:
            return []
        limits = answer_limits(prompts, how.max_new_tokens, self._config)
        answers = self._engine.sample(
            [prompt.tolist() for prompt in prompts],
            seeds,
            max_tokens=limits.tolist(),
            stop_ids=how.stop_ids,
            temperature=how.temperature,
        )
        return [
            Rollout(
                prompt=prompt,
                answer=np.array(one.tokens, dtype=np.int64),
                logprobs=np.array(one.logprobs, dtype=np.float32) * (how.temperature > 0),
                is_ended=one.is_ended,
            )
            for prompt, one in zip(prompts, answers, strict=True)
        ]

    def close(self) -> None:
        self._engine.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _write(self, module: nn.Module, file: Path) -> dict[str, str]:
        """The weights into a file, in vLLM's precision; returns which names are another tensor's twin."""
        from safetensors.torch import save_file

        state = merged_state(module)
        first, same = _twins(state)
        wanted = {name: state[name].detach().to("cpu", self._dtype).contiguous() for name in first}
        try:
            save_file(wanted, file)
        except OSError as error:
            raise InputError(
                f"the policy's weights could not be written to {file.parent}: {error}",
                do="Make room there, or set TMPDIR to a folder with room.",
            ) from error
        return same


def _twins(state: dict[str, Tensor]) -> tuple[list[str], dict[str, str]]:
    """One name for each tensor, and the other names with the one they are equal to."""
    first: dict[tuple[Any, ...], str] = {}
    same: dict[str, str] = {}
    for name, value in state.items():
        place = (value.data_ptr(), tuple(value.shape), value.stride())
        if place in first:
            same[name] = first[place]
        else:
            first[place] = name
    return list(first.values()), same


def _shared_folder() -> Path | None:
    """Memory with the looks of a folder, where the system has it; otherwise the usual place for temporary files."""
    return _SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None
