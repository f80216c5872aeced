"""What one save did, as a record and as one line of JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from rlaif.constitution import Change
from rlaif.feedback.difference import Difference, as_json
from rlaif.records import Outcome

Kind = Literal["start", "judged", "mistake", "overtaken"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """What is judged at every save: how many prompts, pairs and principles; and the principles whose tags none of the
    prompts has, so that no edit of theirs can show."""

    prompts: int
    pairs: int
    principles: int
    unheard: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One save, or the start. A `mistake` is what cannot be used, in words; nothing is asked then, and the labels stay
    as they were. An overtaken one was given up for a newer save.

    `seconds` are those from when the save was seen (the start: from when the judge was loaded). `asked` verdicts came
    from the judge, `reused` from the store, `outcomes` count how both ended. `difference` is against the labels before
    this save, `since_start` against the first ones.
    """

    number: int
    kind: Kind
    seconds: float
    files: tuple[str, ...]
    mistake: str = ""
    sampled: Sampled | None = None
    changes: tuple[Change, ...] = ()
    reasons: tuple[str, ...] = ()
    asked: int = 0
    reused: int = 0
    outcomes: Mapping[Outcome, int] = field(default_factory=dict)
    difference: Difference | None = None
    since_start: Difference | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "round": self.number,
            "kind": self.kind,
            "seconds": round(self.seconds, 3),
            "files": list(self.files),
            "mistake": self.mistake or None,
            "sampled": self.sampled and asdict(self.sampled),
            "changes": [asdict(change) for change in self.changes],
            "reasons": list(self.reasons),
            "asked": self.asked,
            "reused": self.reused,
            "outcomes": dict(self.outcomes),
            "difference": self.difference and as_json(self.difference),
            "since_start": self.since_start and as_json(self.since_start),
        }
