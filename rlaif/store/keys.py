"""Keys as they travel: 64 hexadecimal digits in Python and JSON, 32 bytes in files and joins, chunks when many."""

import binascii
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import pyarrow as pa

KEY = pa.binary(32)
WISH = pa.schema([("key", KEY)])
_HEX = re.compile(r"[0-9a-f]{64}")
_CHUNK = 100_000

# A wish: keys as text, or a table, a column or chunks of either form. A set: nothing is gained by asking twice.
Keys = Iterable[Any]


def checked_key(key: str) -> str:
    """The key itself. ValueError for what is not the SHA-256 of something."""
    if not _HEX.fullmatch(key):
        raise ValueError(f"not a key of the store (64 hexadecimal digits): {key!r}")
    return key


def to_keys(keys: Sequence[str] | pa.Array) -> Any:
    """Keys in either form as one array of 32 bytes each."""
    if isinstance(keys, pa.Array):
        if pa.types.is_binary(keys.type) or pa.types.is_fixed_size_binary(keys.type):
            return keys.cast(KEY)
        keys = keys.to_pylist()
    text = "".join(keys)
    try:
        raw = binascii.unhexlify(text)
    except (ValueError, binascii.Error):
        raw = b""
    if len(raw) != 32 * len(keys) or raw.hex() != text or any(len(key) != 64 for key in keys):
        raise ValueError(f"not keys of the store: {[key for key in keys if not _HEX.fullmatch(key)][:3]}")
    return pa.FixedSizeBinaryArray.from_buffers(KEY, len(keys), [None, pa.py_buffer(raw)])


def hex_of(keys: Any) -> list[str]:
    """An array of keys as text."""
    return [key.hex() for key in keys.to_pylist()]


def as_fixed(keys: Any) -> Any:
    """A column of keys as one array."""
    keys = keys.combine_chunks() if isinstance(keys, pa.ChunkedArray) else keys
    return keys.cast(KEY)


def key_batches(keys: Keys) -> Iterator[pa.RecordBatch]:
    """A wish in any of its forms as record batches with the one column `key`."""
    if isinstance(keys, pa.Table | pa.RecordBatch):
        keys = keys.column("key")
    if isinstance(keys, pa.Array):
        keys = [keys]
    elif isinstance(keys, pa.ChunkedArray):
        keys = keys.chunks
    parts = iter(keys)
    for part in parts:
        if isinstance(part, str):
            few = [part, *islice(parts, _CHUNK - 1)]
            yield pa.record_batch([to_keys(few)], schema=WISH)
        elif isinstance(part, pa.Array):
            yield pa.record_batch([to_keys(part)], schema=WISH)
        else:  # a table, a record batch, a list of keys
            yield from key_batches(part)
