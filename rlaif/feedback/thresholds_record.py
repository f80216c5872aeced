"""What `rlaif judges` reports, as records and as JSON: a cascade at several thresholds, beside all its judges."""

from dataclasses import dataclass
from typing import Any

from rlaif.numbers.figures import Figure


@dataclass(frozen=True, slots=True)
class Spent:
    """What answers cost: requests, and tokens read and written."""

    calls: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.output_tokens + other.output_tokens,
        )

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.output_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class AtThreshold:
    """A cascade at one threshold. `asked` is the share of verdicts each judge was asked for; shares are of what the
    full ensemble spends; `difference` is the mean |P - P of the full ensemble|."""

    threshold: float | None
    agreement: Figure
    difference: float | None
    asked: tuple[float, ...]
    tokens_share: float | None
    calls_share: float | None
    money_share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """`pairs` could tell; of `incomplete` ones a verdict is not stored, and about `unlabelled` ones all were silent."""

    judges: tuple[str, ...]
    pool: str
    pairs: int
    incomplete: int
    unlabelled: int
    spent: tuple[Spent, ...]
    rows: tuple[AtThreshold, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "judges": [
                {"name": name, "calls": own.calls, "tokens": own.tokens}
                for name, own in zip(self.judges, self.spent, strict=True)
            ],
            "pool": self.pool,
            "pairs": self.pairs,
            "incomplete_pairs": self.incomplete,
            "unlabelled_pairs": self.unlabelled,
            "thresholds": [
                {
                    "threshold": row.threshold,
                    "agreement": row.agreement.as_dict(),
                    "mean_difference": row.difference,
                    "asked_shares": list(row.asked),
                    "tokens_share": row.tokens_share,
                    "calls_share": row.calls_share,
                    "money_share": row.money_share,
                }
                for row in self.rows
            ],
        }
