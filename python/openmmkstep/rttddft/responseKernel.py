"""Linear response of the exchange-correlation potential, by quadrature.

A small change of the density changes the potential by

    <p|dV_xc|q> = sum over points of weight X_pq^a f^ab X_drho^b,

with X the density and, for a GGA, its gradient, and f the second derivatives of the functional with respect to them at
the density of the ground state. Between two densities r and s it is the number

    G_rs = <drho_r| f_xc |drho_s>,

symmetric, which is all that a linear theory needs. Source: M. E. Casida, in Recent Advances in Density Functional
Methods, Part I (1995). Closed shells.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ElectronDynamicsError
from .pyscfLoading import loadPySCF

RealArray = NDArray[np.float64]
IntArray = NDArray[np.intp]

# Numbers in a block of products at grid points: some tens of megabytes.
_BLOCK_NUMBERS = 4_000_000
# Where there is (almost) no density, second derivatives are not numbers, and its change is nothing either.
_SMALLEST_DENSITY = 1e-10

NO_KERNEL = (
    "the response kernel is for closed shells with an LDA or GGA functional or a hybrid of them: leave it out, the "
    "reduction works without"
)


def hasKernel(functional: str) -> bool:
    """Whether a functional is one of density and gradient alone, hybrid or not.

    Args:
        functional: a name that PySCF knows.
    """
    libxc = loadPySCF().dft.libxc
    return libxc.xc_type(functional) in ("LDA", "GGA") and not libxc.is_nlc(functional)


class ResponseKernel:
    """Second derivatives of the functional on its grid.

    Args:
        meanField: RKS object of PySCF, LDA or GGA (or a hybrid of them), with its grid built.
        density: of the ground state [n,n], AO basis.

    Raises:
        ElectronDynamicsError: open shell, no functional, or one that needs more than density and gradient.
    """

    def __init__(self, meanField: Any, density: RealArray) -> None:
        functional = getattr(meanField, "xc", "")
        if not functional or not hasKernel(functional) or meanField.istype("UKS") or meanField.do_nlc():
            raise ElectronDynamicsError(NO_KERNEL)
        kind = meanField._numint._xc_type(functional)
        self._mol, self._gradients = meanField.mol, kind == "GGA"
        self.points: RealArray = np.asarray(meanField.grids.coords)
        integrator = meanField._numint
        rho = np.concatenate(
            [self._densityAt(self._orbitalValues(part), density) for part in self._parts(density.shape[0])], axis=1
        )
        derivatives = integrator.eval_xc_eff(functional, rho if self._gradients else rho[0], deriv=2, xctype=kind)[2]
        present = rho[0] > _SMALLEST_DENSITY
        weights = np.where(present, meanField.grids.weights, 0.0)
        self._kernel: RealArray = np.where(present, np.nan_to_num(derivatives), 0.0) * weights

    def amongProducts(self, left: RealArray, right: RealArray) -> RealArray:
        """G between all products of two orbitals [a*b,a*b].

        Args:
            left: coefficients [n,a], AO basis.
            right: coefficients [n,b], AO basis.
        """
        count = left.shape[1] * right.shape[1]
        result = np.zeros((count, count))
        for part in self._parts(count):
            values = self._orbitalValues(part)
            one, other = values @ left, values @ right
            products = np.einsum("ga,gb->gab", one[0], other[0])[None]
            if self._gradients:
                slopes = np.einsum("xga,gb->xgab", one[1:], other[0]) + np.einsum("ga,xgb->xgab", one[0], other[1:])
                products = np.concatenate([products, slopes])
            result += self._contracted(products.reshape(len(products), -1, count), part)
        return result

    def amongPairs(
        self, orbitals: RealArray, first: IntArray, second: IntArray, chosen: NDArray[np.bool_]
    ) -> RealArray:
        """G between unit symmetric matrices of pairs of orbitals, and chosen ones of them [m,k].

        Args:
            orbitals: coefficients [n,n], AO basis, orthonormal.
            first, second: the pairs [m].
            chosen: k of the pairs [m].
        """
        factors = np.where(first == second, 1.0, np.sqrt(2.0))
        result = np.zeros((len(first), int(np.count_nonzero(chosen))))
        for part in self._parts(len(first)):
            values = self._orbitalValues(part) @ orbitals
            one, other = values[:, :, first], values[:, :, second] * factors
            products = one[:1] * other[:1]
            if self._gradients:
                products = np.concatenate([products, one[1:] * other[:1] + one[:1] * other[1:]])
            weighted = np.einsum("abg,bgp->agp", self._kernel[:, :, part], products[:, :, chosen])
            result += products.reshape(-1, len(first)).T @ weighted.reshape(-1, result.shape[1])
        return result

    def amongFunctions(self, values: Any, count: int) -> RealArray:
        """G between given functions [count,count].

        Args:
            values: called with points [G,3] and whether gradients are needed, gives [1 or 4,G,count].
            count: of functions.
        """
        result = np.zeros((count, count))
        for part in self._parts(count):
            result += self._contracted(values(self.points[part], self._gradients), part)
        return result

    def _contracted(self, functions: RealArray, part: slice) -> RealArray:
        weighted = np.einsum("abg,bgp->agp", self._kernel[:, :, part], functions)
        count = functions.shape[-1]
        return functions.reshape(-1, count).T @ weighted.reshape(-1, count)

    def _parts(self, columns: int) -> list[slice]:
        size = max(16, _BLOCK_NUMBERS // (4 * max(columns, 1)))
        return [slice(start, start + size) for start in range(0, len(self.points), size)]

    def _orbitalValues(self, part: slice) -> RealArray:
        kind = "GTOval_sph_deriv1" if self._gradients else "GTOval_sph"
        values = self._mol.eval_gto(kind, self.points[part])
        return np.reshape(values, (-1, *values.shape[-2:]))

    @staticmethod
    def _densityAt(values: RealArray, density: RealArray) -> RealArray:
        contracted = values[0] @ density
        rho = np.einsum("gp,xgp->xg", contracted, values)
        rho[1:] *= 2.0
        return rho
