"""Results that cost model time, kept for ever: append as they arrive, look up by key, share between runs.

`Store` is the way in; `docs/store.md` says how it lies on disk. `schema` has what a result is made of, `keys` how keys
travel, `journal` what is appended, `segments` what is sealed, `shelf` and `remote` the folder or object store
underneath, `lookup` the joins, `merging`, `upkeep` and `gc` what keeps it small and sound, `wanted` what is to be kept.
"""

from rlaif.store.schema import Kind, Value
from rlaif.store.store import Store

__all__ = ["Kind", "Store", "Value"]
