"""Two sources of labels side by side, pair by pair: who answered what both were asked, and what fits nowhere.

    alignment = align(label_table(human_files), label_table([run_folder]))

Votes meet on the pair's id, which knows only the texts, and on the item where one pair was voted on several times by
one rater: two models gave the same two answers, or a judge saw both orders. A rater with a single vote on a pair
answers all of its items. Everything here is a function of the votes' content: the order of rows, the sides answers
stand on and the models' names change no byte of a report.

Nothing is chosen between votes of one rater on one thing: votes that agree are duplicates and count once, votes that
differ are contradictions and count nowhere. Both are listed, and so is every pair only one source has.
"""

from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from rlaif.labels.table import database

Side = Literal["left", "right"]
SIDES: tuple[Side, Side] = ("left", "right")
LISTED = 20  # of each list in a report; the tables have all
_BYTES_PER_LABEL = 450  # what the steps between hold at once, measured at a million pairs

# One row for each rater and thing voted on, with how many votes and how many different ones it was. A null `unit` is a
# rater's only vote on a pair: it answers every item.
_UNITS = """
    CREATE TEMP TABLE {side}_votes AS
    WITH counted AS (
        SELECT *, count(DISTINCT item) OVER (PARTITION BY rater, pair_id) AS items FROM {side}_source
    )
    SELECT pair_id, any_value(prompt_id) AS prompt_id, if(items > 1, item, NULL) AS unit, rater,
        any_value(kind) AS kind,
        min(choice_x) AS choice_x, min(probability_x) AS probability_x, max(strength) AS strength,
        count(*) AS votes, count(DISTINCT (choice_x, probability_x)) AS verdicts,
        any_value(length_x) AS length_x, any_value(length_y) AS length_y,
        bool_and(is_order_known) AND min(is_x_first::TINYINT) = max(is_x_first::TINYINT) AS is_order_known,
        bool_and(is_x_first) AS is_x_first
    FROM counted GROUP BY pair_id, if(items > 1, item, NULL), rater
"""
_THINGS = """
    CREATE TEMP TABLE things AS
    WITH told AS (
        SELECT pair_id, unit FROM left_votes UNION SELECT pair_id, unit FROM right_votes
    )
    SELECT pair_id, coalesce(unit, '') AS unit FROM told
    WHERE unit IS NOT NULL OR pair_id NOT IN (SELECT pair_id FROM told WHERE unit IS NOT NULL)
"""
_SPREAD = """
    CREATE TEMP TABLE {side}_spread AS
    SELECT things.unit AS item, votes.* EXCLUDE (unit, votes, verdicts)
    FROM {side}_votes AS votes
    JOIN things ON votes.pair_id = things.pair_id AND coalesce(votes.unit, things.unit) = things.unit
    WHERE votes.verdicts = 1
"""
_ALIGNED = """
    SELECT '{side}' AS side, own.* FROM {side}_spread AS own
    WHERE (pair_id, item) IN (SELECT (pair_id, item) FROM {other}_spread)
"""
_ALONE = """
    SELECT '{side}' AS side, own.* FROM {side}_spread AS own
    WHERE (pair_id, item) NOT IN (SELECT (pair_id, item) FROM {other}_spread)
"""
_UNMATCHED = """
    SELECT '{side}' AS side, pair_id, item, list(rater ORDER BY rater) AS raters FROM {side}_spread
    WHERE (pair_id, item) NOT IN (SELECT (pair_id, item) FROM {other}_spread)
    GROUP BY pair_id, item
"""
_REPEATED = "SELECT '{side}' AS side, pair_id, coalesce(unit, '') AS item, rater, votes FROM {side}_votes WHERE {which}"


@dataclass(frozen=True, slots=True)
class Alignment:
    """`votes` are those on things that both sources judged, one for each rater and thing, sorted; `alone` those on
    things of one source. The other tables list what is not among `votes`. All have a `side`, `pair_id`, `item`."""

    votes: pa.Table
    alone: pa.Table
    unmatched: pa.Table
    duplicates: pa.Table
    contradictions: pa.Table
    counts: dict[str, dict[Side, int]]


def align(left: pa.Table, right: pa.Table) -> Alignment:
    """Put two tables of VOTES side by side."""
    with database(_BYTES_PER_LABEL * (left.num_rows + right.num_rows)) as connection:
        for side, table in (("left", left), ("right", right)):
            connection.register(f"{side}_source", table)
            connection.execute(_UNITS.format(side=side))
        connection.execute(_THINGS)
        for side in SIDES:
            connection.execute(_SPREAD.format(side=side))

        def both(query: str, order: str, **more: str) -> pa.Table:
            parts = [query.format(side=a, other=b, **more) for a, b in (("left", "right"), ("right", "left"))]
            return connection.sql(f"{' UNION ALL '.join(parts)} ORDER BY {order}").to_arrow_table()

        repeated = {
            "duplicates": both(_REPEATED, "side, pair_id, item, rater", which="votes > 1 AND verdicts = 1"),
            "contradictions": both(_REPEATED, "side, pair_id, item, rater", which="verdicts > 1"),
        }
        connection.execute("DROP TABLE left_votes; DROP TABLE right_votes; DROP TABLE things")
        found = Alignment(
            votes=both(_ALIGNED, "pair_id, item, side, rater"),
            alone=both(_ALONE, "pair_id, item, side, rater"),
            unmatched=both(_UNMATCHED, "side, pair_id, item"),
            counts={},
            **repeated,
        )
        for side in SIDES:
            (row,) = connection.sql(_COUNTS.format(side=side)).to_arrow_table().to_pylist()
            for name, count in row.items():
                found.counts.setdefault(name, {})[side] = count
    return found


_COUNTS = """
    SELECT count(*) AS labels, count(DISTINCT pair_id) AS pairs, count(DISTINCT prompt_id) AS prompts,
        count(DISTINCT rater) AS raters
    FROM {side}_source
"""


def report(alignment: Alignment) -> dict[str, Any]:
    """What `rlaif labels align` prints: counts, and the first of each list in the order of their ids."""
    votes = alignment.votes
    things = votes.select(["pair_id", "item"]).group_by(["pair_id", "item"]).aggregate([])
    return {
        **alignment.counts,
        "matched": {
            "things": things.num_rows,
            "pairs": pc.count_distinct(things["pair_id"]).as_py(),
            "prompts": pc.count_distinct(votes["prompt_id"]).as_py(),
            "labels": _by_side(votes),
        },
        "unmatched": _listed(alignment.unmatched),
        "duplicates": _listed(alignment.duplicates),
        "contradictions": _listed(alignment.contradictions),
    }


def _by_side(table: pa.Table) -> dict[str, int]:
    return {side: pc.sum(pc.equal(table["side"], side)).as_py() or 0 for side in SIDES}


def _listed(table: pa.Table) -> dict[str, Any]:
    return {**_by_side(table), "first": table.slice(0, LISTED).to_pylist()}
