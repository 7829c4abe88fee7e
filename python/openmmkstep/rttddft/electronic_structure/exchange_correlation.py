"""Energy and potential of the exchange-correlation functional, of the real part of the density.

The adiabatic approximation: the functional of the ground state, evaluated with the density of the moment. The imaginary
part of the density matrix carries the current and does not contribute to the electron density.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openmmkstep.rttddft.errors import ElectronDynamicsError

RealArray = NDArray[np.float64]

# Points per block: a block of basis function values should stay in the processor's cache.
_BLOCK = 4096
# Basis function values above this many bytes are computed anew for every density instead (by PySCF).
CACHE_LIMIT = 4 * 10**9
_COMPONENTS = {"LDA": 1, "GGA": 4}
# A density given at points is taken for none below this: what a fit leaves there has meaningless gradients.
_SMALLEST_DENSITY = 1e-8


class ExchangeCorrelation(ABC):
    """A functional on its grid."""

    @abstractmethod
    def evaluate(self, densities: RealArray) -> tuple[float, RealArray]:
        """Energy (hartree) and potential matrices.

        Args:
            densities: [1,n,n] total density of a closed shell, or [2,n,n] of both spins; real, symmetric, AO basis.

        Returns:
            The energy, and matrices of the shape of ``densities``.
        """


class CachedExchangeCorrelation(ExchangeCorrelation):
    """LDA and GGA with the values of all basis functions at all points in memory."""

    def __init__(self, mean_field: Any) -> None:
        self._functional: str = mean_field.xc
        self._integrator = mean_field._numint
        self._kind: str = self._integrator._xc_type(self._functional)
        self._blocks = [(values, weights) for _, weights, values in _blocks(mean_field, mean_field.grids, self._kind)]

    @staticmethod
    def bytes_needed(mean_field: Any) -> int:
        """Memory for the values of the basis functions."""
        return 8 * 4 * len(mean_field.grids.weights) * int(mean_field.mol.nao)

    def evaluate(self, densities: RealArray) -> tuple[float, RealArray]:
        """See the base class."""
        energy = 0.0
        potential = np.zeros_like(densities)
        for values, weights in self._blocks:
            rho = np.stack([_density_at_points(values, density) for density in densities])
            arguments = rho if len(rho) > 1 else rho[0]
            per_electron, derivative = self._integrator.eval_xc_eff(
                self._functional, arguments, deriv=1, xctype=self._kind
            )[:2]
            energy += float(np.dot(per_electron * weights, rho[:, 0].sum(axis=0)))
            for spin, factors in enumerate(np.reshape(derivative, rho.shape) * weights):
                potential[spin] += _half_potential(values, factors)
        return energy, potential + potential.transpose(0, 2, 1)


class PySCFExchangeCorrelation(ExchangeCorrelation):
    """Any functional, evaluated by PySCF: meta-GGAs, VV10, and whatever does not fit in memory."""

    def __init__(self, mean_field: Any) -> None:
        self._mean_field = mean_field
        self._nonlocal: str | None = None
        if mean_field.do_nlc():
            integrator = mean_field._numint
            self._nonlocal = mean_field.xc if integrator.libxc.is_nlc(mean_field.xc) else mean_field.nlc

    def evaluate(self, densities: RealArray) -> tuple[float, RealArray]:
        """See the base class."""
        mean_field = self._mean_field
        integrator = mean_field._numint
        if len(densities) == 1:
            _, energy, matrix = integrator.nr_rks(
                mean_field.mol, mean_field.grids, mean_field.xc, densities[0], hermi=1
            )
        else:
            _, energy, matrix = integrator.nr_uks(mean_field.mol, mean_field.grids, mean_field.xc, densities, hermi=1)
        potential = np.reshape(np.asarray(matrix), densities.shape)
        if self._nonlocal is not None:
            _, extra, matrix = integrator.nr_nlc_vxc(
                mean_field.mol, mean_field.nlcgrids, self._nonlocal, densities.sum(axis=0)
            )
            energy, potential = energy + extra, potential + np.asarray(matrix)
        return float(energy), potential


def create_exchange_correlation(mean_field: Any, cache_limit: int = CACHE_LIMIT) -> ExchangeCorrelation | None:
    """The evaluator that suits an SCF object of PySCF; None for Hartree-Fock.

    Args:
        mean_field: RHF, UHF, RKS or UKS object with its grids built.
        cache_limit: bytes above which basis function values are not kept in memory.
    """
    functional = getattr(mean_field, "xc", None)
    if functional is None:
        return None
    kind = mean_field._numint._xc_type(functional)
    if kind == "HF":
        return None
    fits = CachedExchangeCorrelation.bytes_needed(mean_field) <= cache_limit
    if kind in _COMPONENTS and not mean_field.do_nlc() and fits:
        return CachedExchangeCorrelation(mean_field)
    return PySCFExchangeCorrelation(mean_field)


def potential_of_points(mean_field: Any, grids: Any, density_at: Callable[[RealArray, bool], RealArray]) -> RealArray:
    """Matrix of the potential [n,n] of a density that is known at points, rather than by its matrix; closed shells.

    Args:
        mean_field: RKS object of PySCF; LDA or GGA, or a hybrid of them.
        grids: PySCF's, built.
        density_at: called with points [G,3] (bohr) and whether the gradient is needed, gives the density, with its
            gradient, [1 or 4,G].

    Raises:
        ElectronDynamicsError: the functional needs more than density and gradient.
    """
    integrator, functional = mean_field._numint, mean_field.xc
    kind = integrator._xc_type(functional)
    if kind not in _COMPONENTS or mean_field.do_nlc():
        raise ElectronDynamicsError(f"functional {functional} needs more than the density and its gradient")
    half = np.zeros((mean_field.mol.nao, mean_field.mol.nao))
    for points, weights, values in _blocks(mean_field, grids, kind):
        rho = density_at(points, kind == "GGA")
        # Sums of functions are negative here and there, where they should be nothing.
        rho = np.where(rho[0] > _SMALLEST_DENSITY, rho, 0.0)
        derivative = integrator.eval_xc_eff(functional, rho, deriv=1, xctype=kind)[1]
        half += _half_potential(values, np.reshape(derivative, rho.shape) * weights)
    return half + half.T


def _blocks(mean_field: Any, grids: Any, kind: str) -> Iterator[tuple[RealArray, RealArray, RealArray]]:
    """Points [G,3], their weights [G], and values of the basis functions there [1 or 4,n,G], block by block."""
    coordinates, weights = grids.coords, grids.weights
    for start in range(0, len(weights), _BLOCK):
        part = slice(start, start + _BLOCK)
        values = mean_field._numint.eval_ao(mean_field.mol, coordinates[part], deriv=0 if kind == "LDA" else 1)
        values = values.reshape(_COMPONENTS[kind], -1, mean_field.mol.nao)
        yield coordinates[part], weights[part].copy(), np.ascontiguousarray(values.transpose(0, 2, 1))


def _half_potential(values: RealArray, weighted: RealArray) -> RealArray:
    """Half of the symmetric matrix of a potential: its transpose is to be added.

    Args:
        values: of the basis functions [1 or 4,n,G].
        weighted: derivatives of the energy with respect to density and gradient, times weights [1 or 4,G].
    """
    factors = weighted.copy()
    factors[0] *= 0.5
    return values[0] @ np.einsum("xig,xg->ig", values, factors).T


def _density_at_points(values: RealArray, density: RealArray) -> RealArray:
    """Electron density and, for a GGA, its gradient [1 or 4, points] from basis function values [1 or 4, n, points]."""
    contracted = density @ values[0]
    result = np.einsum("ig,xig->xg", contracted, values)
    result[1:] *= 2.0
    return result
