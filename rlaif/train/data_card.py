"""The card that counts what became of every row read, by dataset and by reason, and when that stops a training.

Counts, digests and labellers are for people: the log, the first screen and the model card. No trainer reads them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlaif.errors import DataError
from rlaif.train.tokenise import TOO_LONG

MAX_REFUSED_GAP = 0.01


@dataclass(slots=True)
class SourceCounts:
    """What became of one dataset's rows: read = kept + Σ refused; `cut` and `merged` are among the kept.

    `labellers` says who labelled the kept rows, where the rows say so; `digest` is that of its rows as trained.
    """

    read: int = 0
    kept: int = 0
    cut: int = 0
    merged: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    labellers: Counter[str] = field(default_factory=Counter)
    digest: str = ""

    @property
    def refused_share(self) -> float:
        return self.refused.total() / self.read if self.read else 0.0

    def as_dict(self) -> dict[str, Any]:
        counts = {"read": self.read, "kept": self.kept, "cut": self.cut, "merged": self.merged}
        by_name = {"refused": dict(self.refused), "labellers": dict(self.labellers)}
        return {**counts, **by_name, "digest": self.digest}


@dataclass(frozen=True, slots=True)
class DataCard:
    """Counts by dataset, and the digest of the rows as the trainer sees them.

    `num_rows` are the trainer's: a pair is two rows of single answers, several pairs may be one row of a prompt.
    `places` says where each of them stands.
    """

    sources: Mapping[str, SourceCounts]
    digest: str
    num_tokens: int
    num_rows: int
    places: Sequence[str] = ()

    def as_dict(self) -> dict[str, Any]:
        """For the log and the model card."""
        sources = {name: counts.as_dict() for name, counts in self.sources.items()}
        return {"sources": sources, "rows": self.num_rows, "tokens": self.num_tokens, "digest": self.digest}

    def check(self, *, allow_uneven: bool = False, purpose: str = "train on") -> None:
        """Raise DataError when nothing was kept, or when sources lost shares that differ by more than one point: what
        was refused is not random, so arms of a comparison would learn from different kinds of rows."""
        if not self.num_rows:
            reasons = sum((counts.refused for counts in self.sources.values()), Counter[str]())
            listed = ", ".join(f"{count} × {reason}" for reason, count in reasons.items()) or "the data are empty"
            do = "Raise max_length, set too_long, or correct the data." if TOO_LONG in reasons else "Correct the data."
            raise DataError(f"no row is left to {purpose}: {listed}.", do=do)
        shares = {name: counts.refused_share for name, counts in self.sources.items() if counts.read}
        low, high = min(shares, key=lambda name: shares[name]), max(shares, key=lambda name: shares[name])
        if shares[high] - shares[low] > MAX_REFUSED_GAP and not allow_uneven:
            reasons = self.sources[high].refused
            why = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
            remedy = "Raise max_length or set too_long" if TOO_LONG in reasons else "Look at these rows"
            raise DataError(
                f"{high!r} lost {shares[high]:.1%} of its rows ({why}), {low!r} only {shares[low]:.1%}.",
                do=f"{remedy}, or go on knowingly with allow_uneven: true.",
            )
        if empty := [name for name, counts in self.sources.items() if not counts.read]:
            raise DataError(f"{empty[0]!r} holds no rows.", do="Correct its path or split, or leave it out of `data`.")
