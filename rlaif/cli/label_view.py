"""How blind labelling's figures look on a terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rlaif.numbers.figures import Estimate, Figure

if TYPE_CHECKING:
    from rich.console import RenderableType

    from rlaif.labels.blind.estimate import Estimates
    from rlaif.labels.blind.summary import Sat


def figure_text(figure: Figure) -> str:
    """`0.93 [0.80, 0.98] n=30`, or a dash."""
    if not isinstance(figure, Estimate):
        return "–"
    ends = "" if figure.low is None or figure.high is None else f" [{figure.low:.2f}, {figure.high:.2f}]"
    return f"{figure.value:.2f}{ends} n={figure.n:,}"


def sittings_view(found: Sequence["Sat"]) -> str:
    """Some lines for each rater."""
    lines = []
    for one in found:
        took = "" if one.seconds is None else f"; {one.seconds[1]:.1f} s each (80 % within {one.seconds[0]:.1f} to "
        took += "" if one.seconds is None else f"{one.seconds[2]:.1f})"
        lines.append(
            f"{one.rater}: {one.labels:,} labels, {one.skipped:,} skipped, {one.taken_back:,} taken back{took}"
        )
        lines += [f"  {name:<24}{figure_text(figure)}" for name, figure in _figures(one) if figure.n]
        if one.damaged:
            lines.append(f"  note: {one.damaged:,} damaged lines in the journal, not counted")
    return "\n".join(lines)


def _figures(one: "Sat") -> tuple[tuple[str, Figure], ...]:
    return (
        ("same answer twice", one.consistent),
        ("known answers right", one.right),
        ("voted for the one first", one.first_shown),
    )


def estimates_view(found: "Estimates") -> "RenderableType":
    """A row for each mean, the weighted ones beside the one that is not."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("share")
    for name in ("prompts like these", f"these {found.population:,} pairs", "not weighted"):
        table.add_column(name, justify="right")
    for name, one in found.means.items():
        table.add_row(name.replace("_", " "), *map(figure_text, (one.beyond, one.of_all, one.as_drawn)))
    line = f"{found.labelled:,} of {found.drawn:,} pairs drawn are labelled, of {found.population:,} in all"
    return Group(Text(line), table)
