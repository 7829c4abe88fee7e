"""Whether growing files are what a program left behind: running digests."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kstep_models.frames import FrameFile

_BLOCK = 1 << 20


class DamagedFileError(ValueError):
    """A file that is missing, or is not as the program left it."""


@dataclass(frozen=True)
class Extent:
    """How much of a growing file there is.

    Attributes:
        size: bytes, or frames.
        sha256: digest of them.
    """

    size: int
    sha256: str


class RunningDigest(Protocol):
    """Digest of the first part of a growing file; what was read once is not read again."""

    def extend(self, size: int) -> Extent:
        """The digest of the first bytes or frames, which are at least as many as before.

        Raises:
            DamagedFileError: there are fewer, or they cannot be read.
        """
        ...


class BytesDigest:
    """Running digest of a file that only grows at its end.

    Args:
        path: Path of the file.
        changing: ranges of bytes (first, last plus one) that do not count, ascending.
    """

    def __init__(self, path: Path, changing: Sequence[tuple[int, int]] = ()) -> None:
        self._path = path
        self._changing = changing
        self._digest = hashlib.sha256()
        self._done = 0

    def extend(self, size: int) -> Extent:
        """The digest of the first ``size`` bytes. Raises DamagedFileError."""
        if not self._path.is_file():
            raise DamagedFileError(f"{self._path} is missing")
        with self._path.open("rb") as file:
            file.seek(self._done)
            while self._done < size:
                block = file.read(min(_BLOCK, size - self._done))
                if not block:
                    raise DamagedFileError(f"{self._path} has {self._done} bytes where {size} were written")
                self._digest.update(self._without_changing(block))
                self._done += len(block)
        return Extent(size, self._digest.hexdigest())

    def _without_changing(self, block: bytes) -> bytes:
        if not self._changing or self._done >= self._changing[-1][1]:
            return block
        masked = bytearray(block)
        for first, last in self._changing:
            start, stop = max(first - self._done, 0), min(last - self._done, len(block))
            if start < stop:
                masked[start:stop] = bytes(stop - start)
        return bytes(masked)


class FramesDigest:
    """Running digest of a file of frames.

    Args:
        path: Path of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._digest = hashlib.sha256()
        self._done = 0

    def extend(self, size: int) -> Extent:
        """The digest of the first ``size`` frames. Raises DamagedFileError."""
        if not self._path.is_file():
            raise DamagedFileError(f"{self._path} is missing")
        with FrameFile(self._path) as file:
            if len(file) < size:
                raise DamagedFileError(f"{self._path} has {len(file)} frames where {size} were written")
            for block in file.blocks(self._done, size):
                self._digest.update(block)
        self._done = size
        return Extent(size, self._digest.hexdigest())
