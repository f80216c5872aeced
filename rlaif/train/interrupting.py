"""Ctrl-C while a training runs: what is at hand is finished and kept, then the run ends. A second one ends it at once.

    with interruptions(accelerator) as is_asked:
        while …:
            step()
            if is_asked():
                save()
                raise KeyboardInterrupt

Several processes would stop at different steps and wait for each other for ever, so there Ctrl-C ends at once, and the
newest checkpoint is what the next call goes on from. The same holds outside the main thread, which gets no signals.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from accelerate import Accelerator

_SAID = b"\nCtrl-C: what is at hand is finished and kept first; once more to stop at once\n"


@contextmanager
def interruptions(accelerator: Accelerator) -> Iterator[Callable[[], bool]]:
    """Within, the first Ctrl-C only makes the function that is given true."""
    is_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    if accelerator.num_processes > 1 or not is_main_thread or not callable(before):
        yield lambda: False
        return
    asked = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            signal.signal(signal.SIGINT, before)
            raise KeyboardInterrupt
        asked.set()
        os.write(2, _SAID)  # no lock is taken, whatever was interrupted

    signal.signal(signal.SIGINT, note)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, before)
