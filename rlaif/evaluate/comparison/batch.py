"""Many figures from one pass over the resamples: drawing two thousand times from a hundred thousand prompts costs
seconds, and should be done once and not for every table."""

from collections.abc import Mapping
from typing import Any

from rlaif.numbers.bootstrap import ClusterBootstrap
from rlaif.numbers.figures import Figure
from rlaif.numbers.intervals import Measure, estimates
from rlaif.numbers.proportions import with_exact_ends

Key = tuple[str, ...]
_COLUMNS_AT_ONCE = 400  # of sums that are held for every resample and every prompt


class Batch:
    """Measures are added under keys, and computed together when all are there."""

    def __init__(self, bootstrap: ClusterBootstrap) -> None:
        self.bootstrap = bootstrap
        self._measures: dict[Key, Measure] = {}
        self._shares: set[Key] = set()

    def add(self, key: Key, measures: Mapping[str, Measure], *, shares: bool | tuple[str, ...] = ()) -> None:
        """Measures by name under a key. `shares` names those that are shares of rows (True: all): one of exactly 0 or 1
        has an interval although every resample is alike (`rlaif/numbers/proportions.py`)."""
        for name, measure in measures.items():
            self._measures[*key, name] = measure
            if shares is True or (shares and name in shares):
                self._shares.add((*key, name))

    def figures(self) -> dict[Key, Figure]:
        found: dict[Key, Figure] = {}
        for part in self._parts():
            named = {str(place): measure for place, measure in enumerate(part.values())}
            computed = estimates(self.bootstrap, named)
            found.update(zip(part, computed.values(), strict=True))
        return {key: with_exact_ends(one) if key in self._shares else one for key, one in found.items()}

    def _parts(self) -> list[dict[Key, Measure]]:
        parts: list[dict[Key, Measure]] = [{}]
        seen: set[int] = set()
        width = 0
        for key, measure in self._measures.items():
            new = 0 if id(measure.columns) in seen else measure.columns.shape[1]
            if width + new > _COLUMNS_AT_ONCE and parts[-1]:
                parts.append({})
                seen, width, new = set(), 0, measure.columns.shape[1]
            seen.add(id(measure.columns))
            width += new
            parts[-1][key] = measure
        return parts


def under(found: Mapping[Key, Figure], *key: str) -> dict[str, Any]:
    """The figures under a key, by what is left of theirs, as a report has them."""
    return {"/".join(own[len(key) :]): one.as_dict() for own, one in found.items() if own[: len(key)] == key}
