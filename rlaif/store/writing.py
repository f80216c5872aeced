"""What a person reads when results cannot be written, and the names that writers go by."""

import errno
import hashlib
import os
import platform
import secrets
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from rlaif.errors import StoreError


@contextmanager
def told_as_ours(root: str) -> Iterator[None]:
    """Turn the system's refusal to write into a StoreError that says what to do."""
    try:
        yield
    except OSError as error:
        raise as_ours(error, root) from error


def as_ours(error: OSError, root: str) -> StoreError:
    """The system's refusal to write, in words."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StoreError(
            "the disk is full.",
            where=root,
            do="Make space and run the same command again: finished answers are kept, nothing is asked twice.",
        )
    return StoreError(f"cannot write: {error.strerror or error}.", where=root, do="Check the folder's rights.")


def new_source() -> str:
    """A writer's name: when it began, on which machine, and chance. By name is by time, as well as clocks agree."""
    return f"{time.time_ns():016x}-{this_machine()}-{secrets.token_hex(6)}"


def this_machine() -> str:
    """Eight digits that differ between machines."""
    return hashlib.sha256(f"{platform.node()} {uuid.getnode()}".encode()).hexdigest()[:8]


def was_here(name: str) -> bool:
    """Whether a writer of this machine made the name, so that a file lock tells whether it lives."""
    return name.split("-")[1:2] == [this_machine()]


def in_child(owner: int) -> bool:
    """Whether this process is a fork of the one that opened something; a fork must not write into it."""
    return os.getpid() != owner
