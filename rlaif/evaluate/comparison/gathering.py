"""From label files and folders of runs to arrays: votes matched by the pairs' texts, and what else is known of a pair.

Nothing depends on the order of rows, on which side an answer stands, or on what models are called. Votes of a person
among a judge's are left out, and so are a judge's among people's; both are counted in the notes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rlaif.errors import DataError
from rlaif.evaluate.comparison.compared import Alone, Ballots, Compared, Marks, Rater
from rlaif.evaluate.comparison.terms import Terms
from rlaif.labels.about import models_of, style_differences, tags_and_sources
from rlaif.labels.align import LISTED, Alignment, align
from rlaif.labels.table import VOTES, label_table, mark_table
from rlaif.numbers.choices import choices_of_probabilities
from rlaif.numbers.figures import BoolArray, FloatArray, IntArray
from rlaif.style import STYLES

_SHARE = {"x": 1.0, "tie": 0.5, "both_bad": 0.5, "y": 0.0}
AS_JUDGE = " (judge)"  # behind a judge's name that a person has too


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gathered:
    """What is compared, what is not, and what a reader should know of it."""

    compared: Compared
    left_out: dict[str, dict[str, Any]]
    notes: tuple[str, ...]


def gather(people: Sequence[Path], judges: Sequence[Path], terms: Terms) -> Gathered:
    """The labels of people, and of judges where files are given. DataError where there is nothing to compare."""
    notes: list[str] = []
    left = _of_kind(label_table(people), people, notes, is_judge=False)
    right = _of_kind(label_table(judges), judges, notes, is_judge=True) if judges else VOTES.empty_table()
    _check_judges(judges)
    alignment = align(left, right)
    votes = alignment.votes if judges else alignment.alone
    _check_overlap(votes, left, right, has_judges=bool(judges))
    compared = _compared(votes, alignment, pa.concat_tables([left, right]), people, judges, terms)
    return Gathered(compared=compared, left_out=_left_out(alignment, has_judges=bool(judges)), notes=tuple(notes))


def _of_kind(table: pa.Table, paths: Sequence[Path], notes: list[str], *, is_judge: bool) -> pa.Table:
    own = pc.equal(table["kind"], "judge")
    kept = table.filter(own if is_judge else pc.invert(own))
    who, other = ("judges", "people") if is_judge else ("people", "judges")
    stray = table.num_rows - kept.num_rows
    if not kept.num_rows:
        flag, kind = ("--ai", "judge") if is_judge else ("--human", "human")
        found = f"no label of {who} among {table.num_rows:,}" + (f" ({stray:,} are of {other})." if stray else ".")
        do = f"{flag} wants labels of {who}; `rlaif labels import … --kind {kind}` says whose they are."
        raise DataError(found, where=", ".join(map(str, paths)), do=do)
    if stray:
        notes.append(f"{stray:,} labels of {other} in the files of {who} are left out")
    return kept


def _check_judges(paths: Sequence[Path]) -> None:
    """Two sources of one judge's labels would contradict each other, and contradictions count nowhere."""
    seen: dict[str, Path] = {}
    for path in paths if len(paths) > 1 else ():
        for name in pc.unique(label_table([path])["rater"]).to_pylist():
            if name in seen:
                found = f"both {seen[name]} and {path} have labels of the judge {name!r}."
                raise DataError(found, do=f"`rlaif compare diff {seen[name]} {path} --human …` compares the two.")
            seen[name] = path


def _check_overlap(votes: pa.Table, left: pa.Table, right: pa.Table, *, has_judges: bool) -> None:
    if has_judges and not votes.num_rows:
        counts = [pc.count_distinct(table["pair_id"]).as_py() for table in (left, right)]
        shared = len(set(left["prompt_id"].to_pylist()) & set(right["prompt_id"].to_pylist()))
        found = f"no pair is labelled by both: {counts[0]:,} pairs of people, {counts[1]:,} of judges"
        found += f", {shared:,} prompts in common." if shared else ", and no prompt in common."
        do = "Pairs match by their texts, to the letter. `rlaif labels judge` labels people's pairs as they are."
        raise DataError(found, do=do)
    raters = pc.count_distinct(left["rater"]).as_py()
    if not has_judges and raters < 2:
        only = left["rater"][0].as_py()
        do = "Give a judge's labels with --ai, or a second person's with --human."
        raise DataError(f"all labels are of one rater, {only!r}, and comparing needs two.", do=do)


