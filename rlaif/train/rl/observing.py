"""Who looks on while a policy learns, and what a run remembers from one iteration to the next."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from rlaif.train.rl.experience import Experience
from rlaif.train.rl.guards import Guards
from rlaif.train.rl.shaping import Moments


@dataclass(frozen=True, slots=True)
class End:
    """An observer's wish to end the run: why, and the last iteration whose weights were still good."""

    why: str
    good_until: int


@dataclass(frozen=True, slots=True)
class Keep:
    """An observer's wish that the weights which gave these answers are kept: the best so far."""


class Observer(Protocol):
    """`note` is told of every iteration after its answers were read and before anything is learnt from them; its
    figures go into the log. `memory` is what `restore` has to be given when a run goes on: tensors, numbers and texts
    in dicts and lists."""

    def note(self, seen: Experience, figures: Mapping[str, float]) -> tuple[Mapping[str, float], End | Keep | None]: ...

    def memory(self) -> dict[str, Any]: ...

    def restore(self, memory: Mapping[str, Any]) -> None: ...


def was_stopped(memory: Mapping[str, Any]) -> bool:
    """Of a checkpoint's plain values: whether an observer ended the run. Such a one does not go on."""
    return bool(memory["stopped"])


@dataclass(frozen=True, slots=True)
class Memory:
    """What a run knows beside weights and optimizer state, as it was before the iteration that comes next."""

    coefficient: float  # of the KL
    moments: Moments = field(default_factory=Moments)  # of all scores so far
    guards: Guards = field(default_factory=Guards)
    stopped: str | None = None  # by an observer, and why
    returned_to: int | None = None  # then: the iteration whose weights these are again

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> "Memory":
        """From a checkpoint's plain values (`dataclasses.asdict`)."""
        return cls(
            coefficient=kept["coefficient"],
            moments=Moments(**kept["moments"]),
            guards=Guards(**kept["guards"]),
            stopped=kept["stopped"],
            returned_to=kept["returned_to"],
        )
