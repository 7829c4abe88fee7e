"""Opening a file that another program may have open: HDF5 locks it."""

from __future__ import annotations

import time
from pathlib import Path

import h5py

# How long a reader waits for a flush, and the last flush for readers, before giving up (seconds).
PATIENCE = 60.0


def opened(path: Path, mode: str, patience: float) -> h5py.File:
    """The file, waiting for whoever has it open; BlockingIOError when patience (seconds) ends."""
    end = time.monotonic() + patience
    while True:
        try:
            return h5py.File(path, mode)
        except OSError as error:
            # HDF5 reports another process as a lock, and this process with a message only.
            if not isinstance(error, BlockingIOError) and "already open" not in str(error):
                raise
            if time.monotonic() >= end:
                raise BlockingIOError(error.errno, str(error)) from error
            time.sleep(0.05)