def _left_out(alignment: Alignment, *, has_judges: bool) -> dict[str, dict[str, Any]]:
    names = {"left": "people", "right": "judges"}
    found: dict[str, dict[str, Any]] = {}
    for name in ("unmatched", "duplicates", "contradictions"):
        table = getattr(alignment, name)
        if name == "unmatched" and not has_judges:
            table = table.slice(0, 0)
        counts = {called: pc.sum(pc.equal(table["side"], side)).as_py() or 0 for side, called in names.items()}
        first = [{**row, "side": names[row["side"]]} for row in table.slice(0, LISTED).to_pylist()]
        found[name] = {**counts, "first": first}
    return found


def _compared(
    votes: pa.Table,
    alignment: Alignment,
    tables: pa.Table,
    people: Sequence[Path],
    judges: Sequence[Path],
    terms: Terms,
) -> Compared:
    things, thing = _things(votes)
    raters, rater = _raters(votes)
    is_judge = np.array([one.kind == "judge" for one in raters])[rater]
    is_x_first, is_listed = _orientation(votes, thing, is_judge, things.num_rows)
    pair_ids = tuple(things["pair_id"].to_pylist())
    about = tags_and_sources(tables, sorted(set(pair_ids)))
    sign = np.where(is_x_first, 1.0, -1.0)
    models = models_of(tables, things.select(["pair_id", "item"]))
    return Compared(
        terms=terms,
        raters=raters,
        ballots=_ballots(votes, thing, rater, is_x_first, terms),
        pair_ids=pair_ids,
        items=tuple(things["item"].to_pylist()),
        prompt_ids=tuple(things["prompt_id"].to_pylist()),
        is_x_first=is_x_first,
        is_listed=is_listed,
        styles=_styles(people, pair_ids, sign),
        tags=tuple(about[one][0] for one in pair_ids),
        sources=tuple(about[one][1] for one in pair_ids),
        models=tuple(own if first else own[::-1] for own, first in zip(models, is_x_first, strict=True)),
        marks=_marks(judges, things, is_x_first, raters, terms) if judges else {},
        alone=_alone(alignment.alone, tables, raters, terms) if judges else {},
    )


def _things(votes: pa.Table) -> tuple[pa.Table, IntArray]:
    """The things voted on in order, and each vote's place among them. Votes are sorted by thing."""
    keys = votes.select(["pair_id", "item", "prompt_id"]).combine_chunks()
    is_new = np.ones(keys.num_rows, dtype=bool)
    for name in ("pair_id", "item"):
        column = keys[name]
        same = pc.equal(column.slice(1), column.slice(0, max(len(column) - 1, 0))).to_numpy(zero_copy_only=False)
        is_new[1:] = (is_new[1:] & ~same) if name == "pair_id" else (is_new[1:] | ~same)
    return keys.filter(pa.array(is_new)), np.asarray(np.cumsum(is_new) - 1, dtype=np.int64)


def _raters(votes: pa.Table) -> tuple[tuple[Rater, ...], IntArray]:
    """Everybody, people first, and each vote's rater. A judge with a person's name is called otherwise."""
    is_judge = pc.equal(votes["kind"], "judge")
    person_names = set(pc.unique(votes["rater"].filter(pc.invert(is_judge))).to_pylist())
    clashing = pc.and_(is_judge, pc.is_in(votes["rater"], value_set=pa.array(sorted(person_names), pa.string())))
    names = pc.if_else(clashing, pc.binary_join_element_wise(votes["rater"], AS_JUDGE, ""), votes["rater"])
    told = pa.table({"name": names, "kind": votes["kind"], "p": pc.is_valid(votes["probability_x"])})
    rows = told.group_by("name").aggregate([("kind", "min"), ("p", "max")]).to_pylist()
    raters = sorted(
        (Rater(row["name"], row["kind_min"], bool(row["p_max"])) for row in rows),
        key=lambda one: (one.kind == "judge", one.name),
    )
    places = pc.index_in(names, value_set=pa.array([one.name for one in raters], pa.string()))
    return tuple(raters), places.to_numpy().astype(np.int64)


def _orientation(votes: pa.Table, thing: IntArray, is_judge: BoolArray, count: int) -> tuple[BoolArray, BoolArray]:
    """(is x first, is that the listing's order): that in which people saw the answers, where they all saw one."""
    known = votes["is_order_known"].to_numpy(zero_copy_only=False) & ~is_judge
    is_x_first = votes["is_x_first"].to_numpy(zero_copy_only=False)
    seen = [np.bincount(thing[known & (is_x_first == side)], minlength=count) > 0 for side in (True, False)]
    is_listed = seen[0] != seen[1]
    return np.where(is_listed, seen[0], True), is_listed


def _ballots(votes: pa.Table, thing: IntArray, rater: IntArray, is_x_first: BoolArray, terms: Terms) -> Ballots:
    share = _shares_of_x(votes, terms)
    turned = ~is_x_first[thing]
    share = np.where(turned, 1.0 - share, share)
    saw_x_first = votes["is_x_first"].to_numpy(zero_copy_only=False)
    known = votes["is_order_known"].to_numpy(zero_copy_only=False)
    place = np.where(known, np.where(saw_x_first != turned, 1.0, -1.0), np.nan)
    order = np.lexsort((rater, thing))
    code = choices_of_probabilities(share, terms.tie_width)
    return Ballots(thing[order], rater[order], share[order], code[order], place[order])


