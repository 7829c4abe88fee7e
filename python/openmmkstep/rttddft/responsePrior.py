"""What is known of the response of the exchange-correlation potential before a trajectory begins.

Two sources: computed by quadrature from the ground state (no training; exact to first order), or predicted by a trained
network from the geometry alone. Both give the response between density changes, of which only those between occupied
and virtual orbitals matter to first order in a field.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .auxiliaryFit import AuxiliaryFit
from .groundState import GroundState
from .hamiltonian import Hamiltonian
from .levelOfTheory import LevelOfTheory
from .linearPrior import LinearPrior
from .molecule import Molecule
from .packedMatrices import Packing
from .responseArchive import ArchiveUse, arguments, calledOnce, loadedArchive
from .responseKernel import NO_KERNEL, ResponseKernel, hasKernel

RealArray = NDArray[np.float64]

COMPUTED = "computed"
# Quadrature is exact to first order; what the linear response leaves is left to the regression's higher orders.
_COMPUTED_UNCERTAINTY = 0.001
# Members of an ensemble share their training data, and err together: on molecules held out, the error of the mean was
# up to twice their spread.
_SPREAD_FACTOR = 2.0
# Fock matrices between comparisons of a network's prediction with the functional.
_CHECK_INTERVAL = 1000
_USE = ArchiveUse(
    setting="response",
    purpose="a response",
    missing=f"is neither '{COMPUTED}' nor a file",
    otherwise=f"use response='{COMPUTED}'",
)


def checkResponse(source: str, molecule: Molecule, level: LevelOfTheory) -> None:
    """Refuse a source that cannot serve a molecule; cheap.

    Args:
        source: ``computed``, or the path of an archive of kind "fxc".
        molecule: nuclei and electrons.
        level: level of theory.

    Raises:
        ElectronDynamicsError: an open shell, a functional without a kernel or that is not the archive's, or an archive
            that cannot be used.
    """
    _USE.checkLevel(level)
    if source == COMPUTED:
        if not hasKernel(level.functional):
            raise ElectronDynamicsError(NO_KERNEL)
    else:
        _USE.check(source, molecule, level)


def describeResponse(source: str) -> str:
    """A name that tells one source from another in trajectory files."""
    return source if source == COMPUTED else _USE.describe(source)


def responsePrior(
    source: str, meanField: Any, molecule: Molecule, hamiltonian: Hamiltonian, ground: GroundState
) -> LinearPrior:
    """The linear response around a ground state.

    Args:
        source: ``computed``, or the path of an archive of kind "fxc".
        meanField: of PySCF; converged.
        molecule: its nuclei.
        hamiltonian, ground: of the same.

    Raises:
        ElectronDynamicsError: see :func:`checkResponse`.
    """
    occupied = ground.orbitals[0].real
    # The complement of the occupied orbitals: any orthonormal basis of it will do.
    everything, _ = np.linalg.qr(occupied, mode="complete")
    virtual = everything[:, occupied.shape[1] :]
    left, right = (hamiltonian._inverseRoot @ part for part in (occupied, virtual))
    uncertainty = _COMPUTED_UNCERTAINTY
    if source == COMPUTED:
        response = 2.0 * ResponseKernel(meanField, ground.density[0]).amongProducts(left, right)
    else:
        response, uncertainty = _predicted(source, meanField, molecule, left, right)
    packing = Packing(1, hamiltonian.size)
    pairs = np.einsum("pi,qa->iapq", occupied, virtual).reshape(-1, hamiltonian.size, hamiltonian.size)
    pairs = (pairs + pairs.transpose(0, 2, 1)) * np.sqrt(0.5)
    packed = np.stack([packing.real(pair[None]) for pair in pairs])
    matrix = packed.T @ response @ packed
    checks = None if source == COMPUTED else _CHECK_INTERVAL
    return LinearPrior(0.5 * (matrix + matrix.T), uncertainty, checks, packed)


def predictedDensity(source: str, meanField: Any, molecule: Molecule) -> tuple[AuxiliaryFit, RealArray]:
    """The ground state's density that a network predicts: its auxiliary functions and their coefficients [M].

    Raises:
        ElectronDynamicsError: the archive cannot be used, or does not cover the molecule.
    """
    module, contract = loadedArchive(source)
    fit = AuxiliaryFit(meanField.mol, contract.basis())
    with calledOnce():
        _, density = module(*arguments(molecule))
    return fit, density.numpy()


def _predicted(
    source: str, meanField: Any, molecule: Molecule, left: RealArray, right: RealArray
) -> tuple[RealArray, float]:
    module, contract = loadedArchive(source)
    products = np.sqrt(2.0) * AuxiliaryFit(meanField.mol, contract.basis()).products(left, right)
    with calledOnce():
        mean, _ = module(*arguments(molecule))
        members = module.members(*arguments(molecule))
    response = products.T @ mean.numpy() @ products
    deviations = [products.T @ (member - mean).numpy() @ products for member in members]
    spread = float(np.sqrt(np.mean(np.square(deviations)) / np.mean(np.square(response))))
    known = [float(errors["response"]) for errors in contract.validation.get("molecules", {}).values()]
    smallest = min(known, default=1.0)
    return response, float(min(1.0, max(_SPREAD_FACTOR * spread, smallest)))
