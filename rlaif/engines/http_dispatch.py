"""Who is asked what, and when again: the part of the HTTP engine that decides. No network, no threads, no clock.

Servers pull work: one with a free place takes the next group of requests that share a long prefix, so that what they
share is read by one server's cache only, and a slow server simply takes fewer groups. A request that got no answer is
tried again, elsewhere where there is an elsewhere; a server that is down or busy rests before it is asked anything. One
that is down is asked again and again: somebody may be starting it. How long, its caller decides (`all_down_since`).
"""

from collections import deque
from dataclasses import dataclass, field

from rlaif.engines.base import Request
from rlaif.engines.order import shared_share

_SHARED = 0.5  # share of a request's text it must have in common with the one before to stay with it
BACKOFF_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
_KNOCKS_APART = 4  # a server that is down is tried every 4 s at the least: a refused connection costs nothing


@dataclass(slots=True, eq=False)
class Item:
    """A request on its way. `avoid` is the server that failed it last."""

    request: Request
    tries: int = 0
    avoid: int | None = None
    due: float = 0.0


@dataclass(slots=True, eq=False)
class Group:
    """Requests that share a long prefix, in the order they came. `size` counts those already sent, too."""

    last: Request
    items: deque[Item] = field(default_factory=deque)
    size: int = 0

    def add(self, request: Request) -> None:
        self.last = request
        self.size += 1
        self.items.append(Item(request))


@dataclass(slots=True, eq=False)
class Place:
    """A server as the dispatcher sees it. `limit` shrinks when it says it is busy and grows back with every answer.

    `down_since` is when nobody listened for the first time since its last answer, and `knocks` counts such times. While
    it is down, one request at a time is tried on it.
    """

    number: int
    concurrency: int
    limit: float = 0.0
    open: int = 0
    rests_until: float = 0.0
    knocks: int = 0
    down_since: float | None = None
    groups: list[Group] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.limit = float(self.concurrency)

    def is_free(self, now: float) -> bool:
        limit = int(self.limit) if self.down_since is None else 1
        return self.open < limit and now >= self.rests_until


class Dispatcher:
    """Holds what is to be asked; `now` is handed in by whoever has a clock."""

    def __init__(self, num_servers: int, *, concurrency: int, retries: int) -> None:
        self.places = [Place(number, concurrency) for number in range(num_servers)]
        self._retries = retries
        self._limit = concurrency  # of a group: the last one keeps no server busy for long while others idle
        self._waiting: deque[Group] = deque()
        self._last: Group | None = None
        self._again: list[Item] = []

    def add(self, request: Request) -> None:
        last = self._last
        if last is None or last.size >= self._limit or shared_share(last.last, request) < _SHARED:
            self._last = last = Group(request)
            self._waiting.append(last)
        last.add(request)

    def clear(self) -> None:
        """Forget everything that has not been sent."""
        self._waiting.clear()
        self._again.clear()
        self._last = None
        for place in self.places:
            place.groups.clear()

    def next(self, now: float) -> tuple[Place, Item] | None:
        """A free server and what to ask it; None when nothing can be sent now."""
        for place in sorted(self.places, key=lambda place: place.open):
            if place.is_free(now) and (item := self._pick(place, now)) is not None:
                place.open += 1
                return place, item
        return None

    def wake_at(self, now: float) -> float | None:
        """When something that waits for time alone may go on; None when nothing does."""
        times = [item.due for item in self._again] + [place.rests_until for place in self.places if self._has(place)]
        later = [time for time in times if time > now]
        return min(later, default=None)

    def answered(self, place: Place) -> None:
        place.open -= 1
        place.knocks, place.down_since = 0, None
        place.limit = min(float(place.concurrency), place.limit + 1 / max(1.0, place.limit))

    def failed(
        self, place: Place, item: Item, now: float, *, after_s: float | None, is_down: bool, is_busy: bool
    ) -> bool:
        """Note a try without an answer; False when this request has been tried as often as allowed."""
        place.open -= 1
        item.avoid = place.number
        if is_down:  # the request reached nobody: that was no try, and may be repeated for as long as one is patient
            self._rest_down(place, now)
            item.due = now
            self._again.append(item)
            return True
        item.tries += 1
        wait = backoff(item.tries) if after_s is None else after_s
        if is_busy:
            place.limit = max(1.0, place.limit / 2)
            place.rests_until = max(place.rests_until, now + wait)
            self._give_back(place)
        if item.tries > self._retries:
            return False
        item.due = now if len(self.places) > 1 and item.tries == 1 else now + wait
        self._again.append(item)
        return True

    def all_down_since(self) -> float | None:
        """When the last server went; None while one is up."""
        since = [place.down_since for place in self.places if place.down_since is not None]
        return max(since) if len(since) == len(self.places) else None

    def _rest_down(self, place: Place, now: float) -> None:
        if place.down_since is None:
            place.down_since = now
        if now >= place.rests_until:  # else it rests already: many connections were refused at once
            place.knocks += 1
            place.rests_until = now + backoff(min(place.knocks, _KNOCKS_APART))
        self._give_back(place)

    def _has(self, place: Place) -> bool:
        return bool(self._again or any(group.items for group in (*place.groups, *self._waiting)))

    def _pick(self, place: Place, now: float) -> Item | None:
        for item in self._again:
            if item.due <= now and (item.avoid != place.number or self._is_alone(place, now)):
                self._again.remove(item)
                return item
        group = self._group(place)
        return group.items.popleft() if group else None

    def _is_alone(self, place: Place, now: float) -> bool:
        """True when no other server could take what this one failed."""
        return all(other is place or now < other.rests_until for other in self.places)

    def _give_back(self, place: Place) -> None:
        """What this server had not begun goes to the others."""
        if self._last in place.groups:
            self._last = None  # nobody owns it any more: what comes next begins a new group
        self._waiting.extendleft(group for group in reversed(place.groups) if group.items)
        place.groups.clear()

    def _group(self, place: Place) -> Group | None:
        """A group with something left to send: one this server has begun, or the next that nobody has."""
        place.groups = [group for group in place.groups if group.items or group is self._last]
        begun = next((group for group in place.groups if group.items), None)
        if begun is None and self._waiting:
            begun = self._waiting.popleft()
            place.groups.append(begun)
        return begun if begun and begun.items else None


def backoff(tries: int) -> float:
    """Seconds to wait after that many failures."""
    return BACKOFF_S[min(tries, len(BACKOFF_S)) - 1]
