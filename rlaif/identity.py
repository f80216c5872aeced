"""What a thing is called: the SHA-256 of its canonical JSON, and the seed that follows from such a name.

Equal content has an equal id on every machine; nothing is named by a row number, a file name or a time.
"""

import hashlib
import json
from typing import Any

_SEED_BITS = 63  # every engine takes a non-negative signed 64-bit seed
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, no white space, Unicode as it is; NaN and infinities are refused (ValueError)."""
    return _ENCODER.encode(value)


def digest(value: Any) -> str:
    """The 64 hexadecimal digits of the SHA-256 of `value`'s canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode("utf-8", "surrogatepass")).hexdigest()


def seed_from(name: str) -> int:
    """A seed in [0, 2**63) that depends on `name` alone, so the order of work changes no result."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> (64 - _SEED_BITS)
