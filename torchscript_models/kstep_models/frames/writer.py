"""Writing frames, a few at a time, so that a file is readable and whole at any moment."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np

from kstep_models.frames.reader import FrameFile
from kstep_models.frames.schema import (
    FRAME_FIELDS,
    OBSERVABLES,
    ROW_FIELDS,
    SCHEMA,
    SITE_FIELDS,
    Array,
    Environment,
    Frame,
    FrameFileError,
    RegionDescription,
    plain,
)
from kstep_models.hdf5 import PATIENCE, write_text
from kstep_models.hdf5_changes import changed, created


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
            raise FrameFileError(f"{self.path} exists already: continue it (resume=True, --resume), or remove it")

    def __len__(self) -> int:
        """Frames in the file and on their way to it."""
        return self._written + len(self._pending)

    def append(self, frame: Frame) -> None:
        """Take one frame; every so many, write them. What meets a reader of the file is written with a later frame.

        Raises:
            FrameFileError: a shape is wrong, a value is not finite, or an environment is missing or unexpected.
            OSError: there is no room for the frames, which are kept; the file is as it was.
        """
        self._pending.append(self._checked(frame))
        if len(self._pending) >= self._flush_every:
            self.flush()

    def flush(self, patience: float = 0.0) -> bool:
        """Write the collected frames to disk, unless someone is reading the file; they are kept for later then.

        Args:
            patience: how long to wait for whoever reads the file, seconds.

        Returns:
            Whether all frames are in the file.

        Raises:
            OSError: there is no room for the frames, which are kept; the file is as it was.
        """
        if not self._pending:
            return True
        start, stop = self._written, self._written + len(self._pending)
        try:
            with changed(self.path, patience) as file:
                self._write(file, start, stop)
        except BlockingIOError:
            return False
        self._written = stop
        self._pending.clear()
        return True

    def _write(self, file: h5py.File, start: int, stop: int) -> None:
        _extend(file["frames"], FRAME_FIELDS, self._pending, start, stop)
        if self.environment:
            environments = [f.environment for f in self._pending if f.environment is not None]
            group = file["environment"]
            _extend(group, SITE_FIELDS, environments, start, stop)
            row = int(group["offset"][start])
            ends = row + np.cumsum([len(np.asarray(e.charges)) for e in environments])
            for name in ROW_FIELDS:
                data = group[name]
                data.resize(int(ends[-1]), axis=0)
                data[row:] = np.concatenate([np.asarray(getattr(e, name)) for e in environments])
            group["offset"].resize(stop + 1, axis=0)
            group["offset"][start + 1 :] = ends
        file.attrs["frames"] = stop

    def close(self) -> None:
        """Write what is left, waiting for whoever reads the file.

        Raises:
            FrameFileError: someone kept the file open for a minute, so the last frames could not be written; they are
                still here, and another attempt may be made.
        """
        if not self.flush(PATIENCE):
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
        texts = {
            "level_of_theory": json.dumps(plain(region.level_of_theory)),
            "software": json.dumps(dict(region.software)),
            "command": region.command,
        }
        with created(self.path) as file:
            SCHEMA.write_head(file)
            for name, text in texts.items():
                write_text(file.attrs, name, text)
            file.attrs["frames"] = 0
            file.attrs["charge"] = region.charge
            file.attrs["multiplicity"] = region.multiplicity
            for name in ("numbers", "masses", "bonds"):
                values = getattr(region, name)
                file.create_dataset(name, data=values, fletcher32=values.size > 0)
            if region.names:
                names = [name.encode() for name in region.names]
                kind = h5py.string_dtype(length=max(map(len, names)))
                file.create_dataset("names", data=names, dtype=kind, fletcher32=True)
            _create_fields(file.create_group("frames"), FRAME_FIELDS, n, self._flush_every)
            if self.environment:
                group = file.create_group("environment")
                _create_fields(group, SITE_FIELDS, n, self._flush_every)
                _create_fields(group, ROW_FIELDS, n, 4096)
                offset = np.zeros(1, np.int64)
                group.create_dataset("offset", data=offset, maxshape=(None,), chunks=(1024,), fletcher32=True)

    def _continue(self) -> None:
        with FrameFile(self.path) as present:
            reason = self.region.difference(present.region)
            if reason is None and present.has_environment != self.environment:
                reason = "only one of the two has an environment"
            if reason is not None:
                raise FrameFileError(f"{self.path} cannot be continued: {reason}. Write to another file")
            self._written = len(present)
            row = int(present.environment_offset[-1]) if self.environment else 0
        with changed(self.path) as file:
            for name in FRAME_FIELDS:
                file["frames"][name].resize(self._written, axis=0)
            if self.environment:
                group = file["environment"]
                for name in SITE_FIELDS:
                    group[name].resize(self._written, axis=0)
                for name in ROW_FIELDS:
                    group[name].resize(row, axis=0)
                group["offset"].resize(self._written + 1, axis=0)

    def _checked(self, frame: Frame) -> Frame:
        n, index = len(self.region.numbers), len(self)
        values = {
            name: _array(getattr(frame, name), shape, n, name, index) for name, (shape, _) in FRAME_FIELDS.items()
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
                for name, (shape, _) in SITE_FIELDS.items()
            }
            for name, (shape, _) in ROW_FIELDS.items():
                parts[name] = _array(getattr(frame.environment, name), (m, *shape), n, f"environment.{name}", index)
            environment = Environment(**parts)
        return Frame(environment=environment, **values)  # type: ignore[arg-type]


def _array(value: Any, shape: Sequence[int | str], n: int, name: str, index: int) -> Array:
    wanted = tuple(n if size == "n" else size for size in shape)
    array = np.asarray(value, dtype=np.float64)
    if array.shape != wanted:
        raise FrameFileError(f"frame {index}: {name} has shape {list(array.shape)}, expected {list(wanted)}")
    untold = name in OBSERVABLES and np.all(np.isnan(array))
    if not untold and not np.all(np.isfinite(array)):
        raise FrameFileError(f"frame {index}: {name} has values that are not finite; the QM calculation failed there")
    # A copy: callers reuse their buffers between appending and flushing.
    return array.copy()


def _create_fields(
    group: h5py.Group, fields: Mapping[str, tuple[tuple[Any, ...], str]], n: int, chunk_rows: int
) -> None:
    for name, (shape, kind) in fields.items():
        trailing = tuple(n if size == "n" else int(size) for size in shape)
        group.create_dataset(
            name,
            shape=(0, *trailing),
            maxshape=(None, *trailing),
            chunks=(chunk_rows, *trailing),
            dtype=kind,
            fletcher32=True,
        )


def _extend(group: h5py.Group, fields: Mapping[str, Any], items: Sequence[Any], start: int, stop: int) -> None:
    for name in fields:
        data = group[name]
        data.resize(stop, axis=0)
        data[start:] = np.stack([np.asarray(getattr(item, name)) for item in items])
