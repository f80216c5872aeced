"""How fast this machine was: what runs wrote to their `timings.json`, read again for the next plan.

A stage's rate counts only where the same engine settings were used. An entry stays until the stage asks a model again:
a run that found everything in the store measured nothing.
"""

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlaif.feedback.cost import Rates
from rlaif.pair_dataset import write_text
from rlaif.settings import EngineSettings, Settings

FILE = "timings.json"


def engines_of(settings: Settings) -> dict[str, EngineSettings]:
    """Which engine runs which model."""
    judge = {settings.judge.model: settings.judge.engine or settings.engine}
    return {policy.model: policy.engine or settings.engine for policy in settings.policies} | judge


def write_timings(
    folder: Path,
    settings: Settings,
    *,
    seconds: Mapping[str, float],
    asked: Mapping[str, int],
    loading: Mapping[str, float],
) -> None:
    """Keep how long each stage of a run took, beside what earlier ones of this folder did."""
    timings = _read(folder / FILE)
    own = [name for name in seconds if asked.get(name) or name not in timings["seconds"]]
    timings["seconds"] |= {name: seconds[name] for name in own}
    timings["asked"] |= {name: asked.get(name, 0) for name in own}
    timings["loading"] |= loading
    timings["engines"] |= {model: engine.model_dump(mode="json") for model, engine in engines_of(settings).items()}
    write_text(folder / FILE, json.dumps(timings, indent=2) + "\n")


def read_rates(runs: Path, settings: Settings) -> Rates:
    """The rates of the models of `settings` over all runs of a project, under the same engine settings."""
    calls: dict[str, int] = defaultdict(int)
    took: dict[str, float] = defaultdict(float)
    loading: dict[str, float] = {}
    wanted = {model: engine.model_dump(mode="json") for model, engine in engines_of(settings).items()}
    for file in sorted(runs.glob(f"*/{FILE}")):
        timings = _read(file)
        for model in (name for name, engine in wanted.items() if timings["engines"].get(name) == engine):
            for stage in (f"sample {model}", f"judge with {model}", f"critique with {model}"):
                calls[stage] += timings["asked"].get(stage, 0)
                took[stage] += timings["seconds"].get(stage, 0.0)
            if model in timings["loading"]:
                loading[model] = timings["loading"][model]
    return Rates(per_call_s={name: took[name] / count for name, count in calls.items() if count}, loading_s=loading)


def _read(file: Path) -> dict[str, Any]:
    empty: dict[str, Any] = {name: {} for name in ("seconds", "asked", "loading", "engines")}
    try:
        return {**empty, **json.loads(file.read_text(encoding="utf-8"))}
    except (OSError, ValueError):
        return empty  # none yet, or one cut short: rates are then measured again
