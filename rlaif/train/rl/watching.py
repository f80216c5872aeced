"""The watch as the learner's observer: every iteration becomes a reading, an alarm an end, and all of it is kept.

    watching = Watching(settings.watch, held_out, folder=training, say=print)   # an Observer (rlaif.train.rl.observing)
    watching.write(output, "ppo")                       # frontier.json and frontier.png of the run so far

Readings are of the policy as it was when it answered, before anything was learnt from it: reading n belongs to the
weights of checkpoint n, which is what an alarm's `good_until` names. The first alarm of every rule is a line of
`alarms.jsonl` in the folder, whether it ends the run or not; how often it went on, metrics.jsonl says.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rlaif.pair_dataset import write_text
from rlaif.train.rl.experience import Experience
from rlaif.train.rl.frontier import points_of, write_frontier
from rlaif.train.rl.held_out import HeldOut
from rlaif.train.rl.observing import End, Keep
from rlaif.train.rl.readings import read
from rlaif.train.rl.watch import Alarm, Watch, WatchSettings

FILE = "alarms.jsonl"


class Watching:
    """Looks on at one run. `alarms` are the first ones of each rule. Without a folder they are not written: of several
    processes one writes."""

    def __init__(
        self,
        settings: WatchSettings,
        held_out: HeldOut | None = None,
        *,
        folder: Path | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.settings, self.held_out, self.folder, self.say = settings, held_out, folder, say
        self.watch = Watch(settings, held_out)
        self.alarms: list[Alarm] = []

    def note(self, seen: Experience, figures: Mapping[str, float]) -> tuple[Mapping[str, float], End | Keep | None]:
        if not self.watch.readings:
            self._write_alarms()  # a run that died before its first checkpoint may have left some
        if self.held_out is not None:
            self.held_out.begin()
        alarms = self.watch.note(
            read(
                seen.iteration,
                rewards=seen.rewards.values,
                kls=seen.kls.numpy(),
                answers=[one.rollout.answer for one in seen.answers],
                entropy=figures["entropy"],
                members=seen.rewards.members,
            )
        )
        self._remember(alarms)
        found = {**self.watch.readings[-1].figures(), **{f"watch_alarm_{one.rule}": 1.0 for one in alarms}}
        if alarms and self.settings.stop:
            return found, End(f"{alarms[0].why} (rule {alarms[0].rule})", alarms[0].good_until)
        return found, Keep() if self.watch.is_best else None

    def memory(self) -> dict[str, Any]:
        before = [] if self.held_out is None else self.held_out.before
        return {**self.watch.state(), "before": before, "alarms": [asdict(one) for one in self.alarms]}

    def restore(self, memory: Mapping[str, Any]) -> None:
        self.watch = Watch(self.settings, self.held_out, state=memory)
        self.alarms = [Alarm(**one) for one in memory["alarms"]]
        self._write_alarms()
        if self.held_out is not None:
            self.held_out.before = list(memory["before"])

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """The run's frontier, as JSON and as a picture."""
        return write_frontier(folder / "frontier", {name: points_of(self.watch.readings)})

    def _remember(self, alarms: list[Alarm]) -> None:
        known = {one.rule for one in self.alarms}
        new = [one for one in alarms if one.rule not in known]
        self.alarms += new
        if new:
            self._write_alarms()
        if not self.settings.stop:
            for one in new:
                self.say(f"The watch, at iteration {one.step} ({one.rule}, good until {one.good_until}): {one.why}")

    def _write_alarms(self) -> None:
        if self.folder is None:
            return
        if self.alarms:
            write_text(self.folder / FILE, "".join(json.dumps(asdict(one)) + "\n" for one in self.alarms))
        else:
            (self.folder / FILE).unlink(missing_ok=True)
