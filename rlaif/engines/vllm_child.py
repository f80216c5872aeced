"""The child process that holds vLLM: requests come in over a pipe, answers leave over another as they are ready.

    python -m rlaif.engines.vllm_child READ_FD WRITE_FD        (started by vllm_engine.py, never by hand)

One thread reads the pipe and turns chats into token ids while the main thread steps the engine, so the next requests
are ready when the model is. Whoever started us is the only reason to live: when the pipe ends, so does the whole
process group, vLLM's own workers included.
"""

import os
import queue
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from rlaif.engines.base import Answer, Completion, Failure, FinishReason, Request, Sampling
from rlaif.engines.choices import Tokens
from rlaif.engines.prepare import Prepared, Preparer
from rlaif.engines.vllm_flags import SMALL_BLOCK_TOKENS
from rlaif.engines.wire import answer_to_dict, read_message, request_from_dict, write_message
from rlaif.records import Message

WINDOW_PER_SEQUENCE = 3  # requests kept here for each one vLLM works on: enough to hide the pipe and the tokenizer


@dataclass(slots=True)
class Job:
    """A request under way: one question to vLLM, or one per inner node of its choices' tree."""

    prepared: Prepared
    turn: int
    waiting: set[Tokens]
    tables: dict[Tokens, Mapping[int, float]] = field(default_factory=dict)
    cached_tokens: int = 0


class Reader(threading.Thread):
    """Reads the pipe to its end, tokenising on the way; what it read waits in `inbox`."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(daemon=True)
        self.inbox: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.preparer: Preparer | None = None
        self._stream = stream

    def run(self) -> None:
        try:
            self._read()
        except Exception as error:  # a thread cannot raise into another: the main one does, and the parent hears of it
            self.inbox.put({"type": "fault", "error": error})
            return
        os.killpg(0, signal.SIGKILL)  # the parent is gone: nobody is left to answer

    def _read(self) -> None:
        while (message := read_message(self._stream)) is not None:
            if message["type"] == "request" and self.preparer is not None:
                message["prepared"] = self.preparer.prepare(request_from_dict(message["request"]))
            self.inbox.put(message)


class Worker:
    """vLLM's engine and the requests it is working on."""

    def __init__(self, llm: Any, reader: Reader, replies: BinaryIO) -> None:
        self._llm, self._engine = llm, llm.llm_engine
        self._reader, self._replies = reader, replies
        self._jobs: dict[str, tuple[Job, Tokens]] = {}
        self._serial = 0
        self._before: dict[str, float] = {}

    def warm_up(self, preparer: Preparer) -> None:
        """Answer a request of our own and forget it: the first one costs seconds of setting up, whatever it asks.

        They belong to loading, which is measured apart: a plan would otherwise take them for the price of requests.
        """
        sampling = Sampling(max_tokens=1)
        request = Request(id="", messages=(Message(role="user", content="-"),), sampling=sampling, choices=("A", "B"))
        prepared = preparer.prepare(request)
        if isinstance(prepared, Failure) or self._start(prepared, turn=0) is not None:
            return  # a model that takes no such request says so to the first real one
        while self._jobs:
            self._step({})
        self._llm.reset_prefix_cache()
        self._before = self._counters()

    def run(self) -> None:
        """Take what has come, step, answer; returns when told to close."""
        while True:
            done: dict[int, list[Answer]] = {}
            while not self._reader.inbox.empty() or not self._jobs:
                message = self._reader.inbox.get()
                if message["type"] == "close":
                    return
                self._take(message, done)
                if done and self._reader.inbox.empty():
                    break
            if self._jobs:
                self._step(done)
            for turn, answers in done.items():
                self._send({"type": "answers", "turn": turn, "answers": [answer_to_dict(a) for a in answers]})

    def _take(self, message: dict[str, Any], done: dict[int, list[Answer]]) -> None:
        if message["type"] == "request":
            prepared, turn = message["prepared"], message["turn"]
            failure = prepared if isinstance(prepared, Failure) else self._start(prepared, turn)
            if failure is not None:
                done.setdefault(turn, []).append(failure)
        elif message["type"] == "abort":
            self._give_up([name for name, (job, _) in self._jobs.items() if job.turn == message["turn"]])
        elif message["type"] == "fault":
            raise message["error"]
        elif message["type"] == "counters":
            self._send({"type": "counters", "counters": self._counters()})

    def _start(self, prepared: Prepared, turn: int) -> Failure | None:
        """Hand a request to vLLM; a Failure when vLLM does not take it."""
        from vllm.inputs import TokensPrompt

        nodes: tuple[Tokens, ...] = tuple(prepared.tree.children) if prepared.tree else ((),)
        job = Job(prepared, turn, set(nodes))
        started: list[str] = []
        for node in nodes:
            self._serial += 1
            name = str(self._serial)
            prompt = TokensPrompt(prompt_token_ids=[*prepared.tokens, *node])
            try:
                self._engine.add_request(name, prompt, _sampling_params(prepared, node))
            except ValueError as error:  # vLLM's refusals of single requests descend from it
                self._give_up(started)
                reason = f"vLLM does not take this request: {str(error).splitlines()[0]}"
                return Failure(request_id=prepared.request.id, kind="refused", reason=reason)
            started.append(name)
            self._jobs[name] = (job, node)
        return None

    def _step(self, done: dict[int, list[Answer]]) -> None:
        for output in self._engine.step():
            if not output.finished:
                continue
            job, node = self._jobs.pop(output.request_id)
            job.waiting.discard(node)
            job.cached_tokens += (output.num_cached_tokens or 0) if not node else 0
            if job.prepared.tree is None:
                done.setdefault(job.turn, []).append(_text_answer(job, output))
                continue
            sampled = output.outputs[0].logprobs[0]
            job.tables[node] = {token: entry.logprob for token, entry in sampled.items()}
            if not job.waiting:
                done.setdefault(job.turn, []).append(_choice_answer(job))

    def _give_up(self, names: list[str]) -> None:
        self._engine.abort_request(names)
        for name in names:
            del self._jobs[name]

    def _counters(self) -> dict[str, float]:
        """vLLM's own counters, by name and (where it has one) source. `_total` is a matter of its exporter."""
        found: dict[str, float] = {}
        for metric in self._llm.get_metrics():
            value = getattr(metric, "value", None)
            if isinstance(value, (int, float)):
                source = metric.labels.get("source")
                name = metric.name.removesuffix("_total") + (f":{source}" if source else "")
                found[name] = found.get(name, 0) + value
        return {name: value - self._before.get(name, 0) for name, value in found.items()}

    def _send(self, message: dict[str, Any]) -> None:
        write_message(self._replies, message)


