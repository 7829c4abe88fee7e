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

from .errors import NWChemRunError
from .restart_file import TITLE, DensityMatrices, parse_restart

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
        self._error: Exception | None = None
        self._searched = 0
        self._stop = threading.Event()
        self._descriptor = -1
        self._thread = threading.Thread(target=self._read, name="nwchem-densities", daemon=True)

    def __enter__(self) -> DensityStream:
        """Make the pipe and begin to read; NWChemRunError where there can be none."""
        self._path.unlink(missing_ok=True)
        try:
            os.mkfifo(self._path, 0o600)
        except OSError as error:
            raise NWChemRunError(
                f"{self._path}: no named pipe can be made there ({error.strerror}), which all densities need: use a "
                "folder on a local disk"
            ) from error
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
                self._split(keep_last=True)
            elif last:
                self._split(keep_last=False)
                return

    def _split(self, keep_last: bool) -> None:
        """Take complete files from the beginning of the buffer."""
        while self._buffer:
            end = self._buffer.find(TITLE, max(self._searched, len(TITLE)))
            if end < 0:
                if keep_last:
                    # A title may have come in part.
                    self._searched = len(self._buffer) - len(TITLE)
                    return
                end = len(self._buffer)
            self._searched = 0
            content = bytes(self._buffer[:end])
            del self._buffer[:end]
            if self._error is None:
                try:
                    self._densities.append(
                        parse_restart(content, f"{self._path.name}, matrix {len(self._densities) + 1}")
                    )
                except Exception as error:
                    # Raised later: without a reader NWChem would wait for ever.
                    self._error = error
