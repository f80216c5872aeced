"""What a training asks of the machine: memory that is kept, and no more threads than it has cores' time for.

A training step frees and asks for the same large buffers again and again; glibc returns them to the kernel in between,
and the page faults of getting them back cost more than the arithmetic.
"""

import ctypes
import sys

import torch

from rlaif.cores import usable_cores

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def keep_memory() -> None:
    """Never give memory back before the process ends. Without effect where there is no glibc."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for option, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 64 << 20)):
            libc.mallopt(option, value)


def limit_threads() -> None:
    """torch starts a thread per core of the board, also in a container that is given the time of two. A smaller number
    that somebody set stays."""
    torch.set_num_threads(min(torch.get_num_threads(), usable_cores()))
