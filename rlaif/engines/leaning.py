"""A scripted judge with biases of known size: what a measurement of biases has to find again.

    ScriptedEngine(rules=[leaning(Bias(position=0.5, length=0.3), worth=drawn_worth(1.5))])

Its log-odds for the answer shown first are the difference of the two answers' worths and what `Bias` adds to it. The
same sum is computed for texts, one request at a time, and for arrays of differences, so that a simulation of a million
verdicts plants the same biases as the engine does.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from rlaif.engines.base import Request
from rlaif.engines.scripted import Rule, shown_answers
from rlaif.identity import digest
from rlaif.numbers.pooling import sigmoid
from rlaif.style import style_of

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bias:
    """Log-odds that something beside the answers' worth is worth. Styles are in the units of `rlaif/style.py`:
    `length` per doubling, `verbosity` from no word said twice to all, `markdown` and `lists` per doubling of their
    marks. `position` is what the first place is worth, `own` what being an answer of the judge's own family is."""

    position: float = 0.0
    length: float = 0.0
    verbosity: float = 0.0
    markdown: float = 0.0
    lists: float = 0.0
    own: float = 0.0

    def log_odds(self, difference: Mapping[str, Any]) -> Any:
        """For the answer shown first, by its styles less those of the second: numbers, or arrays of any one shape."""
        return self.position + sum(getattr(self, name) * value for name, value in difference.items())


def leaning(
    bias: Bias,
    *,
    worth: Callable[[str], float] = lambda _text: 0.0,
    is_own: Callable[[str], bool] = lambda _text: False,
) -> Rule:
    """A judge's rule for requests with two choices whose text shows both answers, as the judge's template does."""

    def rule(request: Request) -> Sequence[float] | None:
        shown = shown_answers(request)
        if shown is None or len(request.choices) != 2:
            return None
        first, second = ({**style_of(text), "own": float(is_own(text))} for text in shown)
        difference = {name: first[name] - second[name] for name in first}
        odds = worth(shown[0]) - worth(shown[1]) + bias.log_odds(difference)
        return (sigmoid(odds), sigmoid(-odds))

    return rule


def drawn_worth(spread: float) -> Callable[[str], float]:
    """Worths in log-odds that follow from the texts alone, normal with this standard deviation."""

    def worth(text: str) -> float:
        share = (int(digest({"worth": text})[:13], 16) + 0.5) / 16**13
        return spread * _NORMAL.inv_cdf(share)

    return worth
