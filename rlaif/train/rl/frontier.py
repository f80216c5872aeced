"""What reward, and what held-out score, a training reached at which distance from its reference: as JSON and PNG.

    write_frontier(folder / "frontier", {"ppo": points_of(watch.readings)})      # frontier.json, frontier.png

One reward means nothing without its KL: any policy rates higher when it may go further. So runs are compared as curves
over KL(π ‖ π_ref) per answer, several to a picture. Where the reward still climbs and the held-out score falls, the
policy is learning the reward's mistakes (Gao et al., arXiv:2210.10760, figure 1). Which run is better at a KL is read
from the envelopes: the best value that was reached at that distance or nearer.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

from rlaif.errors import EngineUnavailable
from rlaif.pair_dataset import write_text
from rlaif.train.rl.readings import Reading

What = Literal["reward", "held_out"]
_NAMES: dict[What, str] = {"reward": "reward", "held_out": "held-out score"}


@dataclass(frozen=True, slots=True)
class Point:
    """A policy on its way: KL to the reference in nats per answer, its mean reward, and the judge's score of it."""

    step: int
    kl: float
    reward: float
    held_out: float | None = None


def points_of(readings: Sequence[Reading]) -> list[Point]:
    """A run's readings as points."""
    return [Point(one.step, one.kl, one.reward, one.held_out) for one in readings]


def envelope(points: Sequence[Point], what: What) -> list[Point]:
    """The points that no other one beats with at most their KL, by KL: the best that was reached up to each distance.
    Of equal ones the earliest."""
    found: list[Point] = []
    for one in sorted((p for p in points if getattr(p, what) is not None), key=lambda p: (p.kl, -getattr(p, what))):
        if not found or getattr(one, what) > getattr(found[-1], what):
            found.append(one)
    return found


def as_json(series: Mapping[str, Sequence[Point]]) -> dict[str, Any]:
    """Every run's points and envelopes (as steps)."""
    return {
        name: {
            "points": [asdict(one) for one in points],
            "best_steps": {what: [one.step for one in envelope(points, what)] for what in _NAMES},
        }
        for name, points in series.items()
    }


def write_frontier(place: Path, series: Mapping[str, Sequence[Point]], *, title: str = "") -> tuple[Path, Path]:
    """Write `place`.json and `place`.png; both paths."""
    data, picture = place.with_suffix(".json"), place.with_suffix(".png")
    write_text(data, json.dumps(as_json(series), indent=1) + "\n")
    drawn = BytesIO()
    draw(series, title).savefig(drawn, format="png", dpi=120, metadata={"Software": None})
    partial = picture.with_name(f".{picture.name}.partial")
    partial.write_bytes(drawn.getvalue())
    partial.replace(picture)
    return data, picture


def draw(series: Mapping[str, Sequence[Point]], title: str = "") -> Any:
    """The picture: a panel for the reward and, where there are scores, one for them. Lines follow the training, dots
    are the envelope, a cross marks the last step."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise EngineUnavailable("drawing needs matplotlib.", do="pip install 'rlaif[train]'") from error
    is_judged = any(one.held_out is not None for points in series.values() for one in points)
    panels: list[What] = ["reward", "held_out"] if is_judged else ["reward"]
    figure = Figure(figsize=(5.2 * len(panels), 4.0), layout="constrained")
    for axes, what in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for name, points in series.items():
            way = [one for one in points if getattr(one, what) is not None]
            best = envelope(points, what)
            (line,) = axes.plot([p.kl for p in way], [getattr(p, what) for p in way], lw=0.8, alpha=0.5)
            axes.plot([p.kl for p in best], [getattr(p, what) for p in best], "o", ms=3, color=line.get_color())
            if way:
                axes.plot(way[-1].kl, getattr(way[-1], what), "x", ms=8, color=line.get_color(), label=name)
        axes.set(xlabel="KL(policy ‖ reference), nats per answer", ylabel=_NAMES[what])
        axes.grid(alpha=0.3)
    if len(series) > 1:
        figure.axes[0].legend()
    if title:
        figure.suptitle(title)
    return figure
