"""Ctrl-C while C++ is stepping."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import openmm

from openmmkstep import _openmmkstep


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C end what runs inside with KeyboardInterrupt.

    Python would handle the signal only when C++ returns; and if it does so inside a force written in Python, OpenMM
    takes the KeyboardInterrupt for a failure of that force, and the integrator would fall back rather than stop. So the
    handler leaves a note that the integrator looks for.
    """
    isMain = threading.current_thread() is threading.main_thread()
    previous = signal.getsignal(signal.SIGINT) if isMain else None
    if not callable(previous):
        # In another thread, or where signals are ignored or left to the operating system, there is nothing to add.
        yield
        return
    _openmmkstep.Interruption_take()

    def handle(number: int, frame: FrameType | None) -> None:
        _openmmkstep.Interruption_request()
        previous(number, frame)

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    except openmm.OpenMMException as error:
        if _openmmkstep.Interruption_take():
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, previous)
    if _openmmkstep.Interruption_take():
        raise KeyboardInterrupt
