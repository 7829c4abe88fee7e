"""HDF5 files: opening one that another program may have open, and what the heads of all kinds have in common."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

PATIENCE = 60.0
"""How long a reader waits for a flush, and the last flush for readers, before giving up (seconds)."""


def open_patiently(path: str | os.PathLike[str], mode: str = "r", patience: float = PATIENCE) -> h5py.File:
    """Open a file, waiting for whoever has it open: HDF5 locks it.

    Args:
        path: the file.
        mode: of h5py.File.
        patience: seconds to wait; 0 for one attempt.

    Raises:
        BlockingIOError: it is still open elsewhere when patience ends.
        OSError: it cannot be opened.
    """
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


@dataclass(frozen=True)
class Schema:
    """A kind of file: what its head says, and how one that is damaged or of another kind is refused.

    Attributes:
        name: in the attribute ``schema`` of the root.
        version: in the attribute ``version``.
        contents: what such files hold, in a word or two.
        made_by: the command or function that makes one.
        error: raised for a file that cannot be used.
        units: in the attribute ``units``, as JSON; None if such files say nothing about units there.
    """

    name: str
    version: int
    contents: str
    made_by: str
    error: type[ValueError]
    units: Mapping[str, str] | None = None

    def write_head(self, file: h5py.File) -> None:
        """Say in a new file what it is."""
        file.attrs["schema"] = self.name
        file.attrs["version"] = self.version
        if self.units is not None:
            file.attrs["units"] = json.dumps(dict(self.units))

    def open(self, path: str | os.PathLike[str], mode: str = "r", patience: float = PATIENCE) -> h5py.File:
        """Open a file of this kind; for the arguments see :func:`open_patiently`.

        Raises:
            ValueError: as :attr:`error`: no such file, no HDF5, kept open by another program, or a head of another
                kind, version or units.
        """
        if not Path(path).is_file():
            raise self.error(f"{path} does not exist: check the path, or make it with {self.made_by}")
        try:
            file = open_patiently(path, mode, patience)
        except BlockingIOError as error:
            raise self.error(f"{path} is kept open for writing by another program: close it first") from error
        except OSError as error:
            raise self.error(
                f"{path} is not a readable HDF5 file ({error}); if it was cut off while copying, copy it again"
            ) from error
        try:
            self._check_head(file)
        except BaseException:
            file.close()
            raise
        return file

    def parsed(self, file: h5py.File, name: str) -> Any:
        """The value of an attribute of the root that holds JSON.

        Raises:
            ValueError: as :attr:`error`: there is none, or it is not JSON.
        """
        self.require_attributes(file, [name])
        try:
            return json.loads(file.attrs[name])
        except (TypeError, json.JSONDecodeError) as error:
            raise self.error(f"{file.filename}: attribute {name} is not valid JSON ({error})") from error

    def require_attributes(self, file: h5py.File, names: Iterable[str]) -> None:
        """Refuse a file whose root lacks attributes; raises :attr:`error`."""
        missing = [name for name in names if name not in file.attrs]
        if missing:
            raise self.error(f"{file.filename} is incomplete: it lacks the attributes {', '.join(missing)}")

    def check_array(self, file: h5py.File, name: str, shape: tuple[int, ...], growing: bool = False) -> None:
        """Refuse a file that lacks an array, or holds it with another shape; raises :attr:`error`.

        Args:
            file: the file.
            name: of the dataset.
            shape: that it must have.
            growing: it may have more rows, which an interrupted writer left behind.
        """
        data = file.get(name)
        if not isinstance(data, h5py.Dataset):
            raise self.error(f"{file.filename} is incomplete: it lacks {name}")
        expected = tuple(int(size) for size in shape)
        fits = data.shape == expected
        if growing and len(data.shape) == len(expected):
            fits = data.shape[1:] == expected[1:] and data.shape[0] >= expected[0]
        if not fits:
            raise self.error(
                f"{file.filename}: {name} has shape {list(data.shape)}, expected {'at least ' if growing else ''}"
                f"{list(expected)}; the file is damaged"
            )

    def _check_head(self, file: h5py.File) -> None:
        if file.attrs.get("schema") != self.name:
            raise self.error(
                f"{file.filename} is an HDF5 file, but not one of {self.contents} (no schema {self.name!r})"
            )
        version = file.attrs.get("version")
        if not isinstance(version, (int, np.integer)) or version != self.version:
            raise self.error(
                f"{file.filename} has schema version {version}, this program reads {self.version}: use the "
                f"openmm-kstep release that wrote it, or make it anew with {self.made_by}"
            )
        if self.units is not None and self.parsed(file, "units") != dict(self.units):
            raise self.error(
                f"{file.filename} has units {file.attrs['units']}, expected {json.dumps(dict(self.units))}"
            )
