"""HDF5 files of QM-labelled configurations (schema ``kstep-frames``, version 1).

Layout (T frames of n atoms; units nm, ps, kJ/mol, e)::

    /                      attributes: schema, version, frames (T), units, level_of_theory, charge, multiplicity,
                           software, command
    /numbers [n]           atomic numbers
    /masses [n]            amu
    /bonds [b,2]           molecular graph, indices into the region
    /names [n]             atom names (optional)
    /frames/positions [T,n,3]   energy [T]   forces [T,n,3]   charges [T,n]   dipole [T,3] (e nm)
            trajectory [T]   time [T]   temperature [T]
    /environment/          absent in the gas phase
            potential [T,n]              kJ/mol/e, of the effective charges at the region atoms (bare Coulomb)
            potential_gradient [T,n,3]   kJ/mol/e/nm
            offset [T+1]                 charges of frame t are rows offset[t] .. offset[t+1]-1 of the arrays below
            positions [M,3]   charges [M] (effective)   forces [M,3]

All forces are negative derivatives at *fixed* environment charges: the derivative of switched charges with respect to
positions belongs to whoever switches them. Environment rows are stored in single precision (1e-7 relative), everything
else in double.

The writer keeps the file closed between flushes, so that it can be read at any moment, and states the number of
complete frames last: whatever an interrupted flush left behind is ignored by readers and cut off on resume. HDF5 locks
the file between reader and writer: a reader waits for a flush in progress, and a flush that meets a reader is put off
until the next one.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

# How long a reader waits for a flush, and the last flush for readers, before giving up (seconds).
_PATIENCE = 60.0

SCHEMA = "kstep-frames"
VERSION = 1
UNITS: Mapping[str, str] = {"length": "nm", "time": "ps", "energy": "kJ/mol", "mass": "amu", "charge": "e"}

Array = NDArray[Any]
FloatArray = NDArray[np.float64]

# name -> (trailing shape with "n" for the number of atoms, stored type)
_FRAME_FIELDS: Mapping[str, tuple[tuple[int | str, ...], str]] = {
    "positions": (("n", 3), "f8"),
    "energy": ((), "f8"),
    "forces": (("n", 3), "f8"),
    "charges": (("n",), "f8"),
    "dipole": ((3,), "f8"),
    "trajectory": ((), "i8"),
    "time": ((), "f8"),
    "temperature": ((), "f8"),
}
_SITE_FIELDS: Mapping[str, tuple[tuple[int | str, ...], str]] = {
    "potential": (("n",), "f8"),
    "potential_gradient": (("n", 3), "f8"),
}
_ROW_FIELDS: Mapping[str, tuple[tuple[int, ...], str]] = {
    "positions": ((3,), "f4"),
    "charges": ((), "f4"),
    "forces": ((3,), "f4"),
}


class FrameFileError(ValueError):
    """A frames file, or a frame on its way into one, is not what it should be."""


@dataclass(frozen=True)
class RegionDescription:
    """What all frames of one file have in common.

    Attributes:
        numbers: atomic numbers [n].
        masses: atomic masses [n], amu.
        bonds: molecular graph [b,2], indices into the region; may be empty.
        charge: total charge of the region, e.
        multiplicity: spin multiplicity (1 is closed shell).
        level_of_theory: method and settings that made the labels; any JSON object.
        software: name -> version of the programs that made the labels.
        command: the command line that made the file.
        names: atom names [n], or empty.
    """

    numbers: NDArray[np.int64]
    masses: FloatArray
    bonds: NDArray[np.int64]
    charge: int
    multiplicity: int
    level_of_theory: Mapping[str, Any]
    software: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "numbers", np.asarray(self.numbers, dtype=np.int64))
        set_(self, "masses", np.asarray(self.masses, dtype=np.float64))
        set_(self, "bonds", np.asarray(self.bonds, dtype=np.int64).reshape(-1, 2))
        set_(self, "names", tuple(str(name) for name in self.names))
        n = len(self.numbers)
        if self.numbers.ndim != 1 or n == 0:
            raise FrameFileError("the region needs at least one atom: pass its atomic numbers as a list")
        if np.any(self.numbers < 1) or np.any(self.numbers > 118):
            raise FrameFileError(f"atomic numbers must lie between 1 and 118, got {sorted(set(self.numbers.tolist()))}")
        if self.masses.shape != (n,) or not np.all(np.isfinite(self.masses)) or np.any(self.masses < 0):
            raise FrameFileError(f"masses must be {n} finite non-negative numbers, one per atom")
        if self.bonds.size and (self.bonds.min() < 0 or self.bonds.max() >= n):
            raise FrameFileError(f"bonds must index the region's {n} atoms (0 to {n - 1}), got {self.bonds.max()}")
        if np.any(self.bonds[:, 0] == self.bonds[:, 1]):
            raise FrameFileError("a bond must join two different atoms")
        if self.names and len(self.names) != n:
            raise FrameFileError(f"{len(self.names)} atom names given for {n} atoms")
        if self.multiplicity < 1:
            raise FrameFileError(f"multiplicity must be at least 1, got {self.multiplicity}")

    def difference(self, other: RegionDescription) -> str | None:
        """Why frames of ``other`` do not belong with frames of this region, or None if they do."""
        if not np.array_equal(self.numbers, other.numbers):
            return "the atomic numbers differ"
        if not np.array_equal(_sorted_bonds(self.bonds), _sorted_bonds(other.bonds)):
            return "the bonds differ"
        if (self.charge, self.multiplicity) != (other.charge, other.multiplicity):
            return (
                f"charge and multiplicity differ ({self.charge}, {self.multiplicity} "
                f"against {other.charge}, {other.multiplicity})"
            )
        if _plain(self.level_of_theory) != _plain(other.level_of_theory):
            return f"the levels of theory differ ({self.level_of_theory} against {other.level_of_theory})"
        return None


@dataclass(frozen=True)
class Environment:
    """The embedding charges of one frame (m of them) and what they do to the region (n atoms).

    Attributes:
        potential: potential of the effective charges at the region atoms [n], kJ/mol/e.
        potential_gradient: its gradient [n,3], kJ/mol/e/nm.
        positions: of the charges, in the image seen by the region [m,3], nm.
        charges: effective (switched) charges [m], e.
        forces: on the charges at fixed charge [m,3], kJ/mol/nm.
    """

    potential: ArrayLike
    potential_gradient: ArrayLike
    positions: ArrayLike
    charges: ArrayLike
    forces: ArrayLike


@dataclass(frozen=True)
class Frame:
    """One labelled configuration; shapes and units as in the module's table.

    Attributes:
        positions: [n,3] nm.
        energy: kJ/mol.
        forces: [n,3] kJ/mol/nm, at fixed environment charges.
        charges: atomic charges [n], e.
        dipole: [3] e nm.
        trajectory: index of the independent trajectory the frame belongs to (splits never divide one).
        time: ps since the start of that trajectory.
        temperature: of its thermostat, K (0 for NVE).
        environment: None in the gas phase.
    """

    positions: ArrayLike
    energy: float
    forces: ArrayLike
    charges: ArrayLike
    dipole: ArrayLike
    trajectory: int
    time: float
    temperature: float
    environment: Environment | None = None


class FrameWriter:
    """Appends frames to a file; use as a context manager, or call :meth:`close`.

    Frames are collected in memory and reach the disk with :meth:`flush`, which happens by itself every ``flush_every``
    frames. Killed at any time, the file loses at most the frames since the last flush.

    Args:
        path: the file; its folder must exist.
        region: what all frames have in common.
        environment: whether frames carry an environment; all frames of a file do or none does.
        resume: continue an existing file of the same region instead of refusing to touch it. A file that does not
            exist yet is started.
        flush_every: frames per flush.

    Raises:
        FrameFileError: the file exists and ``resume`` is false, or it cannot be continued with this region.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        region: RegionDescription,
        environment: bool = False,
        resume: bool = False,
        flush_every: int = 50,
    ) -> None:
        if flush_every < 1:
            raise FrameFileError(f"flush_every must be at least 1, got {flush_every}")
        self.path = Path(path)
        self.region = region
        self.environment = environment
        self._flush_every = flush_every
        self._pending: list[Frame] = []
        self._written = 0
        if not self.path.parent.is_dir():
            raise FrameFileError(f"{self.path.parent} is not a folder: create it before writing {self.path.name}")
        if not self.path.exists():
            self._create()
        elif resume:
            self._continue()
        else:
            raise FrameFileError(f"{self.path} exists already: pass resume=True to continue it, or remove it")

    def __len__(self) -> int:
        """Frames in the file and on their way to it."""
        return self._written + len(self._pending)

    def append(self, frame: Frame) -> None:
        """Take one frame.

        Raises:
            FrameFileError: a shape is wrong, a value is not finite, or an environment is missing or unexpected.
        """
        self._pending.append(self._checked(frame))
        if len(self._pending) >= self._flush_every:
            self.flush()

    def flush(self) -> None:
        """Write the collected frames to disk, unless someone is reading the file; they are kept for later then."""
        self._flush(patience=0.0)

    def _flush(self, patience: float) -> None:
        if not self._pending:
            return
        try:
            file = _opened(self.path, "r+", patience)
        except BlockingIOError:
            return
        start, stop = self._written, self._written + len(self._pending)
        with file:
            _extend(file["frames"], _FRAME_FIELDS, self._pending, start, stop)
            if self.environment:
                environments = [f.environment for f in self._pending if f.environment is not None]
                group = file["environment"]
                _extend(group, _SITE_FIELDS, environments, start, stop)
                row = int(group["offset"][start])
                ends = row + np.cumsum([len(np.asarray(e.charges)) for e in environments])
                for name in _ROW_FIELDS:
                    data = group[name]
                    data.resize(int(ends[-1]), axis=0)
                    data[row:] = np.concatenate([np.asarray(getattr(e, name)) for e in environments])
                group["offset"].resize(stop + 1, axis=0)
                group["offset"][start + 1 :] = ends
            # Data first, the count of complete frames last: an interrupted flush leaves the old count.
            file.flush()
            file.attrs["frames"] = stop
        self._written = stop
        self._pending.clear()

    def close(self) -> None:
        """Write what is left; the writer must not be used afterwards.

        Raises:
            FrameFileError: someone kept the file open for a minute, so the last frames could not be written.
        """
        self._flush(patience=_PATIENCE)
        if self._pending:
            raise FrameFileError(
                f"{self.path} is kept open by another program: {len(self._pending)} frames could not be written. "
                "Close whatever reads it, or copy the file before reading it for long"
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Also after an error: the frames collected so far were complete and cost QM calls.
        self.close()

    def _create(self) -> None:
        region = self.region
        n = len(region.numbers)
        # Written under another name first, so that a file with the right name always has its complete header.
        partial = self.path.with_name(self.path.name + ".partial")
        with h5py.File(partial, "w") as file:
            file.attrs["schema"] = SCHEMA
            file.attrs["version"] = VERSION
            file.attrs["frames"] = 0
            file.attrs["units"] = json.dumps(dict(UNITS))
            file.attrs["level_of_theory"] = json.dumps(_plain(region.level_of_theory))
            file.attrs["charge"] = region.charge
            file.attrs["multiplicity"] = region.multiplicity
            file.attrs["software"] = json.dumps(dict(region.software))
            file.attrs["command"] = region.command
            file["numbers"] = region.numbers
            file["masses"] = region.masses
            file["bonds"] = region.bonds
            if region.names:
                file.create_dataset("names", data=list(region.names), dtype=h5py.string_dtype())
            _create_fields(file.create_group("frames"), _FRAME_FIELDS, n, self._flush_every)
            if self.environment:
                group = file.create_group("environment")
                _create_fields(group, _SITE_FIELDS, n, self._flush_every)
                _create_fields(group, _ROW_FIELDS, n, 4096)
                group.create_dataset("offset", data=np.zeros(1, np.int64), maxshape=(None,), chunks=(1024,))
        partial.replace(self.path)

    def _continue(self) -> None:
        with FrameFile(self.path) as present:
            reason = self.region.difference(present.region)
            if reason is None and present.has_environment != self.environment:
                reason = "only one of the two has an environment"
            if reason is not None:
                raise FrameFileError(f"{self.path} cannot be continued: {reason}. Write to another file")
            self._written = len(present)
            row = int(present.environment_offset[-1]) if self.environment else 0
        with _opened(self.path, "r+", _PATIENCE) as file:
            for name in _FRAME_FIELDS:
                file["frames"][name].resize(self._written, axis=0)
            if self.environment:
                group = file["environment"]
                for name in _SITE_FIELDS:
                    group[name].resize(self._written, axis=0)
                for name in _ROW_FIELDS:
                    group[name].resize(row, axis=0)
                group["offset"].resize(self._written + 1, axis=0)

    def _checked(self, frame: Frame) -> Frame:
        n, index = len(self.region.numbers), len(self)
        values = {
            name: _array(getattr(frame, name), shape, n, name, index) for name, (shape, _) in _FRAME_FIELDS.items()
        }
        if (frame.environment is not None) != self.environment:
            state = "has no environment" if self.environment else "has an environment"
            raise FrameFileError(
                f"frame {index} {state}, unlike the file {self.path.name}: keep them in separate files"
            )
        environment = None
        if frame.environment is not None:
            m = len(np.asarray(frame.environment.charges))
            parts = {
                name: _array(getattr(frame.environment, name), shape, n, f"environment.{name}", index)
                for name, (shape, _) in _SITE_FIELDS.items()
            }
            for name, (shape, _) in _ROW_FIELDS.items():
                parts[name] = _array(getattr(frame.environment, name), (m, *shape), n, f"environment.{name}", index)
            environment = Environment(**parts)
        return Frame(environment=environment, **values)  # type: ignore[arg-type]


class FrameFile:
    """Reads a frames file; use as a context manager, or call :meth:`close`.

    Arrays are returned for all complete frames (``len(file)`` of them), as float64.

    Raises:
        FrameFileError: not a frames file, of another version or units, damaged, or with inconsistent shapes.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FrameFileError(f"{self.path} does not exist: make it with `kstep generate`, or check the path")
        try:
            self._file = _opened(self.path, "r", _PATIENCE)
        except BlockingIOError as error:
            raise FrameFileError(f"{self.path} is kept open for writing by another program: close it first") from error
        except OSError as error:
            raise FrameFileError(
                f"{self.path} is not a readable HDF5 file ({error}); if it was cut off while copying, copy it again"
            ) from error
        try:
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
        attributes = dict(self._file.attrs)
        attributes["software"] = json.loads(attributes.get("software", "{}"))
        return attributes

    def frames(self, name: str) -> Array:
        """One of positions, energy, forces, charges, dipole, trajectory, time, temperature, for all frames."""
        if name not in _FRAME_FIELDS:
            raise FrameFileError(f"frames have no field {name!r}; they have {', '.join(_FRAME_FIELDS)}")
        return self._file["frames"][name][: self._frames]

    def sites(self, name: str) -> FloatArray:
        """``potential`` [T,n] or ``potential_gradient`` [T,n,3] at the region atoms."""
        if not self.has_environment:
            raise FrameFileError(f"{self.path} has gas-phase frames: there is no environment")
        if name not in _SITE_FIELDS:
            raise FrameFileError(f"the environment has no field {name!r}; it has {', '.join(_SITE_FIELDS)}")
        return self._file["environment"][name][: self._frames]

    @property
    def environment_offset(self) -> NDArray[np.int64]:
        """First environment row of each frame, and one past the last [T+1]."""
        return self._file["environment"]["offset"][: self._frames + 1]

    def environment(self, index: int) -> Environment:
        """The environment charges of one frame."""
        if not 0 <= index < self._frames:
            raise FrameFileError(f"{self.path} has frames 0 to {self._frames - 1}, not {index}")
        if not self.has_environment:
            raise FrameFileError(f"{self.path} has gas-phase frames: there is no environment")
        group = self._file["environment"]
        start, stop = (int(value) for value in group["offset"][index : index + 2])
        rows = {name: group[name][start:stop].astype(np.float64) for name in _ROW_FIELDS}
        return Environment(**{name: group[name][index] for name in _SITE_FIELDS}, **rows)

    def frame(self, index: int) -> Frame:
        """One frame with everything that belongs to it."""
        if not 0 <= index < self._frames:
            raise FrameFileError(f"{self.path} has frames 0 to {self._frames - 1}, not {index}")
        values = {name: self._file["frames"][name][index] for name in _FRAME_FIELDS}
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
            for name in _SITE_FIELDS:
                digest.update(np.ascontiguousarray(self.sites(name), dtype="<f8").tobytes())
        return f"sha256:{digest.hexdigest()}"

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
        attributes = self._file.attrs
        if attributes.get("schema") != SCHEMA:
            raise FrameFileError(f"{self.path} is an HDF5 file, but not one of frames (no schema {SCHEMA!r})")
        if int(attributes.get("version", 0)) != VERSION:
            raise FrameFileError(
                f"{self.path} has schema version {attributes.get('version')}, this program reads {VERSION}: "
                "use the openmm-kstep release that wrote it, or make the frames anew"
            )
        if _parsed(attributes, "units", self.path) != dict(UNITS):
            raise FrameFileError(f"{self.path} has units {attributes.get('units')}, expected {json.dumps(dict(UNITS))}")
        missing = [name for name in ("numbers", "masses", "bonds", "frames") if name not in self._file]
        missing += [name for name in ("frames", "charge", "multiplicity") if name not in attributes]
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
            level_of_theory=_parsed(attributes, "level_of_theory", self.path),
            software=_parsed(attributes, "software", self.path),
            command=str(attributes.get("command", "")),
            names=tuple(names),
        )

    def _check_shapes(self) -> None:
        n = len(self.region.numbers)
        groups: list[tuple[str, Mapping[str, tuple[tuple[int | str, ...], str]]]] = [("frames", _FRAME_FIELDS)]
        if self.has_environment:
            groups.append(("environment", _SITE_FIELDS))
        for group, fields in groups:
            for name, (shape, _) in fields.items():
                wanted = tuple(n if size == "n" else size for size in shape)
                self._check_one(f"{group}/{name}", self._frames, wanted)
        if self.has_environment:
            self._check_one("environment/offset", self._frames + 1, ())
            offset = self.environment_offset
            if offset[0] != 0 or np.any(np.diff(offset) < 0):
                raise FrameFileError(f"{self.path}: environment/offset must start at 0 and never decrease")
            for name, (row_shape, _) in _ROW_FIELDS.items():
                self._check_one(f"environment/{name}", int(offset[-1]), row_shape)

    def _check_one(self, name: str, rows: int, trailing: tuple[int | str, ...]) -> None:
        if name not in self._file:
            raise FrameFileError(f"{self.path} is incomplete: it lacks {name}. Make it anew")
        shape = self._file[name].shape
        if shape[0] < rows or shape[1:] != trailing:
            raise FrameFileError(
                f"{self.path}: {name} has shape {list(shape)}, expected at least {rows} rows of {list(trailing)}; "
                "the file is damaged, make it anew"
            )


def _opened(path: Path, mode: str, patience: float) -> h5py.File:
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


def _array(value: Any, shape: Sequence[int | str], n: int, name: str, index: int) -> Array:
    wanted = tuple(n if size == "n" else size for size in shape)
    array = np.asarray(value, dtype=np.float64)
    if array.shape != wanted:
        raise FrameFileError(f"frame {index}: {name} has shape {list(array.shape)}, expected {list(wanted)}")
    if not np.all(np.isfinite(array)):
        raise FrameFileError(f"frame {index}: {name} has values that are not finite; the QM calculation failed there")
    # A copy: callers reuse their buffers between appending and flushing.
    return array.copy()


def _create_fields(
    group: h5py.Group, fields: Mapping[str, tuple[tuple[Any, ...], str]], n: int, chunk_rows: int
) -> None:
    for name, (shape, kind) in fields.items():
        trailing = tuple(n if size == "n" else int(size) for size in shape)
        group.create_dataset(
            name, shape=(0, *trailing), maxshape=(None, *trailing), chunks=(chunk_rows, *trailing), dtype=kind
        )


def _extend(group: h5py.Group, fields: Mapping[str, Any], items: Sequence[Any], start: int, stop: int) -> None:
    for name in fields:
        data = group[name]
        data.resize(stop, axis=0)
        data[start:] = np.stack([np.asarray(getattr(item, name)) for item in items])


def _sorted_bonds(bonds: NDArray[np.int64]) -> list[tuple[int, int]]:
    return sorted((int(min(pair)), int(max(pair))) for pair in bonds)


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """The mapping as JSON would give it back (tuples become lists, keys strings)."""
    result: dict[str, Any] = json.loads(json.dumps(dict(value), sort_keys=True))
    return result


def _parsed(attributes: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    try:
        value = json.loads(attributes.get(name, "{}"))
    except (TypeError, json.JSONDecodeError) as error:
        raise FrameFileError(f"{path}: attribute {name} is not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise FrameFileError(f"{path}: attribute {name} must be a JSON object")
    return value
