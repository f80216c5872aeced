"""vLLM in a child process of ours.

The child exists so that this process stays light (it imports neither torch nor vllm), so that a crash is an error
with a reason and not the end of everything, and so that all memory is given back when the engine is closed, between
the policy and the judge. What vLLM prints goes to the log file.

Requests stream to the child and answers stream back; a bounded number is under way, so an iterator of ten million
requests is consumed only as fast as it is answered.

A child that dies while it answers (the system's out-of-memory killer, a fault of the GPU or of vLLM) is started again,
and only what it was working on is asked again. The engine ends when children keep dying without an answer in between.
"""

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from rlaif.engines.base import Answer, Closing, Completion, EngineCounters, Failure, ModelIdentity, Request
from rlaif.engines.child_process import ChildDied, ChildProcess
from rlaif.engines.in_flight import InFlight
from rlaif.engines.model_files import find_model
from rlaif.engines.trouble import advice, last_lines, log_tail
from rlaif.engines.vllm_flags import environment, is_cpu_build, model_arguments, offline_block_tokens, require_vllm
from rlaif.engines.wire import answer_from_dict, request_to_dict
from rlaif.errors import EngineCrashed, EngineUnavailable
from rlaif.settings import EngineSettings

# Deaths without an answer in between that end the engine. One request that kills every child is found out by the fourth
# (`in_flight.py`): two beside others, two alone.
DEATHS_IN_A_ROW = 5
_REST_S = 2.0  # before the second start in a row, and longer each time: memory may take a moment to come back

_log = logging.getLogger(__name__)


class VllmEngine(Closing):
    """Starts loading at once and in the background; the first use waits until the model is there."""

    child_module = "rlaif.engines.vllm_child"

    def __init__(self, settings: EngineSettings, model: str, *, log_file: Path) -> None:
        require_vllm()
        files = find_model(model, settings)
        self.identity: ModelIdentity = files.identity
        self.num_restarts = 0
        self._log_file = log_file
        self._is_closed = False
        self._turn = 0
        self._deaths_in_a_row = 0
        self._counters: dict[str, float] = {}
        self._earlier: dict[str, float] = {}  # what children that died had last counted
        cpu = is_cpu_build()
        arguments = model_arguments(settings, files, cpu=cpu)
        if cpu:
            arguments["block_size"] = offline_block_tokens(settings)
        self._environment = environment(cpu=cpu, in_process=True)
        kwargs = settings.chat_template_kwargs
        self._first_message = {"type": "start", "arguments": arguments, "cpu": cpu, "chat_template_kwargs": kwargs}
        self._start()

    def _start(self) -> None:
        self._ready: dict[str, Any] | None = None
        self._child = ChildProcess(self.child_module, environ=self._environment, log_file=self._log_file)
        self._child.send(self._first_message)

    @property
    def max_model_len(self) -> int:
        return int(self._opened()["max_model_len"])

    @property
    def pid(self) -> int:
        """The child's process id, which is also that of its process group."""
        return self._child.pid

    def complete(self, requests: Iterable[Request]) -> Iterator[Answer]:
        self._opened()
        self._turn += 1
        flight = InFlight(requests)
        answers: list[Answer]
        try:
            while True:
                try:
                    self._send_what_fits(flight)
                    if not flight.open:
                        return
                    answers = self._answers()
                except ChildDied as death:
                    answers = self._start_again(death, flight)
                for answer in answers:
                    flight.answered(answer.request_id)
                    yield answer
        finally:
            if flight.open:
                self._child.send({"type": "abort", "turn": self._turn})

    def _send_what_fits(self, flight: InFlight) -> None:
        window = int(self._await_ready()["window"])
        while (request := flight.next(window)) is not None:
            message = {"type": "request", "turn": self._turn, "request": request_to_dict(request)}
            if not self._child.send(message):
                return  # it is dead: what it had answered is read first, then its death

    def _answers(self) -> list[Answer]:
        """The next answers of this turn; those to a turn that was given up are dropped."""
        message = self._child.receive("answers")
        if message["turn"] != self._turn:
            return []
        answers = [answer_from_dict(answer) for answer in message["answers"]]
        if any(isinstance(answer, Completion) for answer in answers):
            self._deaths_in_a_row = 0
        return answers

    def _start_again(self, death: ChildDied, flight: InFlight) -> list[Answer]:
        """A new child in the dead one's place, which is asked what had no answer. Returns what is given up instead."""
        self._deaths_in_a_row += 1
        blamed = flight.died()
        if self._deaths_in_a_row >= DEATHS_IN_A_ROW:
            self._is_closed = True
            times = f"vLLM died {self._deaths_in_a_row} times in a row without an answer"
            raise EngineCrashed(self._told(times, death), do=self._advice(death))
        self.num_restarts += 1
        self._earlier, self._counters = self._all_counted(), {}
        _log.warning(
            "vLLM died (%s): %s. It is started again and asked what had no answer; its log is %s",
            *(self.identity.name, death.how, self._log_file),
        )
        time.sleep(_REST_S * (self._deaths_in_a_row - 1))
        self._start()
        if blamed is None:
            return []
        reason = f"vLLM died whenever it worked on this request ({death.how})"
        return [Failure(request_id=blamed.id, kind="failed", reason=reason)]

    def counters(self) -> EngineCounters:
        """vLLM's own totals; after close() or a crash the last ones known."""
        if self._ready is not None and self._child.send({"type": "counters"}):
            with suppress(ChildDied):  # whoever waits for answers finds that out
                self._counters = self._child.receive("counters")["counters"]
        known = self._all_counted()
        computed = known.get("vllm:prompt_tokens_by_source:local_compute")
        return EngineCounters(
            requests=int(known.get("vllm:request_success", 0)),
            prompt_tokens=int(known.get("vllm:prompt_tokens", 0)),
            computed_tokens=None if computed is None else int(computed),
            output_tokens=int(known.get("vllm:generation_tokens", 0)),
            extra=known,
        )

    def _all_counted(self) -> dict[str, float]:
        names = self._earlier | self._counters
        return {name: self._earlier.get(name, 0) + self._counters.get(name, 0) for name in names}

    def close(self) -> None:
        """End the child and its workers, by force if they do not go; may be called again."""
        self._child.close(is_asked=self._ready is not None)
        self._is_closed, self._ready = True, None

    def _opened(self) -> dict[str, Any]:
        """What the child said when it was ready. Raises EngineUnavailable where it could not load the model."""
        if self._is_closed:
            raise EngineCrashed(f"the vLLM engine for {self.identity.name!r} is closed", do="Open a new one.")
        try:
            return self._await_ready()
        except ChildDied as death:
            self._is_closed = True
            raise EngineUnavailable(
                self._told("vLLM could not load the model", death), do=self._advice(death)
            ) from None

    def _await_ready(self) -> dict[str, Any]:
        if self._ready is None:
            self._ready = self._child.receive("ready")
        return self._ready

    def _told(self, what: str, death: ChildDied) -> str:
        lines = last_lines(self._log())
        return f"{what} ({self.identity.name}): {death.how}\nlast lines of {self._log_file}:\n{lines}"

    def _advice(self, death: ChildDied) -> str:
        return advice(f"{death.said or ''}\n{self._log()}", killed=death.is_killed)

    def _log(self) -> str:
        """The end of what this child wrote; the file holds others' words, too."""
        return log_tail(self._log_file, self._child.log_start)
