"""OpenAI-compatible servers as an engine: one or many, vLLM's or another's.

An event loop in a thread of its own keeps every server's connections busy; requests are handed over as they are
consumed, answers come back in the order they arrive. A server that dies, stalls, is busy, cuts the connection or talks
nonsense costs a request another try elsewhere. One that is started again is used again. When no server has been there
for a minute, the engine ends with an error, and everything answered so far has been given.
"""

import asyncio
import logging
import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial

from rlaif.engines.base import Answer, Closing, Completion, EngineCounters, Failure, ModelIdentity, Request
from rlaif.engines.http_client import Again, Client
from rlaif.engines.http_dispatch import Dispatcher, Item, Place
from rlaif.engines.http_identity import served_identity
from rlaif.engines.http_server import find_servers, headers, served_context
from rlaif.errors import EngineCrashed
from rlaif.settings import EngineSettings

_AHEAD = 2  # requests handed over for each one that can be in flight
PATIENCE_S = 60.0  # how long no server at all may listen: enough for one to be started again

_log = logging.getLogger(__name__)


class HttpEngine(Closing):
    """Looks at the servers when made, and raises EngineUnavailable when none can be used."""

    def __init__(self, settings: EngineSettings, model: str) -> None:
        self._served, self.trouble = find_servers(settings, model)
        for trouble in self.trouble:
            _log.warning("%s: this run does without it", trouble)
        self.identity: ModelIdentity = served_identity(self._served, settings)
        self.max_model_len = served_context(self._served, settings)
        self._settings = settings
        self._dispatcher = Dispatcher(len(self._served), concurrency=settings.concurrency, retries=settings.retries)
        self._answers: queue.SimpleQueue[tuple[int, Answer | BaseException]] = queue.SimpleQueue()
        self._counted = EngineCounters(computed_tokens=0)
        self._turn = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._alarm: asyncio.TimerHandle | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="rlaif-http")
        self._thread.start()
        self._clients = [Client(served, settings, headers(settings)) for served in self._served]

    def complete(self, requests: Iterable[Request]) -> Iterator[Answer]:
        self._turn += 1
        turn, source = self._turn, iter(requests)
        window = _AHEAD * self._settings.concurrency * len(self._served)
        num_open, is_exhausted = 0, False
        try:
            while True:
                while num_open < window and not is_exhausted:
                    request = next(source, None)
                    is_exhausted = request is None
                    if request is not None:
                        num_open += 1
                        self._loop.call_soon_threadsafe(self._take, request)
                if not num_open:
                    return
                of_turn, answer = self._answers.get()
                if of_turn != turn:
                    continue  # an answer to a turn that was given up
                if isinstance(answer, BaseException):
                    raise answer
                num_open -= 1
                self._count(answer)
                yield answer
        finally:
            if num_open:
                self._loop.call_soon_threadsafe(self._forget)

    def counters(self) -> EngineCounters:
        return self._counted

    def close(self) -> None:
        """End what is in flight and the thread; may be called again."""
        if not self._thread.is_alive():
            return
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # What follows runs in the loop's thread.

    def _take(self, request: Request) -> None:
        self._dispatcher.add(request)
        self._dispatch()

    def _dispatch(self) -> None:
        """Send all that can be sent now, and set the clock for what must wait."""
        now = self._loop.time()
        while (sent := self._dispatcher.next(now)) is not None:
            task = self._loop.create_task(self._attempt(*sent, self._turn))
            self._tasks.add(task)
            task.add_done_callback(partial(self._done, self._turn))
        if self._alarm is not None:
            self._alarm.cancel()
        wake = self._dispatcher.wake_at(now)
        self._alarm = None if wake is None else self._loop.call_at(wake, self._dispatch)

    async def _attempt(self, place: Place, item: Item, turn: int) -> None:
        answer = await self._clients[place.number].ask(item.request)
        if isinstance(answer, Again):
            self._again(place, item, answer, turn)
        else:
            if place.down_since is not None:
                _log.warning("%s answers again", self._served[place.number].base_url)
            self._dispatcher.answered(place)
            self._answers.put((turn, answer))
        self._dispatch()

    def _done(self, turn: int, task: asyncio.Task[None]) -> None:
        """A task that failed, by an error of the engine or by a fault of ours, ends the turn with that error."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._answers.put((turn, error))

    def _again(self, place: Place, item: Item, why: Again, turn: int) -> None:
        now, was_down = self._loop.time(), place.down_since is not None
        is_kept = self._dispatcher.failed(
            place, item, now, after_s=why.after_s, is_down=why.is_down, is_busy=why.is_busy
        )
        gone_since = self._dispatcher.all_down_since()
        if why.is_down and not was_down:
            then = "others are asked" if gone_since is None else f"waiting up to {PATIENCE_S:g} s for it to come back"
            _log.warning("%s: %s", why.reason, then)
        if gone_since is not None and now - gone_since >= PATIENCE_S:
            self._answers.put((turn, self._gone(why)))
        elif not is_kept:
            reason = f"{why.reason} (tried {item.tries} times)"
            self._answers.put((turn, Failure(request_id=item.request.id, kind="failed", reason=reason)))

    def _gone(self, why: Again) -> EngineCrashed:
        return EngineCrashed(
            f"no server has answered for {PATIENCE_S:g} s: {why.reason}",
            do=f"Start it again (`rlaif serve {self.identity.name}`) and run the same command to go on.",
        )

    def _forget(self) -> None:
        self._dispatcher.clear()
        for task in self._tasks:
            task.cancel()
        for place in self._dispatcher.places:
            place.open = 0

    async def _end(self) -> None:
        self._forget()
        if self._alarm is not None:
            self._alarm.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(client.close() for client in self._clients))

    def _count(self, answer: Answer) -> None:
        before = self._counted
        is_answer = isinstance(answer, Completion)
        cached = answer.cached_tokens if isinstance(answer, Completion) else 0
        knows = before.computed_tokens is not None and cached is not None
        self._counted = replace(
            before,
            requests=before.requests + 1,
            prompt_tokens=before.prompt_tokens + (answer.prompt_tokens if is_answer else 0),
            computed_tokens=(before.computed_tokens or 0) + answer.prompt_tokens - (cached or 0) if knows else None,
            output_tokens=before.output_tokens + (answer.output_tokens if isinstance(answer, Completion) else 0),
        )
