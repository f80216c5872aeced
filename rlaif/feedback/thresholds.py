"""What a cascade would keep and spend at every threshold, from what the judges of a run have said. Nobody is asked.

    report = at_thresholds(folder, store, (0.0, 0.1, 0.2, 0.5))

Only pairs on which every judge's verdicts are stored can tell: there the labels of a cascade are compared with those
of the full ensemble (all judges asked everything, pooled as the run pools them), and its tokens with theirs. Agreement
is the share of pairs whose label names the same answer, or none in both, with an interval clustered by prompt.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from rlaif.constitution import Constitution
from rlaif.errors import DataError
from rlaif.feedback.aggregate import label_verdicts
from rlaif.feedback.ask import Known, look_up
from rlaif.feedback.check_verdicts import in_order
from rlaif.feedback.cost import money
from rlaif.feedback.explain import computed
from rlaif.feedback.finished import pair_of_row, read_finished
from rlaif.feedback.hearing import Hearing, Mark, mark_of, marks_of_unit
from rlaif.feedback.judges import AS_GIVEN, Judges, pool_verdicts
from rlaif.feedback.mode import Values
from rlaif.feedback.plan import prices_of
from rlaif.feedback.thresholds_record import AtThreshold, Report, Spent
from rlaif.numbers.bootstrap import cluster_bootstrap
from rlaif.numbers.figures import Figure
from rlaif.numbers.intervals import estimates, mean_measure
from rlaif.numbers.pooling import side
from rlaif.pair_dataset import read_rows
from rlaif.records import PrincipleVerdict, ResponsePair
from rlaif.settings import Settings

T = TypeVar("T")
FIRST_ALONE = None  # in the place of a threshold: nothing is passed on, not even what the first judge is silent about
THRESHOLDS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5)
_BATCH = 2_000  # pairs at a time in memory
_ALONE = 2  # the length of the mark of a response that is scored by itself: its principle, and itself


def at_thresholds(folder: Path, known: Known, thresholds: Sequence[float]) -> Report:
    """The report on a finished run with several judges. DataError where it has one."""
    run = read_finished(folder)
    settings, constitution, judges = run.settings, run.constitution, run.judges
    if not judges.are_several:
        raise DataError(
            "this run has one judge: there is nothing to pass on.",
            where=str(folder),
            do="Name others in judges.others; docs/judging.md shows how.",
        )
    if scorers := [member.name for member in judges.members[1:] if member.settings.mode == "score"]:
        raise DataError(
            f"a cascade passes pairs on, and the judge {scorers[0]!r} scores single answers.",
            where=str(folder),
            do="A judge in mode score can only come first: list it first in judges.others.",
        )
    everyone = replace(judges, settings=judges.settings.model_copy(update={"ask": "panel"}))
    tally = _Tally(everyone, settings, constitution, (FIRST_ALONE, *sorted(set(thresholds))))
    for rows in _batches(read_rows(folder / "labels.parquet"), _BATCH):
        tally.add(rows, known)
    return tally.report()


@dataclass(frozen=True, slots=True)
class _Said:
    """One judge on some pairs: its verdicts as given and as labelled, by (pair, principle), what each request cost,
    and what is not stored."""

    given: Mapping[tuple[str, str], PrincipleVerdict]
    labelled: Mapping[tuple[str, str], PrincipleVerdict]
    spent: Mapping[Mark, Spent]
    missing: frozenset[Mark]


class _Tally:
    """Pairs are added batch by batch; of each, only numbers are kept."""

    def __init__(
        self,
        judges: Judges,
        settings: Settings,
        constitution: Constitution,
        thresholds: Sequence[float | None],
    ) -> None:
        self._judges, self._settings, self._constitution = judges, settings, constitution
        self._thresholds = thresholds
        self._incomplete = self._unlabelled = self._verdicts = 0
        self._prompts: list[str] = []
        self._same: dict[float | None, list[float]] = {one: [] for one in thresholds}
        self._apart: dict[float | None, list[float]] = {one: [] for one in thresholds}
        count = len(judges.members)
        self._asked = {one: [0] * count for one in thresholds}
        self._spent = {one: [Spent()] * count for one in thresholds}
        self._full = [Spent()] * count
        self._scored: set[Mark] = set()

    def add(self, rows: Sequence[Mapping[str, Any]], known: Known) -> None:
        pairs = [pair_of_row(row) for row in rows]
        values: dict[int, Values] = {}

        def answers(number: int) -> Values:
            if number not in values:
                values[number] = look_up(hearing.judging(number).asking, known).values
            return values[number]

        hearing = Hearing(self._judges, pairs, answers)
        said = [self._heard(hearing, judge, answers) for judge in range(len(self._judges.members))]
        units: dict[str, list[str]] = defaultdict(list)
        marks: dict[tuple[str, str], list[Mark]] = {}
        for unit in hearing.units(0):
            units[unit[0].id].append(unit[1].id)
            marks[unit[0].id, unit[1].id] = marks_of_unit(unit)
        for row, pair in zip(rows, pairs, strict=True):
            own = {principle: marks[pair.id, principle] for principle in units[pair.id]}
            if any(mark in one.missing for one in said for every in own.values() for mark in every):
                self._incomplete += 1
            else:
                self._add_pair(pair, row, said, own)

    def _heard(self, hearing: Hearing, judge: int, answers: Any) -> _Said:
        mode, heard = self._judges.members[judge].mode, hearing.heard(judge)
        spent: dict[Mark, Spent] = defaultdict(Spent)
        missing = set()
        for number in self._judges.sittings_of(judge):
            asked, values = hearing.judging(number), answers(number)
            for key in asked.asking.requests:
                mark, value = mark_of(asked.about(key)), values.get(key)
                if value is None:
                    missing.add(mark)
                else:
                    spent[mark] += Spent(1, value.get("prompt_tokens", 0), value.get("output_tokens", 0))
        by = [
            {(pair.id, one.principle_id): one for pair in hearing.pairs for one in mode.verdicts(pair, heard, kind)}
            for kind in (AS_GIVEN, self._settings.label)
        ]
        return _Said(by[0], by[1], spent, frozenset(missing))

    def _add_pair(
        self,
        pair: ResponsePair,
        row: Mapping[str, Any],
        said: Sequence[_Said],
        marks: Mapping[str, Sequence[Mark]],
    ) -> None:
        full = self._label(pair, row, said, {name: len(said) for name in marks})
        if full is None:
            self._unlabelled += 1
            return
        self._prompts.append(pair.prompt.id)
        self._verdicts += len(marks)
        costs = [self._cost(one, marks) for one in said]
        for judge, cost in enumerate(costs):
            self._full[judge] += sum(cost.values(), Spent())
        for threshold in self._thresholds:
            reach = {name: self._reach(pair, name, said, threshold) for name in marks}
            found = self._label(pair, row, said, reach)
            self._same[threshold].append(float(found is not None and side(found) == side(full)))
            self._apart[threshold].append(np.nan if found is None else abs(found - full))
            for judge, cost in enumerate(costs):
                asked = [name for name in marks if reach[name] > judge]
                self._asked[threshold][judge] += len(asked)
                self._spent[threshold][judge] += sum((cost[name] for name in asked), Spent())

    def _cost(self, said: _Said, marks: Mapping[str, Sequence[Mark]]) -> dict[str, Spent]:
        """What a judge's answers about a pair cost, by principle. The score of a response serves all its pairs, and is
        counted for the first of them."""
        found: dict[str, Spent] = {}
        for name, every in marks.items():
            own = [mark for mark in every if mark in said.spent and mark not in self._scored]
            self._scored.update(mark for mark in own if len(mark) == _ALONE)
            found[name] = sum((said.spent[mark] for mark in own), Spent())
        return found

    def _reach(self, pair: ResponsePair, name: str, said: Sequence[_Said], threshold: float | None) -> int:
        """How many judges a cascade asks about a principle of a pair."""
        reach = 1
        while threshold is not None and reach < len(said):
            verdict = said[reach - 1].given[pair.id, name]
            if not self._judges.is_passed_on(verdict, threshold):
                break
            reach += 1
        return reach

    def _label(
        self, pair: ResponsePair, row: Mapping[str, Any], said: Sequence[_Said], reach: Mapping[str, int]
    ) -> float | None:
        """P(x is better) where each principle was asked of its first `reach` judges."""
        floor, weights = self._settings.pairs.probability_floor, [one.weight for one in self._judges.members]
        judged = []
        for name, count in reach.items():
            given = [(one.labelled[pair.id, name], w) for one, w in zip(said[:count], weights, strict=False)]
            judged.append(given[0][0] if count == 1 else pool_verdicts(given, self._judges.settings, floor))
        verdicts = in_order([*judged, *computed(row, self._constitution)], self._constitution)
        return label_verdicts(pair, verdicts, probability_floor=floor, settings=self._settings.label).probability

    def report(self) -> Report:
        figures: dict[str, Figure] = {}
        if self._prompts:
            boot = cluster_bootstrap(self._prompts, seed=0)
            measures = {str(one): mean_measure(np.array(own)) for one, own in self._same.items()}
            figures = estimates(boot, measures)
        return Report(
            judges=tuple(member.name for member in self._judges.members),
            pool=self._judges.settings.pool,
            pairs=len(self._prompts),
            incomplete=self._incomplete,
            unlabelled=self._unlabelled,
            spent=tuple(self._full),
            rows=tuple(self._row(one, figures[str(one)]) for one in self._thresholds) if figures else (),
        )

    def _row(self, threshold: float | None, agreement: Figure) -> AtThreshold:
        spent, full = self._spent[threshold], self._full
        apart = [one for one in self._apart[threshold] if not np.isnan(one)]
        return AtThreshold(
            threshold=threshold,
            agreement=agreement,
            difference=sum(apart) / len(apart) if apart else None,
            asked=tuple(count / self._verdicts for count in self._asked[threshold]),
            tokens_share=_share(sum(one.tokens for one in spent), sum(one.tokens for one in full)),
            calls_share=_share(sum(one.calls for one in spent), sum(one.calls for one in full)),
            money_share=_share(self._money(spent), self._money(full)),
        )

    def _money(self, spent: Sequence[Spent]) -> float:
        prices = [prices_of(member.settings) for member in self._judges.members]
        return sum(
            money(one.prompt_tokens, one.output_tokens, price) or 0.0 for one, price in zip(spent, prices, strict=True)
        )


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _batches(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    rows = iter(rows)
    while batch := list(islice(rows, size)):
        yield batch
