"""vLLM as a sampler of a policy that is being trained: token ids in, token ids and log-probabilities out.

    engine = VllmRollouts(folder, settings, log_file=…)    # a folder with config.json and the first weights
    engine.update(file, same)                              # after every change: a safetensors file, and its twin names
    answers = engine.sample(prompts, seeds, max_tokens=64, stop_ids=(2,), temperature=1.0)

A child of ours holds vLLM, as for judging (`vllm_engine.py`): its threads and environment stay its own, a crash is an
error with a reason, and closing gives all memory back. The price is one file per update: weights are written once in
shared memory, where there is some, and read from there; no pickle, no socket, 24 MB in some ten milliseconds. Whoever
calls deletes the file when `update` returns.

A version goes with the weights. Every reply names the version it was drawn from, and one that is not the last one sent
is an error here: old weights, or keys and values kept from them, cannot pass for new ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlaif.engines.base import Closing
from rlaif.engines.child_process import ChildDied, ChildProcess
from rlaif.engines.model_files import find_model
from rlaif.engines.trouble import advice, last_lines, log_tail
from rlaif.engines.vllm_flags import environment, is_cpu_build, model_arguments, offline_block_tokens, require_vllm
from rlaif.errors import EngineCrashed
from rlaif.settings import EngineSettings

READ_TOKENS = 8192  # prompts' tokens vLLM reads in a step, on a CPU


@dataclass(frozen=True, slots=True)
class SampledTokens:
    """An answer as vLLM drew it; `logprobs` are of the distribution it drew from. `is_ended`: by a stop token."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]
    is_ended: bool


class VllmRollouts(Closing):
    """Loading begins with the constructor; the first call waits for it."""

    child_module = "rlaif.engines.vllm_rollout_child"

    def __init__(self, model: Path, settings: EngineSettings, *, log_file: Path) -> None:
        require_vllm()
        files = find_model(str(model), settings)
        cpu = is_cpu_build()
        arguments = model_arguments(settings, files, cpu=cpu)
        if cpu:
            arguments["block_size"] = offline_block_tokens(settings)
            arguments["max_num_batched_tokens"] = max(arguments["max_num_batched_tokens"], READ_TOKENS)
        # Log-probabilities of what is drawn from, after the temperature; vLLM's default is before.
        arguments |= {"skip_tokenizer_init": True, "logprobs_mode": "processed_logprobs"}
        self.dtype = files.dtype
        self._log_file, self._version = log_file, 0
        self._child = ChildProcess(self.child_module, environ=environment(cpu=cpu, in_process=True), log_file=log_file)
        self._child.send({"type": "start", "arguments": arguments, "cpu": cpu})
        self._is_ready = False

    def update(self, weights: Path, same: dict[str, str]) -> None:
        """Load other weights, under the names of the model's checkpoint. `same` names tensors that are another one's
        twin (a tied head) and so are not in the file; vLLM would keep the old one in silence."""
        self._version += 1
        self._ask({"type": "update", "version": self._version, "file": str(weights), "same": same}, "updated")

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[int],
        *,
        max_tokens: Sequence[int],
        stop_ids: Sequence[int],
        temperature: float,
    ) -> list[SampledTokens]:
        """An answer of at most `max_tokens[n]` tokens to prompt n, in the prompts' order."""
        asked = {
            "type": "sample",
            "prompts": [[int(token) for token in prompt] for prompt in prompts],
            "seeds": [int(seed) for seed in seeds],
            "max_tokens": [int(number) for number in max_tokens],
            "stop_ids": [int(token) for token in stop_ids],
            "temperature": temperature,
        }
        reply = self._ask(asked, "sampled")
        if reply["version"] != self._version:
            raise EngineCrashed(
                f"vLLM answered with weights of version {reply['version']}, not {self._version}.",
                do="This is a fault of ours; please report it.",
            )
        return [SampledTokens(tuple(tokens), tuple(logprobs), ended) for tokens, logprobs, ended in reply["answers"]]

    def close(self) -> None:
        """End the child; may be called again."""
        self._child.close(is_asked=self._is_ready)

    @property
    def pid(self) -> int:
        """The child's process id, which is also that of its process group."""
        return self._child.pid

    def _ask(self, message: dict[str, Any], reply: str) -> dict[str, Any]:
        try:
            if not self._is_ready:
                self._child.receive("ready")
                self._is_ready = True
            self._child.send(message)
            return self._child.receive(reply)
        except ChildDied as death:
            tail = log_tail(self._log_file, self._child.log_start)
            raise EngineCrashed(
                f"vLLM, which draws the rollouts, died: {death.how}\nlast lines of {self._log_file}:\n"
                f"{last_lines(tail)}",
                do=advice(f"{death.said or ''}\n{tail}", killed=death.is_killed),
            ) from None
