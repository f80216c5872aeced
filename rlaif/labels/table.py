"""Label files as an Arrow table: a million votes without a Python object each. DuckDB reads, checks and turns them.

Every id is computed from the texts here, by the same bytes as `rlaif/identity.py`, so two different answers can never
stand under one id; a file with a row that is not what it should be is read again by `file.read_votes`, which says
what is wrong.
Choices and probabilities are turned to the pair's x, the response whose id sorts first: the columns of VOTES are the
same whichever side a source lists first.
"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from rlaif.documents import no_such_file
from rlaif.errors import DataError
from rlaif.identity import canonical_json
from rlaif.labels.file import read_votes
from rlaif.labels.label import CHOICES, RATER_KINDS
from rlaif.labels.rows import kind_of

_LEAST_MEMORY = 800_000_000  # bytes DuckDB may hold before it goes to disk; larger inputs get more
VOTES = pa.schema(
    [
        ("pair_id", pa.string()),
        ("prompt_id", pa.string()),
        ("item", pa.string()),
        ("rater", pa.string()),
        ("kind", pa.string()),
        ("choice_x", pa.string()),  # x, y, tie, both_bad, skipped; null where the rater gave a probability
        ("probability_x", pa.float64()),
        ("strength", pa.float64()),
        ("is_order_known", pa.bool_()),
        ("is_x_first", pa.bool_()),
        ("model_x", pa.string()),
        ("model_y", pa.string()),
        ("length_x", pa.int64()),  # characters
        ("length_y", pa.int64()),
        ("seconds", pa.float64()),
        ("tags", pa.list_(pa.string())),
        ("source", pa.string()),
    ]
)
_MARK_FIELDS = "principle VARCHAR, choice VARCHAR, probability DOUBLE, strength DOUBLE, shown_first DOUBLE, shown_second DOUBLE, weight DOUBLE"  # noqa: E501  # one type
_COLUMNS = {
    **dict.fromkeys(("pair_id", "prompt_id", "first_id", "second_id"), "VARCHAR"),
    **dict.fromkeys(("rater", "kind", "choice"), "VARCHAR"),
    **dict.fromkeys(("probability", "strength", "seconds"), "DOUBLE"),
    "marks": f"STRUCT({_MARK_FIELDS})[]",
    "is_order_known": "BOOLEAN",
    "prompt": "STRUCT(content VARCHAR, role VARCHAR)[]",
    **dict.fromkeys(("item", "first", "second", "first_model", "second_model", "source"), "VARCHAR"),
    "tags": "VARCHAR[]",
}
_RUN = """
    SELECT NULL::VARCHAR AS pair_id, NULL::VARCHAR AS prompt_id, NULL::VARCHAR AS first_id, NULL::VARCHAR AS second_id,
        $rater AS rater, 'judge' AS kind, CASE WHEN probability_x IS NULL THEN 'skipped' END AS choice,
        probability_x AS probability, NULL::DOUBLE AS strength, NULL::DOUBLE AS seconds,
        [{{principle: p.id, choice: CASE WHEN p.probability IS NULL THEN 'skipped' END, probability: p.probability,
           strength: NULL::DOUBLE, shown_first: p.shown_first, shown_second: p.shown_second, weight: p.weight}}
           FOR p IN principles] AS marks,
        false AS is_order_known, [{{content: turn.content, role: turn.role}} FOR turn IN prompt] AS prompt,
        '' AS item, response_x AS "first", response_y AS "second", '' AS first_model, '' AS second_model,
        '' AS source, tags
    FROM read_parquet({path})
"""
_MADE = """
    WITH prompts AS (
        SELECT *, sha256('{{"prompt":' || same_json(to_json(prompt)::VARCHAR) || '}}') AS prompt_made FROM ({rows})
    ),
    responses AS (
        SELECT *,
            sha256('{{"prompt":"' || prompt_made || '","response":' || same_json(to_json("first")::VARCHAR) || '}}')
                AS first_made,
            sha256('{{"prompt":"' || prompt_made || '","response":' || same_json(to_json("second")::VARCHAR) || '}}')
                AS second_made
        FROM prompts
    ),
    pairs AS (
        SELECT *, first_made < second_made AS is_x_first,
            sha256('{{"pair":["' || least(first_made, second_made) || '","' || greatest(first_made, second_made)
                || '"],"prompt":"' || prompt_made || '"}}') AS pair_made
        FROM responses
    )
