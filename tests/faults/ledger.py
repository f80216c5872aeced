"""A file that processes append what they did to, one short line each, so that it survives whichever is killed.

    driver 4711 asked 3f…      a request was handed to the engine
    driver 4711 kept 3f…       its answer came back and was dealt with
    child 4712 got 3f…         a model's process received it
    child 4712 gave 3f…        and handed its answer over

Standard library only: it is imported by processes that must start at once.
"""

import os
from collections import Counter, defaultdict
from pathlib import Path


class Ledger:
    def __init__(self, path, who):
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._who = f"{who} {os.getpid()}"

    def note(self, event, what="-"):
        os.write(self._file, f"{self._who} {event} {what}\n".encode())


class Reader:
    """(who, process, event, what) of every line so far; only what is new is read."""

    def __init__(self, path):
        self.path, self._lines, self._offset = Path(path), [], 0

    def lines(self):
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._offset)
                fresh = file.read().rpartition(b"\n")[0]
            self._offset += len(fresh) + bool(fresh)
            self._lines += [tuple(line.split()) for line in fresh.decode().splitlines()]
        return self._lines


def events(path):
    return Reader(path).lines()


def left_open(lines, who, first, last):
    """What each process of `who` had begun (`first`) and not ended (`last`), by process and in order of beginning."""
    found = defaultdict(dict)
    for name, process, event, what in lines:
        if name == who and event == first:
            found[process][what] = True
        elif name == who and event == last:
            found[process].pop(what, None)
    return {process: list(open_) for process, open_ in found.items()}


SPANS = {"driver": ("asked", "kept"), "child": ("got", "gave"), "server": ("got", "gave")}


def check_asked_twice(lines, who, dead):
    """Nothing is begun again unless a process died in the middle of it. Returns how many were begun again.

    Each time a thing is begun beyond the first must be paid for by the death of a process that had it open.
    """
    first, _ = SPANS[who]
    begun = Counter(what for name, _, event, what in lines if name == who and event == first)
    excused = Counter()
    for name, span in SPANS.items():
        open_at_death = left_open(lines, name, *span)
        excused.update(what for process in dead for what in open_at_death.get(str(process), ()))
    for what, times in begun.items():
        assert times <= 1 + excused[what], f"{what} was asked {times} times, and lost {excused[what]} times"
    return sum(times - 1 for times in begun.values())
