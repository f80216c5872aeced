"""The schedule of a run: which pairs of a prompt's answers are compared in each round, and how many rounds there are.

`schedule.py` knows ids and outcomes only; here they are the road's pairs, and a prompt's draws are seeded by its id.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rlaif.feedback.schedule import (
    Outcomes,
    Pair,
    half_of_all_pairs,
    most_rounds,
    random_opponents,
    ring,
    swiss,
)
from rlaif.records import ResponsePair
from rlaif.settings import ScheduleSettings


@dataclass(frozen=True, slots=True)
class Schedule:
    """`most_answers` is how many answers a prompt has at most."""

    settings: ScheduleSettings
    most_answers: int

    @property
    def num_rounds(self) -> int:
        """The most rounds any prompt plays."""
        if self.settings.kind != "swiss":
            return 1
        return max((most_rounds(n, self.comparisons(n)) for n in range(2, self.most_answers + 1)), default=1)

    def comparisons(self, n: int) -> int:
        """How many pairs of a prompt with n answers are compared."""
        every = n * (n - 1) // 2
        wanted = {
            "all": every,
            "ring": n,
            "random": math.ceil(n * self.settings.opponents / 2),
            "swiss": self.settings.comparisons or half_of_all_pairs(n),
        }[self.settings.kind]
        return min(wanted, every)

    def next_round(self, pairs: "PromptPairs", rounds: Sequence[Outcomes]) -> list[ResponsePair]:
        """The pairs of a prompt to be compared after these rounds; none when it is over."""
        return [pairs.by_ids[two] for two in self._next(pairs, rounds)]

    def _next(self, pairs: "PromptPairs", rounds: Sequence[Outcomes]) -> list[Pair]:
        ids, kind = pairs.ids, self.settings.kind
        if kind == "swiss":
            return swiss(ids, rounds, max_comparisons=self.comparisons(len(ids)))
        if kind == "ring":
            return ring(ids, rounds)
        if kind == "random":
            return random_opponents(ids, rounds, k=self.settings.opponents, seed=pairs.prompt_id)
        return [] if rounds else [*pairs.by_ids]


@dataclass(frozen=True, slots=True)
class PromptPairs:
    """All pairs of one prompt's answers."""

    prompt_id: str
    ids: tuple[str, ...]
    by_ids: Mapping[Pair, ResponsePair]


def by_prompt(pairs: Sequence[ResponsePair]) -> list[PromptPairs]:
    """The pairs prompt by prompt, in the order the prompts first appear."""
    found: dict[str, dict[Pair, ResponsePair]] = {}
    for pair in pairs:
        found.setdefault(pair.prompt.id, {})[pair.x.id, pair.y.id] = pair
    return [
        PromptPairs(prompt_id, tuple(sorted({one for two in own for one in two})), own)
        for prompt_id, own in found.items()
    ]
