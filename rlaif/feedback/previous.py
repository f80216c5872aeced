"""The run as its folder has it from last time: what a plan compares with, to say why something is missing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rlaif.constitution import Constitution, load_constitution
from rlaif.documents import read_yaml, validate
from rlaif.engines.base import ModelIdentity
from rlaif.errors import RlaifError, SettingsError
from rlaif.feedback.keys import answering
from rlaif.feedback.road import Templates
from rlaif.pair_dataset import read_rows
from rlaif.settings import JudgeSettings, PolicySettings, Settings
from rlaif.templates import load_template


@dataclass(frozen=True, slots=True, kw_only=True)
class Previous:
    """A finished run. `policies` are its identities with what was asked of each; `asked_prompts` and `judged_pairs`
    are ids; `others` are the judges beside `judge`."""

    settings: Settings
    constitution: Constitution
    templates: Templates
    judge: ModelIdentity
    policies: tuple[tuple[ModelIdentity, PolicySettings], ...]
    asked_prompts: frozenset[str]
    judged_pairs: frozenset[str]
    others: tuple[ModelIdentity, ...] = ()

    def with_judge(self, identity: ModelIdentity, settings: JudgeSettings) -> "Previous | None":
        """The same run as one of this judge alone; None where it did not judge in this mode."""
        rows = zip(self.settings.judges_in_order(), (*self.others, self.judge), self.templates.judges, strict=True)
        for was, known, template in rows:
            if answering(known) == answering(identity) and was.mode == settings.mode:
                alone = self.settings.model_copy(update={"judge": was})
                templates = replace(self.templates, mode=template, others=())
                return replace(self, settings=alone, judge=known, templates=templates, others=())
        return None

    def is_known(self, identity: ModelIdentity) -> bool:
        """Whether it was one of the judges, in whatever mode."""
        return any(answering(known) == answering(identity) for known in (*self.others, self.judge))

    def policy(self, identity: ModelIdentity) -> PolicySettings | None:
        """What was asked of this model."""
        own = [asked for known, asked in self.policies if answering(known) == answering(identity)]
        return own[0] if own else None


def read_previous(folder: Path) -> Previous | None:
    """The finished run in a folder; None where there is none, or one of a version that saved less."""
    try:
        summary = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        settings = read_settings(folder)
        labels = [
            (row["pair_id"], row["prompt_id"]) for row in read_rows(folder / "labels.parquet", ["pair_id", "prompt_id"])
        ]
        policies = [ModelIdentity(**identity) for identity in summary["policies"]]
        return Previous(
            settings=settings,
            constitution=load_constitution(folder / "constitution.yaml"),
            templates=read_templates(folder),
            judge=ModelIdentity(**summary["judge"]),
            policies=tuple(zip(policies, settings.policies, strict=True)),
            asked_prompts=frozenset(prompt for _, prompt in labels) | _unanswered(summary),
            judged_pairs=frozenset(pair for pair, _ in labels),
            others=tuple(ModelIdentity(**identity) for identity in summary.get("other_judges", ())),
        )
    except (OSError, ValueError, KeyError, TypeError, RlaifError):
        return None  # it serves to give reasons only; without it they are less precise, and the plan is the same


def latest_run(runs: Path) -> Previous | None:
    """The run of a project that finished last: what a run under a new name is compared with."""
    finished = sorted(runs.glob("*/run.json"), key=lambda file: (file.stat().st_mtime_ns, file.parent.name))
    return read_previous(finished[-1].parent) if finished else None


def read_settings(folder: Path) -> Settings:
    """The settings a run saved."""
    return validate(read_yaml(folder / "settings.yaml", SettingsError), Settings, SettingsError)


def read_templates(folder: Path) -> Templates:
    """The templates a run saved."""
    names = [name for name in ("judge", "critique", "mode") if (folder / "templates" / f"{name}.txt").is_file()]
    named = {name: load_template(f"{name}.txt", base=folder / "templates") for name in names}
    num_others = len([*(folder / "templates").glob("other-*.txt")])
    others = [load_template(f"other-{number}.txt", base=folder / "templates") for number in range(num_others)]
    return Templates(**named, others=tuple(others))


def _unanswered(summary: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(one["prompt_id"] for one in summary["unanswered"])
