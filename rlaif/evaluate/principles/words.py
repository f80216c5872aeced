"""Figures as a person reads them in a sentence."""

from rlaif.numbers.figures import Estimate, Figure


def points(figure: Figure) -> str:
    """A change of agreement: `+1.2 points [+0.3, +2.1]`."""
    if not isinstance(figure, Estimate):
        return f"not defined, because {figure.because}"
    ends = "" if figure.low is None or figure.high is None else f" [{100 * figure.low:+.1f}, {100 * figure.high:+.1f}]"
    return f"{100 * figure.value:+.1f} points{ends}"


def percent(figure: Figure) -> str:
    return f"{figure.value:.0%}" if isinstance(figure, Estimate) else "–"
