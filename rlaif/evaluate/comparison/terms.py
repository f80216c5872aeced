"""How votes are counted: the few choices that a figure depends on. They stand in every report."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from rlaif.errors import InputError
from rlaif.numbers.choices import Ties

Skipped = Literal["drop", "tie"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """`ties`: an answer of its own (`class`), half a vote for each side (`half`), or left out (`drop`).

    `tie_width`: a probability this near to 1/2 is a tie; at 0, only 1/2 itself. `skipped`: a vote that names nothing is
    left out (`drop`), or counts as a tie, as some published figures have it. `epsilon`: how much worse than a person a
    judge may be for its lower price, in the alternative-annotator test (0.2 against experts, 0.1 against a crowd).
    """

    ties: Ties = "class"
    tie_width: float = 0.0
    skipped: Skipped = "drop"
    epsilon: float = 0.2
    num_resamples: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 <= self.tie_width < 0.5:
            raise InputError(f"a tie width of {self.tie_width}.", do="It lies between 0 and 0.5; usual is 0 or 0.05.")
        if not 0.0 <= self.epsilon < 1.0:
            raise InputError(f"an epsilon of {self.epsilon}.", do="It lies between 0 and 1; usual are 0.1 to 0.2.")
        if self.num_resamples < 100:
            raise InputError(f"{self.num_resamples} resamples.", do="Use at least 100; usual are 1,000 to 10,000.")

    @property
    def answers(self) -> tuple[str, ...]:
        """The classes that votes fall into."""
        return ("first", "tie", "second") if self.ties == "class" else ("first", "second")

    def as_json(self) -> dict[str, Any]:
        return asdict(self)
