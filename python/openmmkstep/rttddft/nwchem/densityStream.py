"""All density matrices of a propagation, taken from NWChem as it runs.

NWChem overwrites one restart file. Looking at that file again and again can miss steps, which take only milliseconds
for small molecules, and can catch a file that is half written; snapshots have the real part only; and steps of their
own with restarts in between would lose digits and the history of the propagator. Therefore the restart file is a named
pipe here: NWChem opens it for writing as it would open a file, every matrix comes through whole and in order, and when
the reader is late NWChem waits.
"""

from __future__ import annotations

import os
import select
import threading
from pathlib import Path

from .errors import NWChemOutputError
from .restartFile import TITLE, DensityMatrices, parseRestart

_CHUNK = 1 << 16
_POLL_SECONDS = 0.05


class DensityStream:
    """Reads a named pipe in a thread; a context manager.

    The pipe exists while the context is open, and is removed at its end.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """A stream.

        Args:
            path: where NWChem writes its restart file; replaced if it exists.
        """
        self._path = Path(path)
        self._buffer = bytearray()
        self._densities: list[DensityMatrices] = []
        self._error: NWChemOutputError | None = None
        self._stop = threading.Event()
        self._descriptor = -1
        self._thread = threading.Thread(target=self._read, name="nwchem-densities", daemon=True)

    def __enter__(self) -> DensityStream:
        """Make the pipe and begin to read."""
        self._path.unlink(missing_ok=True)
        os.mkfifo(self._path, 0o600)
        # Open for reading and writing: the pipe never ends, however often NWChem closes it.
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_NONBLOCK)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop reading and remove the pipe."""
        self._finish()
        os.close(self._descriptor)
        self._path.unlink(missing_ok=True)

    def densities(self) -> list[DensityMatrices]:
        """All matrices that came, after NWChem has ended.

        Raises:
            NWChemOutputError: one of them was incomplete or damaged.
        """
        self._finish()
        if self._error is not None:
            raise self._error
        return self._densities

    def _finish(self) -> None:
        self._stop.set()
        self._thread.join()

    def _read(self) -> None:
        while True:
            # Asked before looking for data: what was written before the end is still read.
            last = self._stop.is_set()
            ready, _, _ = select.select([self._descriptor], [], [], 0.0 if last else _POLL_SECONDS)
            if ready:
                self._buffer += os.read(self._descriptor, _CHUNK)
                self._split(keepLast=True)
            elif last:
                self._split(keepLast=False)
                return

    def _split(self, keepLast: bool) -> None:
        """Take complete files from the beginning of the buffer."""
        while self._buffer:
            # Only the part that is new can contain the next title, but it is short work to look again.
            end = self._buffer.find(TITLE, len(TITLE))
            if end < 0:
                if keepLast:
                    return
                end = len(self._buffer)
            content = bytes(self._buffer[:end])
            del self._buffer[:end]
            if self._error is None:
                try:
                    self._densities.append(
                        parseRestart(content, f"{self._path.name}, matrix {len(self._densities) + 1}")
                    )
                except NWChemOutputError as error:
                    # NWChem is still given a reader, or it would wait for ever.
                    self._error = error
