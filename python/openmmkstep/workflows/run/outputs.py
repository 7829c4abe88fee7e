"""The files that grow during production, and how they are taken up again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path

import openmm
from openmm import app

from kstep_models.files import named_errors
from openmmkstep.io import dcd, frames
from openmmkstep.io.digests import BytesDigest, DamagedFileError, Extent, FramesDigest, RunningDigest

_REMEDY = "restore it from a copy, or pass --fresh to start the run anew"


class GrowingOutput(ABC):
    """An output file and the digest of what is in it.

    Args:
        path: Path of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._digest = self._new_digest()

    def extent(self) -> Extent | None:
        """What is on disk now; None where nothing has been written yet."""
        size = self._size() if self.path.is_file() else 0
        return self._digest.extend(size) if size else None

    def check(self, extent: Extent | None) -> None:
        """Make sure that the first part of the file is what was written; None for nothing.

        Raises:
            DamagedFileError: it is not; names the file and the remedy.
        """
        self._digest = self._new_digest()
        if extent is None:
            return
        try:
            found = self._digest.extend(extent.size)
        except ValueError as error:
            raise DamagedFileError(f"{error}: {_REMEDY}") from error
        if found != extent:
            raise DamagedFileError(f"{self.path} is not as the run left it: {_REMEDY}")

    def cut(self, extent: Extent | None) -> None:
        """Throw away what was written after a part that was checked; None for everything."""
        if extent is None:
            self.path.unlink(missing_ok=True)
        else:
            self._cut(extent.size)

    @abstractmethod
    def _new_digest(self) -> RunningDigest: ...

    @abstractmethod
    def _size(self) -> int: ...

    @abstractmethod
    def _cut(self, size: int) -> None: ...


class GrowingTable(GrowingOutput):
    """A table to which lines are added."""

    def _new_digest(self) -> RunningDigest:
        return BytesDigest(self.path)

    def _size(self) -> int:
        return self.path.stat().st_size

    def _cut(self, size: int) -> None:
        with self.path.open("r+b") as file:
            file.truncate(size)


class Trajectory(GrowingOutput):
    """A DCD file, whose header goes on naming the step and the interval with which it began."""

    def complete_header(self) -> None:
        """Make the header of a file that was continued name the right last step."""
        if self.path.is_file() and self._size():
            dcd.keep_frames(self.path, dcd.count_frames(self.path))

    def _new_digest(self) -> RunningDigest:
        return BytesDigest(self.path, dcd.CHANGING_BYTES)

    def _size(self) -> int:
        return dcd.size_of_frames(self.path)

    def _cut(self, size: int) -> None:
        with self.path.open("r+b") as file:
            file.truncate(size)
        self.complete_header()


class TrajectoryReporter(app.DCDReporter):
    """Writes a DCD file, or continues one; where there is no room it says so once, with the file's name.

    Args:
        path: Path of the file.
        interval: outer steps between frames.
    """

    def __init__(self, path: Path, interval: int) -> None:
        super().__init__(str(path), interval, append=path.exists() and path.stat().st_size > 0)
        self._path = path

    def report(self, simulation: app.Simulation, state: openmm.State) -> None:
        """Write a frame. Raises OSError."""
        try:
            with named_errors(self._path):
                super().report(simulation, state)
        except OSError:
            # What could not be written would be tried again when the object is thrown away.
            with suppress(OSError):
                self._out.close()
            raise


class LabelledFrames(GrowingOutput):
    """An HDF5 file of frames."""

    def _new_digest(self) -> RunningDigest:
        return FramesDigest(self.path)

    def _size(self) -> int:
        return frames.count_frames(self.path)

    def _cut(self, size: int) -> None:
        if frames.count_frames(self.path) > size:
            frames.keep_frames(self.path, size)
