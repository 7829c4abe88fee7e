"""Electrons whose Fock matrix is linear in the density, as tensors for Torch, which takes many steps at once.

Coulomb and exchange are exactly linear; the response of the exchange-correlation potential is whatever kernel is given:
of finite differences, of linear-response theory, or of a network. The time steps themselves are in
:mod:`kstep_models.rttddft.propagation`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kstep_models.rttddft.linear_system import LinearSystem, prepare_system
from kstep_models.rttddft.propagation import field_fractions
from openmmkstep.rttddft.arguments import integer_from, positive_number
from openmmkstep.rttddft.electronic_structure.ground_state import GroundState
from openmmkstep.rttddft.electronic_structure.hamiltonian import Hamiltonian
from openmmkstep.rttddft.electronic_structure.packed_coulomb_exchange import DensePackedExchange, create_kernel
from openmmkstep.rttddft.electronic_structure.packed_matrices import Packing
from openmmkstep.rttddft.errors import ElectronDynamicsError

from .fields import ElectricField

RealArray = NDArray[np.float64]

# Of a kernel's elements relative to the largest: what numerical differentiation leaves.
_SYMMETRY = 1e-4


def create_linear_system(hamiltonian: Hamiltonian, ground: GroundState, kernel: RealArray | None) -> LinearSystem:
    """A molecule whose Fock matrix is taken as linear around its ground state.

    Args:
        hamiltonian: of a closed shell.
        ground: its ground state.
        kernel: response of the exchange-correlation potential [m,m], Loewdin basis: packed potential per packed change
            of the total density, pairs p <= q in the order of numpy.triu_indices, off-diagonal elements of both times
            sqrt(2); None for Hartree-Fock.

    Raises:
        ElectronDynamicsError: an open shell, a kernel that does not belong to the molecule, or too many functions.
    """
    if hamiltonian.spins != 1:
        raise ElectronDynamicsError("linear dynamics is for closed shells: use ElectronDynamics for others")
    real, imaginary = pair_response(hamiltonian, kernel)
    evaluation = hamiltonian.evaluate(ground.orbitals)
    return prepare_system(
        torch.from_numpy(np.ascontiguousarray(evaluation.fock[0].real)),
        torch.from_numpy(np.ascontiguousarray(ground.orbitals[0])),
        torch.from_numpy(np.stack([hamiltonian.coupling(axis) for axis in np.eye(3)])),
        torch.from_numpy(real),
        torch.from_numpy(imaginary),
        torch.tensor(evaluation.energy, dtype=torch.float64),
        torch.from_numpy(hamiltonian.dipole(ground.orbitals)),
    )


def pair_response(hamiltonian: Hamiltonian, kernel: RealArray | None) -> tuple[RealArray, RealArray]:
    """Coulomb minus exact exchange plus a kernel, as matrices over packed pairs of Loewdin functions of a closed shell.

    Args:
        hamiltonian: of a closed shell.
        kernel: see :func:`create_linear_system`.

    Returns:
        The map of the real part [m,m], and that of the imaginary part [m',m'], which is [0,0] without exact exchange.

    Raises:
        ElectronDynamicsError: a kernel that does not belong to the molecule, or too many functions.
    """
    packing = Packing(1, hamiltonian.size)
    linear = None if kernel is None else _checked_kernel(kernel, packing.length)
    response = create_kernel(hamiltonian._coulomb_exchange, hamiltonian._inverse_root, packing, linear)
    if not isinstance(response, DensePackedExchange):
        raise ElectronDynamicsError(
            f"the integrals of {hamiltonian.size} basis functions do not fit in memory: use ElectronDynamics"
        )
    return response.real, np.zeros((0, 0)) if response.imaginary is None else response.imaginary


def sampled_field(field: ElectricField, scheme: str, time_step: float, steps: int, first_step: int = 0) -> torch.Tensor:
    """A field at the times that steps need it [steps,k,3].

    Args:
        field: external field.
        scheme: "magnus2" or "cfm4".
        time_step: atomic units.
        steps: how many.
        first_step: how many were taken before.

    Raises:
        ElectronDynamicsError: unknown scheme, or impossible numbers.
    """
    time_step = positive_number("time step", time_step)
    steps, first_step = integer_from("steps", steps, 0), integer_from("first_step", first_step, 0)
    try:
        fractions = field_fractions(scheme)
    except ValueError as error:
        raise ElectronDynamicsError(str(error)) from error
    times = time_step * (np.arange(first_step, first_step + steps)[:, None] + np.array(fractions))
    values = np.array([field.at(float(time)) for time in times.ravel()])
    return torch.from_numpy(values.reshape(steps, len(fractions), 3))


def _checked_kernel(kernel: Any, pairs: int) -> RealArray:
    matrix = np.asarray(kernel, dtype=np.float64)
    if matrix.shape != (pairs, pairs):
        raise ElectronDynamicsError(
            f"the kernel must be [{pairs},{pairs}] over pairs of basis functions, got shape {list(matrix.shape)}: make "
            "it with the same basis set"
        )
    if not np.all(np.isfinite(matrix)):
        raise ElectronDynamicsError("the kernel has elements that are not finite")
    if np.abs(matrix - matrix.T).max() > _SYMMETRY * np.abs(matrix).max():
        raise ElectronDynamicsError("the kernel is not symmetric: pack potentials and densities with sqrt(2)")
    return matrix