def _shares_of_x(votes: pa.Table, terms: Terms) -> FloatArray:
    """Each vote's share for x, NaN where it names nothing."""
    names = [*_SHARE, "skipped"]
    values = np.array([*_SHARE.values(), 0.5 if terms.skipped == "tie" else np.nan])
    chosen = pc.fill_null(pc.index_in(votes["choice_x"], value_set=pa.array(names)), len(names)).to_numpy()
    given = pc.fill_null(votes["probability_x"], np.nan).to_numpy()
    return np.where(np.isfinite(given), given, np.append(values, np.nan)[chosen])


def _styles(paths: Sequence[Path], pair_ids: tuple[str, ...], sign: FloatArray) -> dict[str, FloatArray]:
    found = style_differences(paths, sorted(set(pair_ids)))
    table = np.array([found[one] for one in pair_ids], dtype=np.float64).reshape(len(pair_ids), len(STYLES))
    return {name: table[:, place] * sign for place, name in enumerate(STYLES)}


def _marks(
    paths: Sequence[Path], things: pa.Table, is_x_first: BoolArray, raters: tuple[Rater, ...], terms: Terms
) -> dict[str, Marks]:
    """Each judge's verdicts by principle, where it has any. A pair's marks are those of all of its things."""
    table = mark_table(paths)
    known = pc.is_in(table["pair_id"], value_set=pc.unique(things["pair_id"]))
    table = table.filter(known)
    found = {}
    for rater in raters:
        if rater.kind == "judge":
            name = rater.name.removesuffix(AS_JUDGE)
            own = table.filter(pc.is_in(table["rater"], value_set=pa.array([rater.name, name])))
            if own.num_rows:
                found[rater.name] = _marks_of(own, things, is_x_first, terms)
    return found


def _marks_of(table: pa.Table, things: pa.Table, is_x_first: BoolArray, terms: Terms) -> Marks:
    principles = tuple(sorted(pc.unique(table["principle"]).to_pylist()))
    pairs = pc.unique(things["pair_id"])
    pair = pc.index_in(table["pair_id"], value_set=pairs).to_numpy()
    seat = pc.index_in(table["principle"], value_set=pa.array(principles)).to_numpy()
    values = {"probability_x": _shares_of_x(table, terms)}
    values |= {name: pc.fill_null(table[name], np.nan).to_numpy() for name in ("shown_first_x", "shown_second_x")}
    columns = {name: np.full((len(pairs), len(principles)), np.nan) for name in values}
    for name, column in columns.items():
        column[pair, seat] = values[name]
    weights = table.group_by("principle").aggregate([("weight", "max")]).to_pylist()
    by_name = {row["principle"]: row["weight_max"] for row in weights}
    place = pc.index_in(things["pair_id"], value_set=pairs).to_numpy()
    of_things = {name: column[place] for name, column in columns.items()}
    x_first = is_x_first[:, None]
    x_shown_first, x_shown_second = of_things["shown_first_x"], of_things["shown_second_x"]
    return Marks(
        principles=principles,
        probability=np.where(x_first, of_things["probability_x"], 1 - of_things["probability_x"]),
        shown_first=np.where(x_first, x_shown_first, 1 - x_shown_second),
        shown_second=np.where(x_first, x_shown_second, 1 - x_shown_first),
        weight=np.array([np.nan if by_name[one] is None else by_name[one] for one in principles]),
    )


def _alone(votes: pa.Table, tables: pa.Table, raters: tuple[Rater, ...], terms: Terms) -> dict[str, Alone]:
    """What each judge said of things that people did not label."""
    own = votes.filter(pc.equal(votes["side"], "right"))
    share = _shares_of_x(own, terms)
    difference = pc.subtract(own["length_x"], own["length_y"]).to_numpy()
    longer = np.where(difference == 0, np.nan, np.where(difference > 0, share, 1.0 - share))
    prompts = np.asarray(own["prompt_id"].to_pylist(), dtype=object)
    models = np.empty(own.num_rows, dtype=object)
    models[:] = models_of(tables, own.select(["pair_id", "item"]))
    names = np.asarray(own["rater"].to_pylist(), dtype=object)
    found = {}
    for rater in raters:
        if rater.kind == "judge":
            rows = names == rater.name.removesuffix(AS_JUDGE)
            found[rater.name] = Alone(tuple(prompts[rows]), share[rows], longer[rows], tuple(models[rows]))
    return found
