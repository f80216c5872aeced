"""A finished run as its folder has it: enough to find in the store what its judge was asked, and what it said.

No model is loaded and no prompt set is read: pairs are those of labels.parquet, and their ids follow from their texts.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rlaif.constitution import Constitution, load_constitution
from rlaif.engines.base import ModelIdentity
from rlaif.feedback.ask import Known, look_up
from rlaif.feedback.judges import Judges, judges_of
from rlaif.feedback.mode import Heard, Mode, Pass, Values
from rlaif.feedback.modes import mode_of
from rlaif.feedback.previous import read_settings, read_templates
from rlaif.feedback.road import Templates
from rlaif.records import Message, Prompt, Response, ResponsePair
from rlaif.settings import ScheduleSettings, Settings


@dataclass(frozen=True)
class FinishedRun:
    """`summary` is run.json, or revisions.json of a run of `rlaif revise`."""

    folder: Path
    settings: Settings
    constitution: Constitution
    templates: Templates
    summary: Mapping[str, Any]

    @cached_property
    def judge(self) -> ModelIdentity:
        return ModelIdentity(**self.summary["judge"])

    @cached_property
    def policies(self) -> tuple[ModelIdentity, ...]:
        """One per policy of the settings, in order."""
        return tuple(ModelIdentity(**identity) for identity in self.summary["policies"])

    @cached_property
    def mode(self) -> Mode:
        template = self.templates.mode or self.templates.judge
        return mode_of(self.settings.judge, self.constitution, template, self.judge)

    @cached_property
    def judges(self) -> Judges:
        """All judges, before pairs that are known to have been compared."""
        others = [ModelIdentity(**identity) for identity in self.summary.get("other_judges", ())]
        as_compared = self.settings.model_copy(update={"schedule": ScheduleSettings()})
        return judges_of(as_compared, self.constitution, [*others, self.judge], self.templates.judges)

    def heard(self, pairs: Sequence[ResponsePair], known: Known) -> Heard:
        """What the judge said about these pairs, as far as the store still has it."""
        passes, values = walk(self.mode, pairs, known)
        return self.mode.hear(passes, values)


def read_finished(folder: Path) -> FinishedRun:
    """The run of a folder that has its summary, which is written last."""
    complete = next(folder / name for name in ("run.json", "revisions.json") if (folder / name).is_file())
    return FinishedRun(
        folder=folder,
        settings=read_settings(folder),
        constitution=load_constitution(folder / "constitution.yaml"),
        templates=read_templates(folder),
        summary=json.loads(complete.read_text(encoding="utf-8")),
    )


def walk(mode: Mode, pairs: Sequence[ResponsePair], known: Known) -> tuple[list[Pass], list[Values]]:
    """Every pass over these pairs as a run makes it, with the answers that are known."""
    passes: list[Pass] = []
    values: list[Values] = []
    for _ in mode.stages:
        passes.append(mode.plan_pass(pairs, values))
        values.append(look_up(passes[-1].asking, known).values)
    return passes, values


def pair_of_row(row: Mapping[str, Any]) -> ResponsePair:
    """The pair of a row of labels.parquet, as it was judged; its ids follow from its texts."""
    messages = tuple(Message(one["role"], one["content"]) for one in row["prompt"])
    prompt = Prompt(messages=messages, tags=frozenset(row["tags"]))
    x, y = (bare_response(prompt.id, row[f"response_{n}"], row.get(f"policy_{n}") or "") for n in ("x", "y"))
    return ResponsePair(prompt, x, y)


def bare_response(prompt_id: str, text: str, policy: str = "") -> Response:
    """A response of which nothing is known but its text."""
    return Response(
        prompt_id=prompt_id,
        text=text,
        policy=policy,
        sample_index=0,
        finish_reason="stop",
        prompt_tokens=0,
        output_tokens=0,
    )
