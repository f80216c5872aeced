"""What is in label files: how many votes, by rater, kind, choice, tag and source, and how often raters repeat or
contradict themselves. Counts only; how far raters agree is for `rlaif compare`.
"""

from typing import Any

import duckdb
import pyarrow as pa

from rlaif.labels.table import database

_TOTALS = """
    SELECT count(*) AS labels, count(DISTINCT pair_id) AS pairs, count(DISTINCT prompt_id) AS prompts,
        count(DISTINCT rater) AS raters, count(*) FILTER (is_order_known) AS order_known,
        count(probability_x) AS with_probability, count(strength) AS with_strength, count(seconds) AS with_seconds
    FROM votes
"""
_CHOICE = """
    CASE WHEN probability_x IS NOT NULL THEN 'probability'
        WHEN choice_x = 'x' THEN if(is_x_first, 'first', 'second')
        WHEN choice_x = 'y' THEN if(is_x_first, 'second', 'first')
        ELSE choice_x END
"""
_BY = {
    "kinds": "SELECT kind AS name, count(*) AS labels FROM votes GROUP BY kind",
    "choices": f"SELECT {_CHOICE} AS name, count(*) AS labels FROM votes GROUP BY 1",  # noqa: S608  # a constant
    "tags": "SELECT unnest(tags) AS name, count(*) AS labels FROM votes GROUP BY 1",
    "sources": "SELECT source AS name, count(*) AS labels FROM votes GROUP BY source",
}
_RATERS = """
    SELECT rater, kind, count(*) AS labels, count(DISTINCT pair_id) AS pairs,
        count(*) FILTER (choice_x = 'tie' OR probability_x = 0.5) AS ties,
        count(*) FILTER (choice_x = 'both_bad') AS both_bad, count(*) FILTER (choice_x = 'skipped') AS skipped,
        round(median(seconds), 3) AS median_seconds
    FROM votes GROUP BY rater, kind ORDER BY labels DESC, rater, kind
"""
# A rater's votes on one thing: more than one is a repetition, more than one verdict a contradiction.
_REPEATED = """
    SELECT count(*) FILTER (number > 1 AND verdicts = 1) AS duplicates, count(*) FILTER (verdicts > 1) AS contradictions
    FROM (
        SELECT count(*) AS number, count(DISTINCT (choice_x, probability_x)) AS verdicts
        FROM votes GROUP BY rater, pair_id, item
    )
"""


def summarise(table: pa.Table) -> dict[str, Any]:
    """The counts of a table of VOTES. `duplicates` and `contradictions` count things voted on, not votes."""
    with database(4 * table.nbytes) as connection:
        connection.register("votes", table)
        found = {**_row(connection, _TOTALS), **_row(connection, _REPEATED)}
        for name, query in _BY.items():
            found[name] = _counts(connection, query)
        found["by_rater"] = _rows(connection, _RATERS)
    found["notes"] = notes(found)
    return found


def notes(found: dict[str, Any]) -> list[str]:
    """What a reader of these counts should know before believing a figure computed from them."""
    said = []
    decided = [name for name in ("first", "second") if found["choices"].get(name)]
    if len(decided) == 1 and found["order_known"] and found["choices"][decided[0]] >= 20:
        said.append(f"every choice between the answers is the {decided[0]}: agreement beyond chance is not defined")
    if found["raters"] < 2:
        said.append("one rater only: agreement needs a second one on the same pairs")
    if found["contradictions"]:
        said.append(
            f"{found['contradictions']:,} times a rater gave one thing two different labels; those count nowhere"
        )
    return said


def _row(connection: duckdb.DuckDBPyConnection, query: str) -> dict[str, Any]:
    return _rows(connection, query)[0]


def _rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = connection.sql(query).to_arrow_table().to_pylist()
    return rows


def _counts(connection: duckdb.DuckDBPyConnection, query: str) -> dict[str, int]:
    """Names with their counts, the most frequent first."""
    return {row["name"]: row["labels"] for row in _rows(connection, f"{query} ORDER BY labels DESC, name")}
