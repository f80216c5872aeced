"""What is killed in `test_store_kills.py`: writers, sealers and mergers of one store, forked by a nursery.

python -m tests.faults.store_workers        (started by nursery.py)
"""

import os

from tests.faults.nursery import tend


def write(root, said, name, count):
    """Append results and say each one's name after."""
    from rlaif.identity import digest
    from rlaif.store import Store

    with Store(root) as store:
        out = os.open(said, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        for n in range(count):
            store.append("judgments", digest([name, n]), {"logprob_a": -float(n), "name": name})
            os.write(out, f"\n{name} {n} .\n".encode())  # a line of its own, whatever the last writer left unfinished


def seal(root):
    from rlaif.store import Store

    Store(root).seal("judgments")


def close(root):
    """Append, and merge what lies there at the close, as a run does at its end."""
    from rlaif.identity import digest
    from rlaif.store import Store, merging

    merging.CROWD = 2
    with Store(root) as store:
        store.append("judgments", digest("closed"), {})


def merge(root):
    from rlaif.errors import StoreError
    from rlaif.store import Store
    from rlaif.store.upkeep import compact

    try:
        compact(Store(root), full_rows=10**6)
    except StoreError as error:
        if "another compaction" not in str(error):
            raise


def warm_up():
    import duckdb  # noqa: F401
    import pyarrow

    import rlaif.store.merging
    import rlaif.store.upkeep  # noqa: F401

    pyarrow.array([{"of": "anything"}])  # the first array ever looks for pandas, which takes a second to load


if __name__ == "__main__":
    warm_up()
    tend({"write": write, "seal": seal, "close": close, "merge": merge})
