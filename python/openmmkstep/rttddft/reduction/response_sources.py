"""What is known of the response of the exchange-correlation potential before a trajectory begins.

Two sources: computed by quadrature from the ground state (no training; exact to first order), or predicted by a trained
network from the geometry alone. Both give the response to density changes between occupied and virtual orbitals, which
are those of first order in a field.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from openmmkstep.rttddft.electronic_structure.auxiliary_fit import AuxiliaryFit
from openmmkstep.rttddft.electronic_structure.ground_state import GroundState
from openmmkstep.rttddft.electronic_structure.hamiltonian import Hamiltonian
from openmmkstep.rttddft.electronic_structure.xc_kernel import NO_KERNEL, XCKernel, has_kernel
from openmmkstep.rttddft.errors import ElectronDynamicsError
from openmmkstep.rttddft.learned.archive import ArchiveUse, arguments, loaded_archive, without_optimisation
from openmmkstep.rttddft.systems.level_of_theory import LevelOfTheory
from openmmkstep.rttddft.systems.molecule import Molecule

from .linear_xc_response import LinearXCResponse

RealArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

COMPUTED = "computed"
# Quadrature is exact to first order; what the linear response leaves is left to the regression's higher orders.
_COMPUTED_UNCERTAINTY = 0.001
# Members of an ensemble share their training data, and err together: on molecules held out, the error of the mean was
# up to twice their spread.
_SPREAD_FACTOR = 2.0
# Fock matrices between comparisons with the functional.
_CHECK_INTERVAL = 1000
_USE = ArchiveUse(
    setting="response",
    purpose="a response",
    missing=f"is neither '{COMPUTED}' nor a file",
    otherwise=f"use response='{COMPUTED}'",
)


def check_response(source: str, molecule: Molecule, level: LevelOfTheory) -> None:
    """Refuse a source that cannot serve a molecule; cheap.

    Args:
        source: ``computed``, or the path of an archive of kind "fxc".
        molecule: nuclei and electrons.
        level: level of theory.

    Raises:
        ElectronDynamicsError: an open shell, a functional without a kernel or that is not the archive's, or an archive
            that cannot be used.
    """
    _USE.check_level(level)
    if source == COMPUTED:
        if not has_kernel(level.functional):
            raise ElectronDynamicsError(NO_KERNEL)
    else:
        _USE.check(source, molecule, level)


def describe_response(source: str) -> str:
    """A name that tells one source from another in trajectory files."""
    return source if source == COMPUTED else _USE.describe(source)


def known_xc_response(
    source: str, mean_field: Any, molecule: Molecule, hamiltonian: Hamiltonian, ground: GroundState
) -> LinearXCResponse:
    """The linear response around a ground state.

    Args:
        source: ``computed``, or the path of an archive of kind "fxc".
        mean_field: of PySCF; converged.
        molecule: its nuclei.
        hamiltonian, ground: of the same.

    Raises:
        ElectronDynamicsError: see :func:`check_response`.
    """
    occupied = ground.orbitals[0].real
    # With the complement of the occupied orbitals, of which any orthonormal basis will do.
    orbitals, _ = np.linalg.qr(occupied, mode="complete")
    orbitals[:, : occupied.shape[1]] = occupied
    first, second = np.triu_indices(hamiltonian.size)
    excited = (first < occupied.shape[1]) & (second >= occupied.shape[1])
    atomic = hamiltonian._inverse_root @ orbitals
    uncertainty = _COMPUTED_UNCERTAINTY
    if source == COMPUTED:
        kernel = XCKernel(mean_field, ground.density[0])
        response = kernel.among_products(atomic, first, second, excited)
    else:
        fit = AuxiliaryFit(mean_field.mol, loaded_archive(source)[1].basis())
        products = fit.products(atomic, atomic).reshape(-1, hamiltonian.size, hamiltonian.size)[:, first, second]
        response, uncertainty = _predicted(source, molecule, products, excited)
        if uncertainty >= 1.0:
            # Networks that disagree as much may be wrong by orders of magnitude, which no later sample repairs.
            response = np.zeros_like(response)
    # Of unit symmetric matrices, whose densities are products times sqrt(2) but for squares.
    response = response * np.where(first == second, np.sqrt(2.0), 2.0)[:, None]
    # To changes between occupied orbitals, or between virtual ones, the response is not taken to be known: they are of
    # second order in a field.
    pairs = np.zeros((len(first), len(first)))
    pairs[:, excited], pairs[excited, :] = response, response.T
    packed = _packed_pairs(orbitals, first, second)
    matrix = packed.T @ pairs @ packed
    return LinearXCResponse(0.5 * (matrix + matrix.T), uncertainty, _CHECK_INTERVAL, packed[excited])


def _predicted(
    source: str, molecule: Molecule, products: RealArray, excited: NDArray[np.bool_]
) -> tuple[RealArray, float]:
    """Response [m,k] of all pairs to those that an external field excites, and how wrong it may be."""
    module, contract = loaded_archive(source)
    with without_optimisation():
        mean, _ = module(*arguments(molecule))
        members = module.members(*arguments(molecule))
    inner = products[:, excited]
    response = products.T @ (mean.numpy() @ inner)
    deviations = [inner.T @ (member - mean).numpy() @ inner for member in members]
    spread = float(np.sqrt(np.mean(np.square(deviations)) / np.mean(np.square(response[excited]))))
    known = [float(errors["response"]) for errors in contract.validation.get("molecules", {}).values()]
    smallest = min(known, default=1.0)
    return response, float(min(1.0, max(_SPREAD_FACTOR * spread, smallest)))


def _packed_pairs(orbitals: RealArray, first: IntArray, second: IntArray) -> RealArray:
    """Unit symmetric matrices between orbitals, as rows of packed matrices of the Loewdin basis [m,m]; orthogonal."""
    left, right = orbitals[:, first], orbitals[:, second]
    # Rows: pairs of orbitals; columns: pairs of Loewdin functions, in the same order.
    products = left[first] * right[second] + left[second] * right[first]
    factors = np.where(first == second, np.sqrt(0.5), 1.0)
    return (factors[:, None] * products * factors).T
