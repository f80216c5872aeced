"""What a stored result is made of: its key, who wrote it, the columns its kind is known to have, and the rest as JSON.

A value is a JSON object. A member that its kind has a column for, and that is of exactly the column's type, lies in
the column; everything else (other members, nulls, an integer where a float is usual) lies in `value` as JSON. So a
value comes back exactly as it was given, whatever is added to it later, and the common case is small and fast.

Kinds are an open set of names: one without columns here is kept as JSON alone.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from rlaif.identity import canonical_json
from rlaif.store.keys import KEY, as_fixed, hex_of, to_keys

Kind = str
Value = dict[str, Any]

KNOWN_KINDS = ("responses", "judgments", "critiques", "critiques_of_answers", "revisions")
_COLUMNS: dict[Kind, dict[str, pa.DataType]] = {
    "responses": {
        "outcome": pa.string(),
        "reason": pa.string(),
        "text": pa.string(),
        "finish_reason": pa.string(),
        "prompt_tokens": pa.int64(),
        "output_tokens": pa.int64(),
        "max_tokens": pa.int64(),
    },
    "judgments": {
        "logprob_a": pa.float64(),
        "logprob_b": pa.float64(),
        "uncovered": pa.float64(),
        "prompt_tokens": pa.int64(),
        "output_tokens": pa.int64(),
        "choice_method": pa.string(),
    },
    "critiques": {"outcome": pa.string(), "reason": pa.string(), "text": pa.string()},
}
_COLUMNS |= dict.fromkeys(("critiques_of_answers", "revisions"), _COLUMNS["responses"])
_KIND_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")


def is_kind(name: str) -> bool:
    return _KIND_NAME.fullmatch(name) is not None


def checked_kind(kind: Kind) -> Kind:
    """The name itself, which becomes a folder's."""
    if not is_kind(kind):
        raise ValueError(f"not a kind of result: {kind!r}")
    return kind


def columns_of(kind: Kind) -> dict[str, pa.DataType]:
    """The members of a value that have a column of their own."""
    return _COLUMNS.get(kind, {})


def schema_of(kind: Kind) -> pa.Schema:
    """The columns of a segment, in their order. `source` is the writer: of two rows with one key, the first wins."""
    fields = [("key", KEY), ("source", pa.string()), *columns_of(kind).items(), ("value", pa.string())]
    return pa.schema(fields)


def _is_text(cell: Any) -> bool:
    """A string that is valid UTF-8: half a surrogate pair has no place in a column, and stays in the JSON."""
    if type(cell) is not str:
        return False
    try:
        cell.encode()
    except UnicodeEncodeError:
        return False
    return True


_FITS: dict[pa.DataType, Callable[[Any], bool]] = {
    pa.float64(): lambda cell: type(cell) is float and math.isfinite(cell),
    pa.int64(): lambda cell: type(cell) is int and -(2**63) <= cell < 2**63,
    pa.string(): _is_text,
}


def table_of(kind: Kind, keys: Sequence[str], values: Sequence[Value], source: str) -> pa.Table:
    """Results as a table in the order given. ValueError: a value that is not JSON, a key that is none."""
    columns = columns_of(kind)
    cells = {name: [value.get(name) for value in values] for name in columns}
    whole = {name for name, of_type in columns.items() if _all_fit(cells[name], of_type)}
    for name in columns.keys() - whole:
        fits = _FITS[columns[name]]
        cells[name] = [cell if cell is not None and fits(cell) else None for cell in cells[name]]
    rest: list[str | None] = []
    for row, value in enumerate(values):
        left = {}
        if len(value) > len(whole):
            left = {name: cell for name, cell in value.items() if name not in cells or cells[name][row] is None}
        rest.append(_json_text(left) if left else None)
    arrays = [to_keys(keys), pa.array([source] * len(keys), pa.string())]
    arrays += [pa.array(cells[name], of_type) for name, of_type in columns.items()]
    return pa.table([*arrays, pa.array(rest, pa.string())], schema=schema_of(kind))


def _all_fit(cells: Sequence[Any], of_type: pa.DataType) -> bool:
    """Whether a column takes every cell: the usual case, told by a few passes and not by a call for each cell."""
    types = set(map(type, cells))
    if types == {float} and of_type == pa.float64():
        return all(map(math.isfinite, cells))
    if types == {int} and of_type == pa.int64():
        return bool(min(cells) >= -(2**63) and max(cells) < 2**63)
    return types == {str} and of_type == pa.string() and all(map(_is_text, cells))


def _json_text(value: Value) -> str:
    text = canonical_json(value)
    return text if _is_text(text) else json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def results_of(batch: pa.RecordBatch | pa.Table) -> Iterator[tuple[str, Value]]:
    """The (key, value) of every row: the way back from `table_of`."""
    names = [name for name in batch.schema.names if name not in ("key", "source", "value")]
    columns = [batch.column(name).to_pylist() for name in names]
    for key, rest, *cells in zip(hex_of(batch.column("key")), batch.column("value").to_pylist(), *columns, strict=True):
        value = {name: cell for name, cell in zip(names, cells, strict=True) if cell is not None}
        if rest is not None:
            value |= json.loads(rest)
        yield key, value


def checked_table(kind: Kind, table: pa.Table, source: str) -> pa.Table:
    """A caller's table with all columns: `key` (hexadecimal text or 32 bytes), any of the kind's, JSON in `value`."""
    schema = schema_of(kind)
    given = table.column_names
    known = ["key", *schema.names[2:]]
    unknown = [name for name in given if name not in known]
    if unknown or "key" not in given or len(set(given)) < len(given):
        raise ValueError(f"a table of {kind} has `key` and any of {known[1:]}, each once; these do not fit: {unknown}")
    if table["key"].null_count:
        raise ValueError("a row of the table has no key")
    arrays: list[Any] = [pa.chunked_array([to_keys(chunk) for chunk in table["key"].chunks], KEY)]
    arrays.append(pa.repeat(pa.scalar(source, pa.string()), table.num_rows))
    for field in list(schema)[2:]:
        column = table[field.name].cast(field.type) if field.name in given else pa.nulls(table.num_rows, field.type)
        _check_column(field.name, column)
        arrays.append(column)
    return pa.table(arrays, schema=schema)


def _check_column(name: str, column: Any) -> None:
    if pa.types.is_floating(column.type) and pc.any(pc.invert(pc.is_finite(column))).as_py():
        raise ValueError(f"column {name!r} holds a number that is not finite: leave it null")
    if name == "value":
        wrong = [text for text in column.to_pylist() if text is not None and not _is_object(text)]
        if wrong:
            raise ValueError(f"column 'value' holds JSON objects; this is none: {wrong[0][:60]!r}")


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def sorted_table(table: pa.Table) -> pa.Table:
    """The rows by key, the first of each: what a segment holds."""
    rows = table.take(pc.sort_indices(table, sort_keys=[("key", "ascending")])).combine_chunks()  # a stable sort
    if rows.num_rows < 2:
        return rows
    keys = as_fixed(rows["key"])
    is_new = pc.not_equal(keys.slice(1), keys.slice(0, len(keys) - 1))
    return rows if pc.all(is_new).as_py() else rows.filter(pa.concat_arrays([pa.array([True]), is_new]))
