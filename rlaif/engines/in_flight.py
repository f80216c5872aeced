"""The requests of one turn that an engine's child is working on, and what is asked again when the child dies.

Whatever had no answer is asked again, nothing else. One request can be the cause of death, though, and would kill every
child there is: what was under way at two deaths is asked alone from then on, and a request whose child dies twice while
it has nothing else to do is given up as failed. So one bad request costs itself and not the run.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator

from rlaif.engines.base import Request

SUSPECT_AFTER = 2  # deaths it was under way at, before a request is asked alone
GIVEN_UP_AFTER = 2  # deaths while it was alone


class InFlight:
    """`open` holds what was sent and has no answer, by id; ids differ within a turn."""

    def __init__(self, requests: Iterable[Request]) -> None:
        self.open: dict[str, Request] = {}
        self._source: Iterator[Request] = iter(requests)
        self._again: deque[Request] = deque()
        self._deaths: Counter[str] = Counter()
        self._deaths_alone: Counter[str] = Counter()
        self._is_alone = False  # what is open is a suspect, and nothing else may be sent

    def next(self, window: int) -> Request | None:
        """What to send now: first what a death left without an answer. None when nothing more may be under way."""
        if self._is_alone or len(self.open) >= window:
            return None
        request = self._again.popleft() if self._again else next(self._source, None)
        if request is not None:
            assert request.id not in self.open, f"two requests of one turn have the id {request.id}"
            self._is_alone = self._deaths[request.id] >= SUSPECT_AFTER
            assert not (self._is_alone and self.open), "those with most deaths come first"
            self.open[request.id] = request
        return request

    def answered(self, request_id: str) -> None:
        self.open.pop(request_id, None)  # one that was given up is not open any more
        self._is_alone = False

    def died(self) -> Request | None:
        """The child is gone: take back what it was working on. Returns the request to give up, if it is to blame."""
        lost = list(self.open.values())
        was_alone, self._is_alone = self._is_alone, False
        self.open.clear()
        self._deaths.update(request.id for request in lost)
        if was_alone:
            self._deaths_alone[lost[0].id] += 1
            if self._deaths_alone[lost[0].id] >= GIVEN_UP_AFTER:
                return lost[0]
        self._again.extendleft(reversed(lost))
        return None
