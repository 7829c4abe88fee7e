"""Linear-response TDDFT: all excitations at once, and the motion after a weak kick that they amount to.

PySCF builds the matrices of Casida's equation; they are diagonalised in full, because the early motion after a kick has
every excitation in it, core ones included. Source: M. E. Casida, in Recent Advances in Density Functional Methods,
Part I, World Scientific (1995), p. 155.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openmmkstep.rttddft.electronic_structure.mean_field import create_mean_field
from openmmkstep.rttddft.errors import ConvergenceError, ElectronDynamicsError
from openmmkstep.rttddft.systems.level_of_theory import LevelOfTheory
from openmmkstep.rttddft.systems.molecule import Molecule
from openmmkstep.rttddft.systems.point_charges import PointCharges

RealArray = NDArray[np.float64]

_ENERGY_TOLERANCE = 1e-11


@dataclass(frozen=True)
class LinearResponse:
    """All singlet excitations of a closed shell; atomic units.

    Attributes:
        energies: ascending [n].
        transition_dipoles: of the electron's position between ground and excited state [n,3].
    """

    energies: RealArray
    transition_dipoles: RealArray

    @classmethod
    def create(
        cls, molecule: Molecule, level: LevelOfTheory, environment: PointCharges | None = None
    ) -> LinearResponse:
        """Ground state and excitations. With density fitting, PySCF's response integrals are the exact ones.

        Raises:
            ElectronDynamicsError: not a closed shell, or a ground state that is not stable.
            ConvergenceError: SCF.
            MissingDependencyError: PySCF is not installed.
        """
        if not level.is_restricted:
            raise ElectronDynamicsError("linear response is compared for closed shells: use rhf or rks")
        mean_field = create_mean_field(molecule, level, environment)
        mean_field.conv_tol = _ENERGY_TOLERANCE
        mean_field.kernel()
        if not mean_field.converged:
            raise ConvergenceError("the SCF of linear response did not converge: check the geometry")
        # Loaded by create_mean_field already.
        from pyscf import tddft

        a, b = (matrix.reshape(matrix.shape[0] * matrix.shape[1], -1) for matrix in tddft.TDDFT(mean_field).get_ab())
        values, vectors = np.linalg.eigh(a - b)
        if values[0] <= 0.0:
            raise ElectronDynamicsError("the ground state is not stable: it has no linear response")
        root = (vectors * np.sqrt(values)) @ vectors.T
        squares, modes = np.linalg.eigh(root @ (a + b) @ root)
        if squares[0] <= 0.0:
            raise ElectronDynamicsError("the ground state is not stable: it has no linear response")
        energies = np.sqrt(squares)
        occupied = mean_field.mo_occ > 0
        left, right = mean_field.mo_coeff[:, occupied], mean_field.mo_coeff[:, ~occupied]
        position = mean_field.mol.intor_symmetric("int1e_r", comp=3)
        pairs = (left.T @ position @ right).reshape(3, -1)
        # Both spins move alike: the root of two.
        dipoles = np.sqrt(2.0) * (pairs @ (root @ modes) / np.sqrt(energies)).T
        return cls(energies, dipoles)

    def oscillator_strengths(self) -> RealArray:
        """Of each excitation [n]."""
        return 2.0 / 3.0 * self.energies * np.sum(self.transition_dipoles**2, axis=1)

    def induced_dipole(self, kick: RealArray, times: RealArray) -> RealArray:
        """Induced dipole [T,3] after a weak kick [3]: ``2 sum_n d_n (d_n.kick) sin(w_n t)``."""
        amplitudes = 2.0 * self.transition_dipoles * (self.transition_dipoles @ kick)[:, None]
        return np.sin(np.outer(times, self.energies)) @ amplitudes