def _sampling_params(prepared: Prepared, node: Tokens) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    if prepared.tree is not None:
        return SamplingParams(
            max_tokens=1,
            temperature=0.0,
            logprob_token_ids=list(prepared.tree.children[node]),
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
    wanted, schema = prepared.request.sampling, prepared.request.json_schema
    return SamplingParams(
        max_tokens=wanted.max_tokens,
        temperature=wanted.temperature,
        top_p=wanted.top_p,
        top_k=wanted.top_k,
        seed=wanted.seed,
        stop=list(wanted.stop),
        structured_outputs=None if schema is None else StructuredOutputsParams(json=schema),
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def _text_answer(job: Job, output: Any) -> Answer:
    request, text = job.prepared.request, output.outputs[0]
    reason: FinishReason | None = {"stop": "stop", "length": "length"}.get(text.finish_reason)  # type: ignore[assignment]  # a literal by the keys
    if reason is None:
        words = f"vLLM ended this request with {text.finish_reason!r}"
        return Failure(request_id=request.id, kind="failed", reason=words, prompt_tokens=len(job.prepared.tokens))
    split = job.prepared.format.split(request, text.text, text.token_ids)
    return Completion(
        request_id=request.id,
        text=split.text,
        finish_reason=reason,
        prompt_tokens=len(job.prepared.tokens),
        output_tokens=len(text.token_ids),
        cached_tokens=job.cached_tokens,
        thinking=split.thinking,
        is_thinking_open=split.is_open,
    )


def _choice_answer(job: Job) -> Completion:
    tree = job.prepared.tree
    assert tree is not None
    logprobs, uncovered = tree.logprobs(job.tables)
    return Completion(
        request_id=job.prepared.request.id,
        text="",
        finish_reason="stop",
        prompt_tokens=len(job.prepared.tokens),
        output_tokens=len(tree.children),
        cached_tokens=job.cached_tokens,
        choice_logprobs=logprobs,
        uncovered=uncovered,
        choice_method=tree.method,
    )


def load(reader: Reader, replies: BinaryIO) -> Worker:
    """Load the model that the first message names and say that it is ready."""
    start = reader.inbox.get()
    from transformers import AutoTokenizer
    from vllm import LLM

    arguments = start["arguments"]
    if start["cpu"] and arguments["block_size"] == SMALL_BLOCK_TOKENS:
        announce_small_blocks()
    llm = LLM(**arguments, disable_log_stats=False)
    config = llm.llm_engine.vllm_config
    tokenizer = AutoTokenizer.from_pretrained(
        arguments["model"],
        revision=arguments.get("revision"),
        trust_remote_code=arguments.get("trust_remote_code", False),
    )
    reader.preparer = Preparer(tokenizer, config.model_config.max_model_len, start["chat_template_kwargs"])
    ready = {
        "type": "ready",
        "max_model_len": config.model_config.max_model_len,
        "window": WINDOW_PER_SEQUENCE * config.scheduler_config.max_num_seqs,
    }
    worker = Worker(llm, reader, replies)
    worker.warm_up(reader.preparer)
    write_message(replies, ready)
    return worker


def announce_small_blocks() -> None:
    """Let vLLM's CPU attention say that it takes blocks of 16: it does (see `vllm_flags.offline_block_tokens`)."""
    from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend

    sizes = staticmethod(lambda _spec=None: [SMALL_BLOCK_TOKENS])
    CPUAttentionBackend.get_supported_kernel_block_sizes = sizes  # type: ignore[method-assign, assignment]  # meant


def main() -> None:
    requests, replies = os.fdopen(int(sys.argv[1]), "rb"), os.fdopen(int(sys.argv[2]), "wb")
    reader = Reader(requests)
    reader.start()
    try:
        load(reader, replies).run()
    except Exception as error:
        write_message(replies, {"type": "fatal", "error": f"{type(error).__name__}: {error}"})
        raise  # with its traceback, into the log
    sys.stdout.flush()
    os._exit(0)  # the operating system takes everything back at once; vLLM's own farewell takes seconds


if __name__ == "__main__":
    main()
