"""How fast this machine was: what runs wrote to their `timings.json`, read again for the next plan.

A stage's rate counts only where the same engine settings were used. An entry stays until the stage asks a model again:
a run that found everything in the store measured nothing.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlaif.feedback.cost import Rate, Rates, effort
from rlaif.feedback.progress import Work
from rlaif.pair_dataset import write_text
from rlaif.settings import EngineSettings, JudgeSettings, PolicySettings, Settings

FILE = "timings.json"
_SHARES = 0.98  # an engine that computes a larger part of what it reads does not keep what prompts share


@dataclass(frozen=True, slots=True)
class Timed:
    """A stage's work and how long it took, loading left out."""

    seconds: float
    work: Work


def engines_of(settings: Settings) -> dict[str, EngineSettings]:
    """Which engine runs which model."""
    models: tuple[PolicySettings | JudgeSettings, ...] = (*settings.policies, *settings.judges_in_order())
    own = {one.model: one.engine or settings.engine for one in models}
    writer = settings.revision.model
    return own if writer is None else {writer: settings.revision.engine or settings.engine} | own


def write_timings(
    folder: Path, settings: Settings, *, stages: Mapping[str, Timed], loading: Mapping[str, float]
) -> None:
    """Keep how long the stages of a run took that asked a model, beside what earlier runs in this folder did."""
    timings = _read(folder / FILE)
    timings["stages"] |= {name: {"seconds": one.seconds, **asdict(one.work)} for name, one in stages.items()}
    timings["loading"] |= loading
    timings["engines"] |= {model: engine.model_dump(mode="json") for model, engine in engines_of(settings).items()}
    write_text(folder / FILE, json.dumps(timings, indent=2) + "\n")


def read_rates(runs: Path, settings: Settings) -> Rates:
    """The rates of the models of `settings` over all runs of a project, under the same engine settings."""
    timed: dict[str, list[Timed]] = {}
    loading: dict[str, float] = {}
    wanted = {model: engine.model_dump(mode="json") for model, engine in engines_of(settings).items()}
    for file in sorted(runs.glob(f"*/{FILE}")):
        timings = _read(file)
        for model in (name for name, engine in wanted.items() if timings["engines"].get(name) == engine):
            for stage in stages_of(model, settings):
                if stage in timings["stages"]:
                    timed.setdefault(stage, []).append(_timed(timings["stages"][stage]))
            if model in timings["loading"]:
                loading[model] = timings["loading"][model]
    return Rates(by_stage={name: rate_of(own) for name, own in timed.items()}, loading_s=loading)


def stages_of(model: str, settings: Settings) -> list[str]:
    """What a model may be asked, by the names the stages report themselves with."""
    rounds = range(1, settings.revision.rounds + 1)
    written = [f"{what} with {model}, round {number}" for number in rounds for what in ("criticise", "revise")]
    judged = [f"{what} with {model}" for what in ("reason", "judge", "score", "critique")]
    return [f"sample {model}", *judged, *written]


def rate_of(timed: Sequence[Timed]) -> Rate:
    """The rate of all measurements together: long ones weigh more."""
    work = [one.work for one in timed]
    read, computed = sum(one.prompt_tokens for one in work), [one.computed_tokens for one in work]
    reads_once = None not in computed and sum(filter(None, computed)) < _SHARES * read
    efforts = [
        effort(one.calls, (one.computed_tokens or 0) if reads_once else one.prompt_tokens, one.output_tokens)
        for one in work
    ]
    return Rate(sum(one.seconds for one in timed) / sum(efforts), reads_once)


def _timed(entry: Mapping[str, Any]) -> Timed:
    work = {name: entry[name] for name in ("calls", "prompt_tokens", "computed_tokens", "output_tokens")}
    return Timed(entry["seconds"], Work(**work))


def _read(file: Path) -> dict[str, Any]:
    empty: dict[str, Any] = {name: {} for name in ("stages", "loading", "engines")}
    try:
        return {**empty, **json.loads(file.read_text(encoding="utf-8"))}
    except (OSError, ValueError):
        return empty  # none yet, or one cut short: rates are then measured again
