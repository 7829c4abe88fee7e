"""Where the electrons are along a trajectory: in the orbitals of the ground state, and on the atoms.

With the coefficients C of the ground state's orbitals, the overlap matrix S and the density P, all in the AO basis:

    occupation of orbital k     n_k = (C^T S P S C)_kk                     sums to the number of electrons
    charge of atom A, Mulliken  q_A = Z_A - sum of (P S)_pp over p on A    sums to the charge of the molecule
    charge of atom A, Loewdin   q_A = Z_A - sum of (S^1/2 P S^1/2)_pp over p on A

Occupations of ground-state orbitals are no probabilities of excited states: an orbital that the field merely polarises
loses occupation, too, which comes back with the field's end. Sources: R. S. Mulliken, J. Chem. Phys. 23, 1833 (1955);
P.-O. Loewdin, J. Chem. Phys. 18, 365 (1950).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openmmkstep.rttddft.errors import TrajectoryError
from openmmkstep.rttddft.simulation import ElectronDynamics
from openmmkstep.rttddft.trajectory.reader import TrajectoryFile

RealArray = NDArray[np.float64]

# Densities that are read at once.
_ROWS = 256
_NORMALISED = 1e-6


@dataclass(frozen=True)
class GroundOrbitals:
    """All orbitals of a ground state, occupied and empty, by ascending energy; degenerate ones in any mixture.

    Attributes:
        energies: hartree [s,n], s being 1 for a closed shell and else 2 (up, down).
        coefficients: AO basis [s,n,n], one orbital per column.
    """

    energies: RealArray
    coefficients: RealArray

    @classmethod
    def of(cls, dynamics: ElectronDynamics) -> GroundOrbitals:
        """The orbitals of a run, whose ground state is computed if it was not yet.

        Raises:
            ConvergenceError: the SCF did not converge.
        """
        hamiltonian = dynamics.hamiltonian
        fock = hamiltonian.evaluate(dynamics.ground_state.orbitals).fock
        energies, vectors = np.linalg.eigh(fock.real)
        return cls(energies, np.stack([hamiltonian.to_atomic(part) for part in vectors]))


@dataclass(frozen=True)
class Populations:
    """Populations at the D stored densities of a trajectory.

    Attributes:
        time: atomic units [D].
        orbitals: occupation of each orbital of the ground state: [D,n] between 0 and 2 for a closed shell, else [D,2,n]
            between 0 and 1.
        mulliken, loewdin: atomic charges, e [D,a].
    """

    time: RealArray
    orbitals: RealArray
    mulliken: RealArray
    loewdin: RealArray


def populations(file: TrajectoryFile, orbitals: GroundOrbitals) -> Populations:
    """Populations along a trajectory.

    Changes from the ground state are as exact as the deviations in the file: nothing cancels.

    Args:
        file: with stored densities.
        orbitals: of the ground state that the trajectory began with, see :meth:`GroundOrbitals.of`.

    Raises:
        TrajectoryError: no density is stored, or the orbitals are of another molecule, geometry or basis set.
    """
    overlap, spins = file.overlap, file.spins
    size, steps = len(overlap), file.density_steps
    if not len(steps):
        raise TrajectoryError(
            f"{file.path} has no stored density, which populations are made of: run with density_interval=1 or more"
        )
    if orbitals.coefficients.shape != (spins, size, size):
        raise TrajectoryError(
            f"the orbitals have shape {list(orbitals.coefficients.shape)}, {file.path} needs {[spins, size, size]}: "
            "take those of the run that it is of"
        )
    for part in orbitals.coefficients:
        if np.abs(part.T @ overlap @ part - np.eye(size)).max() > _NORMALISED:
            raise TrajectoryError(
                f"the orbitals are not orthonormal in the basis of {file.path}: they belong to another geometry"
            )
    values, vectors = np.linalg.eigh(overlap)
    root = (vectors * np.sqrt(values)) @ vectors.T
    projectors = np.swapaxes(orbitals.coefficients, 1, 2) @ overlap
    atoms = np.zeros((len(file.molecule.numbers), size))
    atoms[file.basis.atom_index, np.arange(size)] = 1.0

    def counted(densities: NDArray[Any]) -> tuple[RealArray, RealArray, RealArray]:
        """Electrons in orbitals [D,s,n] and, by both ways of counting, on atoms [D,a], of densities [D,s,n,n]."""
        real = densities.real
        occupations = np.einsum("skp,dspq,skq->dsk", projectors, real, projectors, optimize=True)
        total = real.sum(axis=1)
        mulliken = np.einsum("dpq,pq->dp", total, overlap, optimize=True)
        loewdin = np.einsum("rp,dpq,qr->dr", root, total, root, optimize=True)
        return occupations, mulliken @ atoms.T, loewdin @ atoms.T

    shape = (-1, spins, size, size)
    blocks = [
        counted(file.deviation(slice(start, start + _ROWS)).reshape(shape)) for start in range(0, len(steps), _ROWS)
    ]
    ground = counted(file.ground_density.reshape(shape))
    occupations, mulliken, loewdin = (
        np.concatenate(parts) + rest for parts, rest in zip(zip(*blocks, strict=True), ground, strict=True)
    )
    return Populations(
        time=file.time[steps],
        orbitals=occupations[:, 0] if spins == 1 else occupations,
        mulliken=file.molecule.numbers - mulliken,
        loewdin=file.molecule.numbers - loewdin,
    )
