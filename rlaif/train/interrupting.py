"""Ctrl-C while a training runs: what is at hand is finished and kept, then the run ends. A second one ends it at once.

    with interruptions(accelerator) as is_asked:
        while …:
            step()
            if is_asked():
                save()
                raise KeyboardInterrupt

Several processes stop at the same step, whichever of them got the signal: they tell each other each time they are
asked, so all have to ask at the same place. Outside the main thread, which gets no signals, Ctrl-C ends at once.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import torch
from accelerate import Accelerator

_SAID = b"\nCtrl-C: what is at hand is finished and kept first; once more to stop at once\n"


@contextmanager
def interruptions(accelerator: Accelerator) -> Iterator[Callable[[], bool]]:
    """Within, the first Ctrl-C only makes the function that is given true."""
    is_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    asked = threading.Event()
    if not is_main_thread or not callable(before):
        yield lambda: _is_any(asked, accelerator)
        return

    def note(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            signal.signal(signal.SIGINT, before)
            raise KeyboardInterrupt
        asked.set()
        if accelerator.is_main_process:
            os.write(2, _SAID)  # no lock is taken, whatever was interrupted

    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: _is_any(asked, accelerator)
    finally:
        signal.signal(signal.SIGINT, before)


def _is_any(asked: threading.Event, accelerator: Accelerator) -> bool:
    """Whether one of the processes was asked to stop; an exchange where there are several."""
    if accelerator.num_processes == 1:
        return asked.is_set()
    return bool(accelerator.reduce(torch.tensor(float(asked.is_set()), device=accelerator.device)) > 0)
