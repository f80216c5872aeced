"""The child process that holds vLLM while a policy is trained: new weights and prompts in, sampled tokens out.

    python -m rlaif.engines.vllm_rollout_child READ_FD WRITE_FD     (started by vllm_rollouts.py, never by hand)

One message at a time, each answered before the next is read. Weights come as a safetensors file; after loading them
the keys and values kept of earlier prompts are forgotten, since they were computed with other weights. When the pipe
ends, so does the process group.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any, BinaryIO

from rlaif.engines.vllm_child import announce_small_blocks
from rlaif.engines.vllm_flags import SMALL_BLOCK_TOKENS
from rlaif.engines.wire import read_message, write_message


class Worker:
    """vLLM and the version of its weights: 0 are those it was started with."""

    def __init__(self, llm: Any) -> None:
        self._llm, self._version = llm, 0

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        if message["type"] == "update":
            return self._update(message)
        assert message["type"] == "sample", message["type"]
        return {"type": "sampled", "version": self._version, "answers": self._sample(message)}

    def _update(self, message: dict[str, Any]) -> dict[str, Any]:
        weights = list(_read_weights(message["file"], message["same"]))
        self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": weights})
        if not self._llm.reset_prefix_cache():
            raise RuntimeError("vLLM did not forget the keys and values of the old weights")
        self._version = message["version"]
        return {"type": "updated", "version": self._version}

    def _sample(self, message: dict[str, Any]) -> list[list[Any]]:
        from vllm import SamplingParams
        from vllm.inputs import TokensPrompt
        from vllm.sampling_params import RequestOutputKind

        prompts = [TokensPrompt(prompt_token_ids=prompt) for prompt in message["prompts"]]
        asked = [
            SamplingParams(
                max_tokens=max_tokens,
                temperature=message["temperature"],
                seed=seed,
                stop_token_ids=message["stop_ids"],
                ignore_eos=True,  # an answer ends with the stop ids it was given, not with the model's own
                logprobs=0,  # of the drawn token alone
                detokenize=False,
                output_kind=RequestOutputKind.FINAL_ONLY,
            )
            for seed, max_tokens in zip(message["seeds"], message["max_tokens"], strict=True)
        ]
        return [_answer(output.outputs[0]) for output in self._llm.generate(prompts, asked, use_tqdm=False)]


def _answer(output: Any) -> list[Any]:
    """Tokens, their log-probabilities, and whether a stop token ended them."""
    tokens = list(output.token_ids)
    logprobs = [of_place[token].logprob for of_place, token in zip(output.logprobs, tokens, strict=True)]
    return [tokens, logprobs, output.finish_reason == "stop"]


def _read_weights(file: str, same: dict[str, str]) -> Iterator[tuple[str, Any]]:
    """Every tensor of a safetensors file by its name, and the twins by theirs."""
    from safetensors import safe_open

    with safe_open(file, framework="pt") as stored:
        for name in stored.keys():  # noqa: SIM118 - not a mapping
            yield name, stored.get_tensor(name)
        for name, twin in same.items():
            yield name, stored.get_tensor(twin)


def _read(stream: BinaryIO, inbox: "list[dict[str, Any]]", has_come: threading.Semaphore) -> None:
    """Runs in a thread: a parent that dies is noticed at once, also while vLLM works."""
    while (message := read_message(stream)) is not None:
        inbox.append(message)
        has_come.release()
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    requests, replies = os.fdopen(int(sys.argv[1]), "rb"), os.fdopen(int(sys.argv[2]), "wb")
    inbox: list[dict[str, Any]] = []
    has_come = threading.Semaphore(0)
    threading.Thread(target=_read, args=(requests, inbox, has_come), daemon=True).start()
    try:
        has_come.acquire()
        worker = Worker(_load(inbox.pop(0)))
        write_message(replies, {"type": "ready"})
        while True:
            has_come.acquire()
            message = inbox.pop(0)
            if message["type"] == "close":
                break
            write_message(replies, worker.answer(message))
    except Exception as error:
        write_message(replies, {"type": "fatal", "error": f"{type(error).__name__}: {error}"})
        raise  # with its traceback, into the log
    sys.stdout.flush()
    os._exit(0)  # the operating system takes everything back at once; vLLM's own farewell takes seconds


def _load(start: dict[str, Any]) -> Any:
    from vllm import LLM

    if start["cpu"] and start["arguments"]["block_size"] == SMALL_BLOCK_TOKENS:
        announce_small_blocks()
    return LLM(**start["arguments"])


if __name__ == "__main__":
    main()