"""
_IS_SOUND = """
    coalesce(
        "first" <> "second" AND len(prompt) > 0 AND prompt[-1].role = 'user'
        AND coalesce(prompt_id, prompt_made) = prompt_made AND coalesce(pair_id, pair_made) = pair_made
        AND (
            coalesce(first_id, first_made) = first_made AND coalesce(second_id, second_made) = second_made
            OR NOT coalesce(is_order_known, false) AND first_id = second_made AND second_id = first_made
        )
        AND rater <> '' AND kind IN {kinds} AND (choice IS NULL) <> (probability IS NULL)
        AND coalesce(choice, 'tie') IN {choices} AND coalesce(probability, 0) BETWEEN 0 AND 1,
        false
    )
"""
_TURNED = """
    SELECT {is_sound} AS is_sound,
        pair_made AS pair_id, prompt_made AS prompt_id, coalesce(item, '') AS item, rater, kind,
        CASE WHEN choice IN ('first', 'second') THEN if((choice = 'first') = is_x_first, 'x', 'y') ELSE choice END
            AS choice_x,
        if(is_x_first, probability, 1 - probability) AS probability_x,
        strength, coalesce(is_order_known, false) AS is_order_known, is_x_first,
        coalesce(if(is_x_first, first_model, second_model), '') AS model_x,
        coalesce(if(is_x_first, second_model, first_model), '') AS model_y,
        length(if(is_x_first, "first", "second")) AS length_x, length(if(is_x_first, "second", "first")) AS length_y,
        seconds, coalesce(tags, []) AS tags, coalesce(source, '') AS source
    FROM pairs
"""
_MARKS = """
    SELECT is_sound, pair_made AS pair_id, prompt_made AS prompt_id, coalesce(item, '') AS item, rater,
        mark.principle AS principle,
        CASE WHEN mark.choice IN ('first', 'second') THEN if((mark.choice = 'first') = is_x_first, 'x', 'y')
            ELSE mark.choice END AS choice_x,
        if(is_x_first, mark.probability, 1 - mark.probability) AS probability_x,
        mark.strength AS strength,
        if(is_x_first, mark.shown_first, 1 - mark.shown_second) AS shown_first_x,
        if(is_x_first, mark.shown_second, 1 - mark.shown_first) AS shown_second_x,
        mark.weight AS weight
    FROM (SELECT *, {is_sound} AS is_sound, unnest(marks) AS mark FROM pairs)
"""

_TEXTS = """
    SELECT pair_made AS pair_id, any_value(if(is_x_first, "first", "second")) AS x,
        any_value(if(is_x_first, "second", "first")) AS y
    FROM pairs WHERE pair_made IN (SELECT wanted_id FROM wanted) GROUP BY pair_made
"""
_TEXTS_AT_ONCE = 10_000


def label_table(paths: Sequence[Path]) -> pa.Table:
    """The votes of label files and runs' folders as VOTES, in their order. DataError with the first wrong row."""
    return pa.concat_tables([_query(path, _TURNED).cast(VOTES) for path in paths] or [VOTES.empty_table()])


def mark_table(paths: Sequence[Path]) -> pa.Table:
    """The marks of all votes, one a row, turned to x. `shown_first_x` is P(x is better) with x shown first.

    Votes without marks are not seen here, so not checked either: `label_table` does that.
    """
    return pa.concat_tables([_query(path, _MARKS) for path in paths])


def pair_texts(path: Path, pair_ids: pa.Array) -> Iterator[pa.RecordBatch]:
    """The texts of those of these pairs that the file has, each once: `pair_id`, `x`, `y`. Checked by `label_table`."""
    rows, parameters = _rows_sql(path)
    with database(_size(path)) as connection:
        connection.register("wanted", pa.table({"wanted_id": pair_ids}))
        sql = _MADE.format(rows=rows) + _TEXTS
        yield from connection.sql(sql, params=parameters or None).to_arrow_reader(_TEXTS_AT_ONCE)


