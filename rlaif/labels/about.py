"""What is known of pairs besides votes: how their answers look, their tags, their source, who wrote them.

Texts go through once and are let go; only what is measured of them stays.
"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from rlaif.labels.table import database, pair_texts
from rlaif.style import STYLES, style_of

_TAGS = """
    SELECT wanted.pair_id, list_sort(list_distinct(flatten(list(votes.tags)))) AS tags,
        coalesce(min(votes.source) FILTER (votes.source <> ''), '') AS source
    FROM wanted LEFT JOIN votes ON wanted.pair_id = votes.pair_id GROUP BY wanted.pair_id ORDER BY wanted.pair_id
"""
_MODELS = """
    WITH named AS (
        SELECT pair_id, item, min(model_x) AS model_x, min(model_y) AS model_y FROM votes
        WHERE model_x <> '' AND model_y <> '' GROUP BY pair_id, item
    ), alone AS (
        SELECT pair_id, min(model_x) AS model_x, min(model_y) AS model_y FROM named GROUP BY pair_id HAVING count(*) = 1
    )
    SELECT coalesce(named.model_x, alone.model_x, '') AS model_x, coalesce(named.model_y, alone.model_y, '') AS model_y
    FROM wanted
    LEFT JOIN named ON wanted.pair_id = named.pair_id AND wanted.item = named.item
    LEFT JOIN alone ON wanted.pair_id = alone.pair_id
    ORDER BY wanted.place
"""


def style_differences(paths: Sequence[Path], pair_ids: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """x less y in each of STYLES, by pair, for those of these pairs whose texts the files have."""
    found: dict[str, tuple[float, ...]] = {}
    for path in paths:
        missing = pa.array([one for one in pair_ids if one not in found], pa.string())
        for batch in pair_texts(path, missing) if len(missing) else ():
            columns = (batch[name].to_pylist() for name in ("pair_id", "x", "y"))
            found.update((pair_id, _difference(x, y)) for pair_id, x, y in zip(*columns, strict=True))
    return found


def _difference(x: str, y: str) -> tuple[float, ...]:
    one, other = style_of(x), style_of(y)
    return tuple(one[name] - other[name] for name in STYLES)


def tags_and_sources(votes: pa.Table, pair_ids: Sequence[str]) -> dict[str, tuple[tuple[str, ...], str]]:
    """The tags and the source that any vote gives a pair; '' where none does."""
    rows = _ask(_TAGS, votes, pa.table({"pair_id": pa.array(pair_ids, pa.string())})).to_pylist()
    return {row["pair_id"]: (tuple(row["tags"] or ()), row["source"]) for row in rows}


def models_of(votes: pa.Table, things: pa.Table) -> list[tuple[str, str]]:
    """(model of x, model of y) for each of these (pair_id, item); '' where no vote says. One pair may have been
    given by several two models, and then its items tell which."""
    wanted = things.append_column("place", pa.array(range(things.num_rows)))
    columns = _ask(_MODELS, votes, wanted)
    return list(zip(columns["model_x"].to_pylist(), columns["model_y"].to_pylist(), strict=True))


def _ask(query: str, votes: pa.Table, wanted: pa.Table) -> pa.Table:
    with database(4 * votes.nbytes) as connection:
        connection.register("votes", votes)
        connection.register("wanted", wanted)
        table: pa.Table = connection.sql(query).to_arrow_table()
        return table
