"""The state that everything starts from: a tightly converged SCF of PySCF."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openmmkstep.rttddft.errors import ConvergenceError, ElectronDynamicsError

from .hamiltonian import Hamiltonian, Orbitals

_ENERGY_TOLERANCE = 1e-12
_GRADIENT_TOLERANCE = 1e-8
_MAX_CYCLES = 200
# PySCF and this package must mean the same Hamiltonian; differences are screening thresholds.
_SAME_ENERGY = 1e-7
_STATIONARY = 1e-6


@dataclass(frozen=True)
class GroundState:
    """A converged ground state.

    Attributes:
        orbitals: occupied ones, Loewdin basis.
        density: [1,n,n] total of a closed shell or [2,n,n] of both spins; real, AO basis.
        energy: hartree.
        residual: largest element of the commutator of Fock matrix and density, atomic units.
    """

    orbitals: Orbitals
    density: NDArray[np.float64]
    energy: float
    residual: float


def solve_ground_state(
    mean_field: Any, hamiltonian: Hamiltonian, guess: NDArray[np.float64] | None = None
) -> GroundState:
    """Run the SCF, with a second-order solver where the usual one does not converge.

    Args:
        mean_field: the SCF object that ``hamiltonian`` was made of.
        hamiltonian: of the same molecule and level of theory.
        guess: density to begin with [n,n], AO basis, closed shells; None for PySCF's, a superposition of atoms.

    Raises:
        ConvergenceError: the SCF did not converge.
        ElectronDynamicsError: PySCF's energy has a part that the Hamiltonian does not know.
    """
    mean_field.conv_tol = _ENERGY_TOLERANCE
    mean_field.conv_tol_grad = _GRADIENT_TOLERANCE
    mean_field.max_cycle = _MAX_CYCLES
    mean_field.kernel(dm0=guess)
    if not mean_field.converged:
        solver = mean_field.newton()
        solver.kernel(mean_field.mo_coeff, mean_field.mo_occ)
        if not solver.converged:
            raise ConvergenceError(
                f"the SCF did not converge within {_MAX_CYCLES} cycles and a second-order search: check geometry, "
                "charge and multiplicity, or try another functional or a smaller basis set"
            )
        mean_field = solver
    coefficients = np.asarray(mean_field.mo_coeff)
    occupations = np.asarray(mean_field.mo_occ)
    if coefficients.ndim == 2:
        coefficients, occupations = coefficients[None], occupations[None]
    orbitals = hamiltonian.orbitals_to_loewdin(
        [part[:, filled > 0] for part, filled in zip(coefficients, occupations, strict=True)]
    )
    evaluation = hamiltonian.evaluate(orbitals)
    difference = evaluation.energy - float(mean_field.e_tot)
    residual = _commutator(evaluation.fock, orbitals)
    if abs(difference) > _SAME_ENERGY or residual > _STATIONARY:
        raise ElectronDynamicsError(
            f"this level of theory cannot be propagated: PySCF's energy has a part that is not known here (difference "
            f"{difference:.1e} hartree, remaining force on the orbitals {residual:.1e}). Use another functional"
        )
    return GroundState(orbitals, hamiltonian.density(orbitals).real.copy(), evaluation.energy, residual)


def _commutator(fock: NDArray[Any], orbitals: Orbitals) -> float:
    largest = 0.0
    for matrix, part in zip(fock, orbitals, strict=True):
        projected = matrix @ part
        outside = projected - part @ (part.conj().T @ projected)
        largest = max(largest, float(np.abs(outside).max(initial=0.0)))
    return largest