def as_shown(table: pa.Table) -> pa.ChunkedArray:
    """`choice_x` turned back to the order the answers were listed in: first, second, tie, both_bad, skipped, null.

    Published agreement is that of this order: what two raters would agree on by chance depends on it.
    """
    named = pc.is_in(table["choice_x"], value_set=pa.array(["x", "y"]))
    is_first = pc.equal(pc.equal(table["choice_x"], "x"), table["is_x_first"])
    return pc.if_else(named, pc.if_else(is_first, "first", "second"), table["choice_x"])


@contextmanager
def database(num_bytes: int = 0) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB in memory for inputs of so many bytes, that spells JSON as our ids need it. It keeps rows in order, and
    puts what it need not hold into the temporary folder."""
    limit = f"{max(_LEAST_MEMORY, num_bytes) // 1_000_000}MB"
    with (
        tempfile.TemporaryDirectory(prefix="rlaif-labels-") as overflow,
        duckdb.connect(config={"memory_limit": limit, "temp_directory": overflow}) as connection,
    ):
        connection.execute("SET enable_progress_bar = false; SET preserve_insertion_order = true")
        connection.create_function("python_json", _python_json, ["VARCHAR"], "VARCHAR")
        connection.execute(r"CREATE MACRO same_json(t) AS CASE WHEN contains(t, '\u00') THEN python_json(t) ELSE t END")
        yield connection


def _python_json(text: str) -> str:
    r"""Canonical JSON. DuckDB's own differs in the spelling of control characters alone (\u001F for \u001f)."""
    return canonical_json(json.loads(text))


def _query(path: Path, query: str) -> pa.Table:
    """The query's table without `is_sound`, once all rows are. Rows stay in the file's order."""
    rows, parameters = _rows_sql(path)
    is_sound = _IS_SOUND.format(kinds=RATER_KINDS, choices=CHOICES)
    try:
        with database(_size(path)) as connection:
            sql = _MADE.format(rows=rows) + query.format(is_sound=is_sound)
            table: pa.Table = connection.sql(sql, params=parameters or None).to_arrow_table()
    except duckdb.Error as failure:
        _explain(path)
        found = f"the file cannot be read: {str(failure).splitlines()[0]}"
        raise DataError(found, where=str(path), do="Is it a label file? `rlaif labels import` makes one.") from failure
    if not pc.all(table["is_sound"], min_count=0).as_py():
        _explain(path)
        raise AssertionError(f"{path} has an unsound row that passes the exact check")
    return table.drop_columns(["is_sound"])


def _size(path: Path) -> int:
    file = path / "labels.parquet" if path.is_dir() else path
    return file.stat().st_size


def _rows_sql(path: Path) -> tuple[str, dict[str, Any]]:
    """The rows of a label file, or of a run's labels, with the columns of _COLUMNS."""
    if path.is_dir():
        labels = path / "labels.parquet"
        if not labels.is_file():
            raise no_such_file(labels, DataError)
        return _RUN.format(path=_quoted(labels)), {"rater": judge_of(path)}
    if not path.is_file():
        raise no_such_file(path, DataError)
    names = ", ".join(f'"{name}"' for name in _COLUMNS)
    if kind_of(path) == ".parquet":
        turns = "[{content: turn.content, role: turn.role} FOR turn IN prompt]"
        return f"SELECT {names} FROM (SELECT * REPLACE ({turns} AS prompt) FROM read_parquet({_quoted(path)}))", {}  # noqa: S608  # our own names, the path quoted
    columns = ", ".join(f"\"{name}\": '{kind}'" for name, kind in _COLUMNS.items())
    options = f"format = 'newline_delimited', columns = {{{columns}}}"
    return f"SELECT {names} FROM read_json({_quoted(path)}, {options})", {}  # noqa: S608  # as above


def judge_of(folder: Path) -> str:
    """The name of a run's judge, from run.json or settings; the folder's name where neither says."""
    summary = folder / "run.json"
    if summary.is_file():
        judge = json.loads(summary.read_text(encoding="utf-8")).get("judge")
        if isinstance(judge, dict):
            judge = judge.get("name")
        if isinstance(judge, str) and judge:
            return judge
    return folder.name


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _explain(path: Path) -> None:
    """Raise the DataError of the first wrong row."""
    if not path.is_dir():
        for _ in read_votes(path):
            pass
