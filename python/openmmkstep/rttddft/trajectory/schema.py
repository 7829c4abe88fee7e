"""What a trajectory file holds, and the objects that carry it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kstep_models.hdf5 import Schema
from openmmkstep.rttddft.errors import TrajectoryError
from openmmkstep.rttddft.systems.basis_functions import BasisFunctions
from openmmkstep.rttddft.systems.molecule import Molecule

RealArray = NDArray[np.float64]

UNITS: Mapping[str, str] = {
    "system": "atomic units",
    "length": "bohr",
    "time": "hbar/hartree",
    "energy": "hartree",
    "field": "hartree/(e bohr)",
    "dipole": "e bohr",
    "kick": "hbar/(e bohr)",
}
SCHEMA = Schema(
    "kstep-electron-dynamics", 1, "electron dynamics", "ElectronDynamics.run(path=...)", TrajectoryError, UNITS
)
CONVENTIONS: Mapping[str, str] = {
    "ao_order": "PySCF, real spherical: shells as in the basis group; m from -l to l, but p as x, y, z",
    "density_convention": "deviation from the ground state; P_pq = sum of n_i C_pi conj(C_qi), AO basis; Tr(P S) = N",
    "field_convention": "length gauge, electron charge -1: the field E adds +E.r to the Fock matrix",
    "kick_convention": "orbitals times exp(-i strength direction.r) at t = 0; frame 0 is right after it",
    "dipole_convention": "nuclei minus electrons, sum of Z R - Tr(P r), about the origin of the coordinates",
    "energy_convention": "electrons and nuclei without the external field; add -dipole.field for the field's share",
}
SPIN_CONVENTIONS: Mapping[int, str] = {
    1: "closed shell: densities are totals of both spins, without a spin dimension",
    2: "densities of spin up and spin down, in this order, in a dimension before the matrices",
}
# name -> shape of one frame
SERIES: Mapping[str, tuple[int, ...]] = {"time": (), "field": (3,), "energy": (), "dipole": (3,), "fock_builds": ()}
BASIS_FIELDS: Mapping[str, str] = {
    "atom_index": "atom_index",
    "angular_momentum": "angular_momentum",
    "magnetic_quantum": "magnetic_quantum",
    "shell_index": "shell_index",
}


ACCURACY_DESCRIPTION = (
    "of a trajectory whose functional was not evaluated for every Fock matrix: relative error of the induced dipole, "
    "over the whole trace, that was estimated from comparisons with the functional on the way (not a number before the "
    "first), and the one that was asked for; where the estimate is larger, the trajectory is not as accurate as asked"
)


@dataclasses.dataclass(frozen=True)
class DipoleAccuracy:
    """How well a reduced trajectory keeps to the full one, by what is known of it; as text, in words.

    Attributes:
        estimated: expected relative error of the induced dipole over the whole trace, from comparisons with the
            functional; None for a trajectory too short for one.
        promised: the error that was asked for.
    """

    estimated: float | None
    promised: float

    @property
    def is_kept(self) -> bool:
        """Whether nothing that is known speaks against the promise."""
        return self.estimated is None or self.estimated <= self.promised

    def __str__(self) -> str:
        asked = f"{100 * self.promised:.2g} % was asked for"
        if self.estimated is None:
            return f"the induced dipole was not compared with the functional, the trajectory is short; {asked}"
        estimate = f"the induced dipole is estimated to be wrong by {100 * self.estimated:.2g} %; {asked}"
        if self.is_kept:
            return estimate
        return (
            f"{estimate}. The functional is less smooth here than the reduction can follow: use a weaker kick or "
            "field, a smaller tolerance or nonlinearity, or no reduction"
        )


@dataclasses.dataclass(frozen=True)
class TrajectoryHeader:
    """What all frames of one file have in common.

    Attributes:
        molecule: nuclei and electrons.
        level, propagator, field: as their ``describe()`` gives them.
        kick: the same, None without one.
        steps: planned.
        time_step: atomic units.
        density_interval: steps between stored densities; 0 stores none.
        basis: the functions of the basis set.
        overlap, core, position: integrals [n,n], [n,n], [3,n,n].
        ground_density: [1,n,n] total or [2,n,n] of both spins, real.
        ground_energy: hartree.
        software: name -> version.
        promised_error: of a reduced run, the relative error of the induced dipole that it was asked for; else None.
    """

    molecule: Molecule
    level: Mapping[str, Any]
    propagator: Mapping[str, Any]
    field: Mapping[str, Any]
    kick: Mapping[str, Any] | None
    steps: int
    time_step: float
    density_interval: int
    basis: BasisFunctions
    overlap: RealArray
    core: RealArray
    position: RealArray
    ground_density: RealArray
    ground_energy: float
    software: Mapping[str, str] = dataclasses.field(default_factory=dict)
    promised_error: float | None = None

    @property
    def size(self) -> int:
        """Number of basis functions."""
        return len(self.overlap)

    @property
    def spins(self) -> int:
        """1 for a closed shell, else 2."""
        return len(self.ground_density)

    @property
    def stored_densities(self) -> int:
        """How many densities a complete trajectory has."""
        return densities_up_to(self.steps + 1, self.density_interval)


@dataclasses.dataclass(frozen=True)
class Frame:
    """One moment.

    Attributes:
        time: atomic units.
        field: external field [3].
        energy: hartree.
        dipole: [3].
        fock_builds: that the step to this frame took.
        deviation: complex density minus that of the ground state [1 or 2,n,n]; None where it is not stored.
    """

    time: float
    field: RealArray
    energy: float
    dipole: RealArray
    fock_builds: int
    deviation: NDArray[np.complex128] | None = None


def densities_up_to(frames: int, interval: int) -> int:
    """How many densities a number of frames has, when one is stored every ``interval`` steps from the first."""
    return 0 if interval == 0 or frames == 0 else (frames - 1) // interval + 1
