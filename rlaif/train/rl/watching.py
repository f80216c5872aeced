"""The watch as the learner's observer: every iteration becomes a reading, an alarm an end, and all of it is kept.

    watching = Watching(settings.watch, held_out)       # an Observer of rlaif.train.rl.observing
    watching.write(folder)                              # frontier.json and frontier.png of the run so far

Readings are of the policy as it was when it answered, before anything was learnt from it: reading n belongs to the
weights of checkpoint n, which is what an alarm's `good_until` names.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlaif.train.rl.experience import Experience
from rlaif.train.rl.frontier import points_of, write_frontier
from rlaif.train.rl.held_out import HeldOut
from rlaif.train.rl.observing import End
from rlaif.train.rl.watch import Alarm, Watch, WatchSettings, read


class Watching:
    """Looks on at one run. `alarms` are those noted so far."""

    def __init__(self, settings: WatchSettings, held_out: HeldOut | None = None) -> None:
        self.settings, self.held_out = settings, held_out
        self.watch = Watch(settings, held_out)
        self.alarms: list[Alarm] = []

    def note(self, seen: Experience, figures: Mapping[str, float]) -> tuple[Mapping[str, float], End | None]:
        if self.held_out is not None:
            self.held_out.begin()
        alarm = self.watch.note(
            read(
                seen.iteration,
                rewards=seen.rewards.values,
                kls=seen.kls.numpy(),
                answers=[one.rollout.answer for one in seen.answers],
                entropy=figures["entropy"],
                members=seen.rewards.members,
            )
        )
        found = self.watch.readings[-1].figures()
        if alarm is None:
            return found, None
        self.alarms.append(alarm)
        end = End(f"{alarm.why} (rule {alarm.rule})", alarm.good_until)
        return {**found, f"watch_alarm_{alarm.rule}": 1.0}, end if self.settings.stop else None

    def memory(self) -> dict[str, Any]:
        return {**self.watch.state(), "before": [] if self.held_out is None else self.held_out.before}

    def restore(self, memory: Mapping[str, Any]) -> None:
        self.watch = Watch(self.settings, self.held_out, state=memory)
        if self.held_out is not None:
            self.held_out.before = list(memory["before"])

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """The run's frontier, as JSON and as a picture."""
        return write_frontier(folder / "frontier", {name: points_of(self.watch.readings)})
