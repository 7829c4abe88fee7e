"""HDF5 files of linear responses, from which response networks learn.

One group per molecule, whose geometries share atoms and orbital basis, with T geometries, N atoms, M auxiliary
functions and R density changes:

    positions   [T,N,3]  bohr
    fit         [T,M,R]  the density changes in the auxiliary basis
    response    [T,R,R]  <drho_r| f_xc |drho_s>, hartree
    kernel      [T,M,M]  <chi_P| f_xc |chi_Q> between the auxiliary functions, hartree
    sum         [T,R,R]  A + B of linear response theory without f_xc, hartree
    difference  [T,R,R]  A - B, hartree
    dipole      [T,3,R]  transition dipoles of the density changes, e bohr
    density     [T,M]    the ground state's density in the auxiliary basis
    metric      [T,M,M]  Coulomb integrals of the auxiliary functions, hartree

Attributes of a group: ``numbers``. Attributes of the file: ``schema``, ``version``, ``auxiliary_basis`` (JSON),
``level_of_theory`` (JSON), ``software`` (JSON).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kstep_models.hdf5 import Schema, read_attributes, write_text
from kstep_models.hdf5_changes import changed, created
from kstep_models.rttddft.auxiliary_basis import AuxiliaryBasis, AuxiliaryBasisError


class ResponseFileError(ValueError):
    """A file of responses, or a record on its way into one, is not what it should be."""


SCHEMA = Schema("kstep-responses", 1, "responses", "`kstep generate-responses`", ResponseFileError)


@dataclass(frozen=True)
class ResponseRecord:
    """Responses of one geometry, or of T geometries with a leading axis; see the module for shapes and units."""

    positions: NDArray[np.float64]
    fit: NDArray[np.float64]
    response: NDArray[np.float64]
    kernel: NDArray[np.float64]
    sum: NDArray[np.float64]
    difference: NDArray[np.float64]
    dipole: NDArray[np.float64]
    density: NDArray[np.float64]
    metric: NDArray[np.float64]


@dataclass(frozen=True)
class ResponseSet:
    """All geometries of one molecule.

    Attributes:
        name: of the group.
        numbers: atomic numbers [N].
        records: with the leading axis T.
    """

    name: str
    numbers: NDArray[np.int64]
    records: ResponseRecord

    def __len__(self) -> int:
        return len(self.records.positions)


class ResponseWriter:
    """Adds records to a file, which is created where it does not exist; every record is complete or absent.

    Args:
        path: of the file.
        basis: auxiliary basis of all records.
        level: level of theory, JSON values.
        software: name -> version.

    Raises:
        ResponseFileError: the file was made with another basis or level of theory, or is damaged.
    """

    def __init__(
        self, path: str | os.PathLike[str], basis: AuxiliaryBasis, level: Mapping[str, Any], software: Mapping[str, str]
    ) -> None:
        self._path = Path(path)
        mine = {
            "auxiliary_basis": json.dumps(basis.to_json(), sort_keys=True),
            "level_of_theory": json.dumps(level, sort_keys=True),
        }
        if self._path.exists():
            with SCHEMA.open(self._path) as file, SCHEMA.reading(path):
                present = read_attributes(file.attrs)
            for name, value in mine.items():
                if present.get(name) != value:
                    raise ResponseFileError(f"{path} was made with another {name}: write to another file")
            # What is there is compared with its checksums before it is added to.
            for _ in ResponseFile(path):
                pass
            return
        with created(self._path) as file:
            SCHEMA.write_head(file)
            for name, value in {**mine, "software": json.dumps(dict(software), sort_keys=True)}.items():
                write_text(file.attrs, name, value)

    def count(self, name: str) -> int:
        """How many geometries of a molecule are in the file."""
        with SCHEMA.open(self._path) as file, SCHEMA.reading(self._path):
            return int(file[name].attrs["complete"]) if name in file else 0

    def append(self, name: str, numbers: NDArray[np.int64], record: ResponseRecord) -> None:
        """Add a geometry.

        Raises:
            ResponseFileError: the molecule or the shapes differ from those in the file, or a value is not finite.
            OSError: there is no room for it; the file is as it was.
        """
        arrays = {entry.name: np.asarray(getattr(record, entry.name), dtype=np.float64) for entry in fields(record)}
        for key, array in arrays.items():
            if not np.all(np.isfinite(array)):
                raise ResponseFileError(f"{key} of {name} has values that are not finite")
        with changed(self._path) as file:
            if name not in file:
                group = file.create_group(name)
                group.attrs["numbers"] = np.asarray(numbers, dtype=np.int64)
                group.attrs["complete"] = 0
                for key, array in arrays.items():
                    group.create_dataset(
                        key,
                        shape=(0, *array.shape),
                        maxshape=(None, *array.shape),
                        chunks=(1, *array.shape),
                        dtype="f8",
                        fletcher32=True,
                    )
            group = file[name]
            if not np.array_equal(group.attrs["numbers"], numbers):
                raise ResponseFileError(f"{name} has other atoms in {self._path}: give the molecule another name")
            done = int(group.attrs["complete"])
            for key, array in arrays.items():
                dataset = group[key]
                if dataset.shape[1:] != array.shape:
                    raise ResponseFileError(f"{key} of {name} has shape {array.shape}, expected {dataset.shape[1:]}")
                dataset.resize(done + 1, axis=0)
                dataset[done] = array
            group.attrs["complete"] = done + 1


class ResponseFile:
    """A file of responses, read whole molecule by whole molecule.

    Attributes:
        basis: auxiliary basis.
        level: level of theory.

    Raises:
        ResponseFileError: no such file, or not of this form.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        with SCHEMA.open(self.path) as file:
            self.level: dict[str, Any] = SCHEMA.parsed(file, "level_of_theory")
            try:
                self.basis = AuxiliaryBasis.from_json(SCHEMA.parsed(file, "auxiliary_basis"))
            except AuxiliaryBasisError as error:
                raise ResponseFileError(f"{path} is damaged: {error}") from error
            with SCHEMA.reading(path):
                self.molecules: tuple[str, ...] = tuple(sorted(file))

    def read(self, name: str) -> ResponseSet:
        """All geometries of a molecule.

        Raises:
            ResponseFileError: it is not in the file, or parts of it are missing.
        """
        with SCHEMA.open(self.path) as file:
            if name not in file:
                raise ResponseFileError(f"{self.path} has no molecule {name}, only {', '.join(self.molecules)}")
            with SCHEMA.reading(self.path):
                group = file[name]
                done = int(group.attrs["complete"])
                arrays = {entry.name: group[entry.name][:done] for entry in fields(ResponseRecord)}
                return ResponseSet(name, np.asarray(group.attrs["numbers"], dtype=np.int64), ResponseRecord(**arrays))

    def __iter__(self) -> Iterator[ResponseSet]:
        for name in self.molecules:
            yield self.read(name)
