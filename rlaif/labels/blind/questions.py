"""What one rater is asked, in which order, with which answer first: a pure function of the rater's name and the pairs.

Every rater has an order of pairs and of answers of their own, so that neither a place in the list nor a place on the
page means the same for two raters. Some pairs come twice, far apart and with their answers swapped, which tells how far
raters agree with themselves. Pairs whose answer is known are mixed in. A question does not show which of these it is.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rlaif.errors import SettingsError
from rlaif.identity import digest
from rlaif.labels.label import Choice, swapped_choice
from rlaif.records import ResponsePair

Role = Literal["pair", "repeat", "gold"]
Gold = Mapping[str, tuple[ResponsePair, Choice]]  # by pair id; x counts as first
FAR_APART = 40  # other pairs between the two times, where there are so many


@dataclass(frozen=True, slots=True)
class Question:
    """One pair as this rater sees it. `known` is the right answer where there is one, in the order shown."""

    id: str
    pair: ResponsePair
    role: Role
    is_x_first: bool
    known: Choice | None = None

    @property
    def first(self) -> str:
        return self.pair.x.text if self.is_x_first else self.pair.y.text

    @property
    def second(self) -> str:
        return self.pair.y.text if self.is_x_first else self.pair.x.text


def questions_for(
    rater: str,
    pairs: Sequence[ResponsePair],
    gold: Gold | None = None,
    *,
    seed: int = 0,
    repeats: float = 0.05,
    gold_share: float = 0.05,
) -> tuple[Question, ...]:
    """All questions of a rater. Ids do not depend on `repeats` and `gold`: changing them keeps what was answered."""
    for name, share in (("repeats", repeats), ("gold share", gold_share)):
        if not 0.0 <= share <= 0.5:
            raise SettingsError(f"the {name} is {share}.", do="Give a share between 0 and 0.5; usual is 0.05.")
    luck = _Luck(rater, seed)
    gold = gold or {}
    ordered = sorted(pairs, key=lambda pair: luck.name(pair.id, "order"))
    placed = [(float(place), _question(luck, pair, "pair", gold)) for place, pair in enumerate(ordered)]
    placed += [
        (place, _question(luck, ordered[number], "repeat", gold))
        for number, place in _repeated([pair.id for pair in ordered], repeats, luck)
    ]
    own = {pair.id for pair in pairs}
    others = sorted((pair for key, (pair, _) in gold.items() if key not in own), key=lambda p: luck.name(p.id, "order"))
    wanted = min(len(others), math.ceil(gold_share * len(pairs)))
    for number, pair in enumerate(others[:wanted]):
        place = (number + luck.share(pair.id, "place")) * len(pairs) / wanted
        placed.append((place, _question(luck, pair, "gold", gold)))
    return tuple(question for _, question in sorted(placed, key=lambda one: (one[0], one[1].id)))


@dataclass(frozen=True, slots=True)
class _Luck:
    """What looks like chance, and is the same in every session."""

    rater: str
    seed: int

    def name(self, pair_id: str, what: str) -> str:
        return digest({"rater": self.rater, "seed": self.seed, "pair": pair_id, "what": what})

    def share(self, pair_id: str, what: str) -> float:
        """In [0, 1)."""
        return int(self.name(pair_id, what)[:13], 16) / 16**13


def _question(luck: _Luck, pair: ResponsePair, role: Role, gold: Gold) -> Question:
    is_x_first = (luck.share(pair.id, "sides") < 0.5) != (role == "repeat")
    known = gold[pair.id][1] if pair.id in gold and role != "repeat" else None
    if known is not None and not is_x_first:
        known = swapped_choice(known)
    asked = "again" if role == "repeat" else "question"
    return Question(luck.name(pair.id, asked), pair, role, is_x_first, known)


def _repeated(ids: Sequence[str], share: float, luck: _Luck) -> list[tuple[int, float]]:
    """(number of the pair, place of its second time): spread evenly over all that leave room for the distance."""
    apart = min(FAR_APART, len(ids) // 2)
    room = len(ids) - apart
    wanted = min(math.ceil(share * len(ids)), room) if apart else 0
    found = []
    for block in range(wanted):
        low, high = block * room // wanted, (block + 1) * room // wanted
        number = low + int(luck.share(ids[low], "which") * (high - low))
        slack = min(apart, len(ids) - 1 - number - apart)
        found.append((number, number + apart + 0.5 + max(slack, 0) * luck.share(ids[number], "when")))
    return found
