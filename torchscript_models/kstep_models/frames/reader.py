"""Reading frames: whole arrays for training, single frames for everything else."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from kstep_models.frames.schema import (
    FRAME_FIELDS,
    ROW_FIELDS,
    SCHEMA,
    SITE_FIELDS,
    Array,
    Environment,
    FloatArray,
    Frame,
    FrameFileError,
    RegionDescription,
)
from kstep_models.hdf5 import read_attributes

# Of which all fields are in memory.
_FRAMES_AT_ONCE = 256


class FrameFile:
    """Reads a frames file; use as a context manager, or call :meth:`close`.

    Arrays are returned for all complete frames (``len(file)`` of them), as float64.

    Raises:
        FrameFileError: not a frames file, of another version or units, damaged, or with inconsistent shapes.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._file = SCHEMA.open(self.path)
        try:
            with SCHEMA.reading(self.path):
                self.region = self._read_header()
                self._check_shapes()
        except BaseException:
            self._file.close()
            raise

    def __len__(self) -> int:
        return self._frames

    @property
    def has_environment(self) -> bool:
        """Whether the frames were labelled in the field of environment charges."""
        return "environment" in self._file

    @property
    def attributes(self) -> dict[str, Any]:
        """Provenance: software, command and the like, as stored."""
        with SCHEMA.reading(self.path):
            return {**read_attributes(self._file.attrs), "software": self._json_object("software")}

    def frames(self, name: str) -> Array:
        """One of positions, energy, forces, charges, dipole, trajectory, time, temperature, for all frames."""
        if name not in FRAME_FIELDS:
            raise FrameFileError(f"frames have no field {name!r}; they have {', '.join(FRAME_FIELDS)}")
        with SCHEMA.reading(self.path):
            return self._file["frames"][name][: self._frames]

    def sites(self, name: str) -> FloatArray:
        """``potential`` [T,n] or ``potential_gradient`` [T,n,3] at the region atoms."""
        if not self.has_environment:
            raise FrameFileError(f"{self.path} has gas-phase frames: there is no environment")
        if name not in SITE_FIELDS:
            raise FrameFileError(f"the environment has no field {name!r}; it has {', '.join(SITE_FIELDS)}")
        with SCHEMA.reading(self.path):
            return self._file["environment"][name][: self._frames]

    @property
    def environment_offset(self) -> NDArray[np.int64]:
        """First environment row of each frame, and one past the last [T+1]."""
        with SCHEMA.reading(self.path):
            return self._file["environment"]["offset"][: self._frames + 1]

    def environment(self, index: int) -> Environment:
        """The environment charges of one frame."""
        if not 0 <= index < self._frames:
            raise FrameFileError(f"{self.path} has frames 0 to {self._frames - 1}, not {index}")
        if not self.has_environment:
            raise FrameFileError(f"{self.path} has gas-phase frames: there is no environment")
        with SCHEMA.reading(self.path):
            group = self._file["environment"]
            start, stop = (int(value) for value in group["offset"][index : index + 2])
            rows = {name: group[name][start:stop].astype(np.float64) for name in ROW_FIELDS}
            return Environment(**{name: group[name][index] for name in SITE_FIELDS}, **rows)

    def frame(self, index: int) -> Frame:
        """One frame with everything that belongs to it."""
        if not 0 <= index < self._frames:
            raise FrameFileError(f"{self.path} has frames 0 to {self._frames - 1}, not {index}")
        with SCHEMA.reading(self.path):
            values = {name: self._file["frames"][name][index] for name in FRAME_FIELDS}
        return Frame(**values, environment=self.environment(index) if self.has_environment else None)

    def __iter__(self) -> Iterator[Frame]:
        return (self.frame(index) for index in range(self._frames))

    def digest(self) -> str:
        """SHA-256 over what a model learns from, as ``sha256:<hex>``; independent of chunking and compression."""
        digest = hashlib.sha256()
        digest.update(np.ascontiguousarray(self.region.numbers, dtype="<i8").tobytes())
        for name in ("positions", "energy", "forces", "charges", "trajectory"):
            kind = "<i8" if name == "trajectory" else "<f8"
            digest.update(np.ascontiguousarray(self.frames(name), dtype=kind).tobytes())
        if self.has_environment:
            for name in SITE_FIELDS:
                digest.update(np.ascontiguousarray(self.sites(name), dtype="<f8").tobytes())
        return f"sha256:{digest.hexdigest()}"

    def check(self) -> None:
        """Read everything, which compares it with its checksums. Raises FrameFileError."""
        for _ in self.blocks(0, self._frames):
            pass

    def blocks(self, start: int, stop: int) -> Iterator[bytes]:
        """All that is in some frames, one after the other, as bytes for a digest; before the first, the region.

        Args:
            start: first frame.
            stop: last frame plus one.
        """
        if start == 0:
            region = self.region
            yield repr((region.charge, region.multiplicity, region.names, region.level_of_theory)).encode()
            for array in (region.numbers, region.masses, region.bonds):
                yield array.tobytes()
        for first in range(start, stop, _FRAMES_AT_ONCE):
            part = slice(first, min(first + _FRAMES_AT_ONCE, stop))
            yield from self._block(part)

    def _block(self, part: slice) -> Iterator[bytes]:
        with SCHEMA.reading(self.path):
            fields = [self._file["frames"][name][part] for name in FRAME_FIELDS]
            rows, offset = [], np.zeros(0, dtype=np.int64)
            if self.has_environment:
                group = self._file["environment"]
                fields += [group[name][part] for name in SITE_FIELDS]
                offset = group["offset"][part.start : part.stop + 1]
                rows = [group[name][offset[0] : offset[-1]] for name in ROW_FIELDS]
        for index in range(part.stop - part.start):
            for array in fields:
                yield np.ascontiguousarray(array[index]).tobytes()
            for array in rows:
                first, last = offset[index : index + 2] - offset[0]
                yield np.ascontiguousarray(array[first:last]).tobytes()

    def close(self) -> None:
        """Close the file; arrays already read stay valid."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read_header(self) -> RegionDescription:
        attributes = read_attributes(self._file.attrs)
        SCHEMA.require_attributes(self._file, ("frames", "charge", "multiplicity"))
        missing = [name for name in ("numbers", "masses", "bonds", "frames") if name not in self._file]
        if missing:
            raise FrameFileError(f"{self.path} is incomplete: it lacks {', '.join(missing)}. Make it anew")
        self._frames = int(attributes["frames"])
        names = [str(name) for name in self._file["names"].asstr()[:]] if "names" in self._file else []
        return RegionDescription(
            numbers=self._file["numbers"][:],
            masses=self._file["masses"][:],
            bonds=self._file["bonds"][:],
            charge=int(attributes["charge"]),
            multiplicity=int(attributes["multiplicity"]),
            level_of_theory=self._json_object("level_of_theory"),
            software=self._json_object("software"),
            command=str(attributes.get("command", "")),
            names=tuple(names),
        )

    def _json_object(self, name: str) -> dict[str, Any]:
        value = SCHEMA.parsed(self._file, name)
        if not isinstance(value, dict):
            raise FrameFileError(f"{self.path}: attribute {name} must be a JSON object")
        return value

    def _check_shapes(self) -> None:
        n = len(self.region.numbers)
        groups: list[tuple[str, Mapping[str, tuple[tuple[int | str, ...], str]]]] = [("frames", FRAME_FIELDS)]
        if self.has_environment:
            groups.append(("environment", SITE_FIELDS))
        for group, fields in groups:
            for name, (shape, _) in fields.items():
                trailing = tuple(n if size == "n" else int(size) for size in shape)
                self._check_rows(f"{group}/{name}", self._frames, trailing)
        if self.has_environment:
            self._check_rows("environment/offset", self._frames + 1, ())
            offset = self.environment_offset
            if offset[0] != 0 or np.any(np.diff(offset) < 0):
                raise FrameFileError(f"{self.path}: environment/offset must start at 0 and never decrease")
            for name, (row_shape, _) in ROW_FIELDS.items():
                self._check_rows(f"environment/{name}", int(offset[-1]), row_shape)

    def _check_rows(self, name: str, rows: int, trailing: tuple[int, ...]) -> None:
        SCHEMA.check_array(self._file, name, (rows, *trailing), growing=True)
