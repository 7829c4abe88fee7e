"""Reading trajectories, without PySCF."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from openmmkstep.rttddft.errors import ElectronDynamicsError, TrajectoryError
from openmmkstep.rttddft.systems.basis_functions import BasisFunctions
from openmmkstep.rttddft.systems.molecule import Molecule

from .schema import BASIS_FIELDS, SCHEMA, SERIES, DipoleAccuracy, densities_up_to

RealArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

_NUMBERS = ("n_atoms", "n_electrons", "n_basis", "n_spin", "n_steps", "charge", "multiplicity", "density_interval")
_TEXTS = ("molecule", "method", "basis", "functional")
_OBJECTS = ("level_of_theory", "propagator", "field", "kick", "software")


class TrajectoryFile:
    """Reads a trajectory; use as a context manager, or call :meth:`close`.

    ``len(file)`` is the number of complete frames, the first of which is the state right after the kick. Series have as
    many rows. The file may still be growing: open it again to see more.

    Attributes:
        path: of the file.
        attributes: all attributes of the root, JSON ones parsed.
        molecule: nuclei and electrons.
        basis: the functions of the basis set.

    Raises:
        TrajectoryError: not a trajectory, of another version or units, damaged, or with inconsistent shapes.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._file = SCHEMA.open(self.path)
        try:
            self.attributes = self._read_attributes()
            self.molecule = self._read_molecule()
            self._frames = self._read_progress()
            self._check_shapes()
            self.basis = BasisFunctions(
                **{name: self._file["basis"][stored][:] for stored, name in BASIS_FIELDS.items()}
            )
        except BaseException:
            self._file.close()
            raise

    def __len__(self) -> int:
        return self._frames

    @property
    def spins(self) -> int:
        """1 for a closed shell, else 2."""
        return int(self.attributes["n_spin"])

    @property
    def time_step(self) -> float:
        """Atomic units."""
        return float(self.attributes["dt"])

    @property
    def is_complete(self) -> bool:
        """Whether all planned steps are there."""
        return self._frames == int(self.attributes["n_steps"]) + 1

    @property
    def time(self) -> RealArray:
        """Times of all frames [T]."""
        return self._series("time")

    @property
    def field(self) -> RealArray:
        """External field [T,3]."""
        return self._series("field")

    @property
    def energy(self) -> RealArray:
        """Energy without the field [T]."""
        return self._series("energy")

    @property
    def dipole(self) -> RealArray:
        """Dipole moment of nuclei and electrons [T,3]."""
        return self._series("dipole")

    @property
    def fock_builds(self) -> NDArray[np.int64]:
        """Fock builds that each step took [T]."""
        return self._series("fock_builds")

    @property
    def accuracy(self) -> DipoleAccuracy | None:
        """How well a reduced run keeps to a full one; None of a full run, and of files that do not tell."""
        if "accuracy" not in self._file:
            return None
        for name in ("estimated_dipole_error", "promised_dipole_error"):
            SCHEMA.check_array(self._file, f"accuracy/{name}", ())
        estimated = float(self._file["accuracy/estimated_dipole_error"][()])
        promised = float(self._file["accuracy/promised_dipole_error"][()])
        return DipoleAccuracy(None if np.isnan(estimated) else estimated, promised)

    @property
    def overlap(self) -> RealArray:
        """Overlap matrix [n,n]."""
        return self._file["matrices/overlap"][:]

    @property
    def core_hamiltonian(self) -> RealArray:
        """Kinetic energy and attraction by the nuclei [n,n]."""
        return self._file["matrices/core_hamiltonian"][:]

    @property
    def position(self) -> RealArray:
        """Matrices of the electron's position [3,n,n]."""
        return self._file["matrices/position"][:]

    @property
    def ground_density(self) -> RealArray:
        """Density of the ground state, [n,n] total of a closed shell or [2,n,n] of both spins."""
        return self._file["matrices/ground_state_density"][:]

    @property
    def density_steps(self) -> NDArray[np.int64]:
        """Steps at which densities are stored [D]."""
        return self._file["dynamics/density_step"][: self._densities]

    def deviation(self, index: int | slice = slice(None)) -> ComplexArray:
        """Stored densities minus that of the ground state: one [n,n] or [2,n,n], or several with a dimension before.

        Raises:
            TrajectoryError: there is no such density.
        """
        if isinstance(index, slice):
            index = slice(*index.indices(self._densities))
        elif not 0 <= index < self._densities:
            raise TrajectoryError(f"{self.path} has {self._densities} stored densities, there is no number {index}")
        group = self._file["dynamics"]
        return group["density_real"][index] + 1j * group["density_imag"][index]

    def density(self, index: int | slice = slice(None)) -> ComplexArray:
        """Stored densities, as :meth:`deviation` but with the ground state."""
        return self.deviation(index) + self.ground_density

    def close(self) -> None:
        """Close the file; arrays already read stay valid."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _densities(self) -> int:
        return densities_up_to(self._frames, int(self.attributes["density_interval"]))

    def _series(self, name: str) -> NDArray[Any]:
        return self._file["dynamics"][name][: self._frames]

    def _read_attributes(self) -> dict[str, Any]:
        stored = self._file.attrs
        SCHEMA.require_attributes(self._file, (*_NUMBERS, *_TEXTS, *_OBJECTS, "dt"))
        attributes = dict(stored)
        for name in _OBJECTS:
            attributes[name] = SCHEMA.parsed(self._file, name)
        for name in _NUMBERS:
            if not isinstance(stored[name], (int, np.integer)):
                raise TrajectoryError(f"{self.path}: attribute {name} is {stored[name]!r}, expected an integer")
        if attributes["n_spin"] not in (1, 2) or attributes["n_steps"] < 0 or attributes["density_interval"] < 0:
            raise TrajectoryError(f"{self.path}: n_spin, n_steps or density_interval has an impossible value")
        if not attributes["dt"] > 0:
            raise TrajectoryError(f"{self.path}: dt is {attributes['dt']!r}, it must be positive")
        return attributes

    def _read_molecule(self) -> Molecule:
        SCHEMA.check_array(self._file, "geometry/atomic_numbers", (self.attributes["n_atoms"],))
        SCHEMA.check_array(self._file, "geometry/positions", (self.attributes["n_atoms"], 3))
        try:
            molecule = Molecule(
                self._file["geometry/atomic_numbers"][:],
                self._file["geometry/positions"][:],
                int(self.attributes["charge"]),
                int(self.attributes["multiplicity"]),
                str(self.attributes["molecule"]),
            )
        except ElectronDynamicsError as error:
            raise TrajectoryError(f"{self.path} holds an impossible molecule: {error}") from error
        if molecule.electrons != self.attributes["n_electrons"]:
            raise TrajectoryError(
                f"{self.path}: n_electrons is {self.attributes['n_electrons']}, but nuclei and charge make "
                f"{molecule.electrons}"
            )
        return molecule

    def _read_progress(self) -> int:
        SCHEMA.check_array(self._file, "progress", (2,))
        frames = int(self._file["progress"][0])
        if not 0 <= frames <= self.attributes["n_steps"] + 1:
            raise TrajectoryError(f"{self.path}: {frames} frames cannot be; the file is damaged")
        return frames

    def _check_shapes(self) -> None:
        attributes = self.attributes
        n, frames = int(attributes["n_basis"]), int(attributes["n_steps"]) + 1
        matrix = (n, n) if attributes["n_spin"] == 1 else (2, n, n)
        densities = densities_up_to(frames, int(attributes["density_interval"]))
        for name in BASIS_FIELDS:
            SCHEMA.check_array(self._file, f"basis/{name}", (n,))
        SCHEMA.check_array(self._file, "matrices/overlap", (n, n))
        SCHEMA.check_array(self._file, "matrices/core_hamiltonian", (n, n))
        SCHEMA.check_array(self._file, "matrices/position", (3, n, n))
        SCHEMA.check_array(self._file, "matrices/ground_state_density", matrix)
        for name, shape in SERIES.items():
            SCHEMA.check_array(self._file, f"dynamics/{name}", (frames, *shape))
        SCHEMA.check_array(self._file, "dynamics/density_step", (densities,))
        for name in ("density_real", "density_imag"):
            SCHEMA.check_array(self._file, f"dynamics/{name}", (densities, *matrix))
