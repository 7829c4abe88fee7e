"""HDF5 files that other programs may have open, that are whole at any moment, and whose damage is noticed.

Reading goes through :func:`opened`, writing through :func:`created` and :func:`changed`. HDF5 itself cannot take a
write that fails: the file is left torn, and the process ends in a segmentation fault when the library closes it once
more. Here it writes to memory, and the changes reach the disk all together (:mod:`kstep_models.journal`).
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import h5py

from kstep_models import journal
from kstep_models.files import replaced_atomically

# How long a reader waits for a flush, and the last flush for readers, before giving up (seconds).
PATIENCE = 60.0

# What this version of the library writes about a file's structure has checksums. Without them one wrong bit makes it
# read forever or ends the process.
LIBRARY_VERSION = "v110"

_INTERVAL = 0.05
_Result = TypeVar("_Result")


def opened(path: Path, mode: str, patience: float) -> h5py.File:
    """The file, waiting for whoever has it open.

    Args:
        path: of the file.
        mode: of h5py.File. In "r+" HDF5 writes to the disk itself and must meet no error there: see :func:`changed`.
        patience: seconds.

    Raises:
        BlockingIOError: somebody still has the file open when patience ends.
        OSError: no such file, or it cannot be read.
    """

    def attempt() -> h5py.File:
        _recover(path)
        try:
            file = h5py.File(path, mode)
        except OSError as error:
            # HDF5 reports another process as a lock, and this process with a message only.
            if not isinstance(error, BlockingIOError) and "already open" in str(error):
                raise BlockingIOError(error.errno, str(error)) from error
            raise
        if journal.journal_path(path).exists():
            file.close()
            raise BlockingIOError(f"{path} is being changed")
        return file

    return _patiently(attempt, patience)


@contextmanager
def created(path: Path) -> Iterator[h5py.File]:
    """A new file, which is put in place, whole, at the end; nothing is left of it after an error.

    Args:
        path: of the file; one that is there is replaced.

    Raises:
        OSError: it cannot be written.
    """
    with replaced_atomically(path) as partial, partial.open("w+b", buffering=0) as target:
        overlay = journal.Overlay(target.fileno())
        with h5py.File(overlay, "w", libver=LIBRARY_VERSION) as file:
            yield file
        journal.write(target.fileno(), overlay)


@contextmanager
def changed(path: Path, patience: float) -> Iterator[h5py.File]:
    """The file for reading and writing; the changes are made at the end, all together, and none after an error.

    Args:
        path: of the file.
        patience: seconds to wait for whoever has it open.

    Raises:
        BlockingIOError: somebody still has the file open when patience ends.
        OSError: it cannot be read, or there is no room for the changes; it is then as it was.
    """
    with path.open("r+b", buffering=0) as target:
        _patiently(lambda: fcntl.flock(target, fcntl.LOCK_EX | fcntl.LOCK_NB), patience)
        journal.recover(path, target.fileno())
        overlay = journal.Overlay(target.fileno())
        with h5py.File(overlay, "r+", libver=LIBRARY_VERSION) as file:
            yield file
        journal.commit(path, target.fileno(), overlay)


def write_text(attributes: h5py.AttributeManager, name: str, text: str) -> None:
    """Set an attribute to text of a fixed length: only such text lies where HDF5 keeps checksums."""
    encoded = text.encode()
    attributes.create(name, encoded, dtype=h5py.string_dtype(length=max(1, len(encoded))))


def read_attributes(attributes: h5py.AttributeManager) -> dict[str, Any]:
    """All attributes, with text as str whether its length is fixed or not."""
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in attributes.items()}


def _recover(path: Path) -> None:
    """Finish what a writer that was killed had begun."""
    if not journal.journal_path(path).exists():
        return
    with path.open("r+b", buffering=0) as target:
        fcntl.flock(target, fcntl.LOCK_EX | fcntl.LOCK_NB)
        journal.recover(path, target.fileno())


def _patiently(attempt: Callable[[], _Result], patience: float) -> _Result:
    end = time.monotonic() + patience
    while True:
        try:
            return attempt()
        except BlockingIOError:
            if time.monotonic() >= end:
                raise
            time.sleep(_INTERVAL)
