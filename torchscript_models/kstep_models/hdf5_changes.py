"""Writing HDF5 files that are whole at any moment, whenever the disk is full or the power goes.

HDF5 itself cannot take a write that fails: the file is left torn, and the process ends in a segmentation fault when the
library closes it once more. Here it writes to memory, and the changes reach the disk all together
(:mod:`kstep_models.journal`).
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from kstep_models import journal
from kstep_models.files import replaced_atomically
from kstep_models.hdf5 import PATIENCE, wait_for

# What this version of the library writes about a file's structure has checksums. Without them one wrong bit makes it
# read forever or ends the process.
_LIBRARY_VERSION = "v110"


@contextmanager
def created(path: Path) -> Iterator[h5py.File]:
    """A new file, which is put in place, whole, at the end; nothing is left of it after an error.

    Args:
        path: Path of the file; one that is there is replaced.

    Raises:
        OSError: it cannot be written.
    """
    with replaced_atomically(path) as partial, partial.open("w+b", buffering=0) as target:
        overlay = journal.Overlay(target.fileno())
        with h5py.File(overlay, "w", libver=_LIBRARY_VERSION) as file:
            yield file
        journal.write(target.fileno(), overlay)
        # Of a file that was here before and is no more.
        journal.journal_path(path).unlink(missing_ok=True)


@contextmanager
def changed(path: Path, patience: float = PATIENCE) -> Iterator[h5py.File]:
    """The file for reading and writing; the changes are made at the end, all together, and none after an error.

    Args:
        path: Path of the file.
        patience: seconds to wait for whoever has it open.

    Raises:
        BlockingIOError: somebody still has the file open when patience ends.
        OSError: it cannot be read, or there is no room for the changes; it is then as it was.
    """
    with path.open("r+b", buffering=0) as target:
        wait_for(lambda: fcntl.flock(target, fcntl.LOCK_EX | fcntl.LOCK_NB), patience)
        journal.recover(path, target.fileno())
        overlay = journal.Overlay(target.fileno())
        with h5py.File(overlay, "r+", libver=_LIBRARY_VERSION) as file:
            yield file
        journal.commit(path, target.fileno(), overlay)
