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

from openmmkstep.rttddft.errors import ElectronDynamicsError
from openmmkstep.rttddft.pyscf_loading import load_pyscf

RealArray = NDArray[np.float64]
IntArray = NDArray[np.integer[Any]]

# Numbers in a block of products at grid points: some tens of megabytes.
_BLOCK_NUMBERS = 4_000_000
# Where there is (almost) no density, second derivatives are not numbers, and its change is nothing either.
_SMALLEST_DENSITY = 1e-10

NO_KERNEL = (
    "the response kernel is for closed shells with an LDA or GGA functional or a hybrid of them: leave it out, the "
    "reduction works without"
)


def has_kernel(functional: str) -> bool:
    """Whether a functional is one of density and gradient alone, hybrid or not.

    Args:
        functional: a name that PySCF knows.
    """
    libxc = load_pyscf().dft.libxc
    return libxc.xc_type(functional) in ("LDA", "GGA") and not libxc.is_nlc(functional)


class XCKernel:
    """Second derivatives of the functional on its grid.

    Args:
        mean_field: RKS object of PySCF, LDA or GGA (or a hybrid of them), with its grid built.
        density: of the ground state [n,n], AO basis.

    Raises:
        ElectronDynamicsError: open shell, no functional, or one that needs more than density and gradient.
    """

    def __init__(self, mean_field: Any, density: RealArray) -> None:
        functional = getattr(mean_field, "xc", "")
        if not functional or not has_kernel(functional) or mean_field.istype("UKS") or mean_field.do_nlc():
            raise ElectronDynamicsError(NO_KERNEL)
        kind = mean_field._numint._xc_type(functional)
        self._mol, self._gradients = mean_field.mol, kind == "GGA"
        self.points: RealArray = np.asarray(mean_field.grids.coords)
        integrator = mean_field._numint
        rho = np.concatenate(
            [self._density_at(self._orbital_values(part), density) for part in self._parts(density.shape[0])], axis=1
        )
        derivatives = integrator.eval_xc_eff(functional, rho if self._gradients else rho[0], deriv=2, xctype=kind)[2]
        present = rho[0] > _SMALLEST_DENSITY
        weights = np.where(present, mean_field.grids.weights, 0.0)
        self._kernel: RealArray = np.where(present, np.nan_to_num(derivatives), 0.0) * weights

    def among_products(
        self, orbitals: RealArray, first: IntArray, second: IntArray, chosen: NDArray[np.bool_] | None = None
    ) -> RealArray:
        """G between products of two orbitals each, and chosen ones of them [m,k].

        Args:
            orbitals: coefficients [n,a], AO basis.
            first, second: which two columns make each product [m].
            chosen: k of the products [m]; None for all.
        """
        columns = slice(None) if chosen is None else chosen
        result = np.zeros((len(first), len(first[columns])))
        for part in self._parts(len(first)):
            values = self._orbital_values(part) @ orbitals
            one, other = values[:, :, first], values[:, :, second]
            products = one[:1] * other[:1]
            if self._gradients:
                products = np.concatenate([products, one[1:] * other[:1] + one[:1] * other[1:]])
            result += self._contracted(products, products[:, :, columns], part)
        return result

    def among_functions(self, values: Any, count: int) -> RealArray:
        """G between given functions [count,count].

        Args:
            values: called with points [G,3] and whether gradients are needed, gives [1 or 4,G,count].
            count: of functions.
        """
        result = np.zeros((count, count))
        for part in self._parts(count):
            functions = values(self.points[part], self._gradients)
            result += self._contracted(functions, functions, part)
        return result

    def _contracted(self, functions: RealArray, others: RealArray, part: slice) -> RealArray:
        weighted = np.einsum("abg,bgp->agp", self._kernel[:, :, part], others)
        return functions.reshape(-1, functions.shape[-1]).T @ weighted.reshape(-1, others.shape[-1])

    def _parts(self, columns: int) -> list[slice]:
        size = max(16, _BLOCK_NUMBERS // (4 * max(columns, 1)))
        return [slice(start, start + size) for start in range(0, len(self.points), size)]

    def _orbital_values(self, part: slice) -> RealArray:
        kind = "GTOval_sph_deriv1" if self._gradients else "GTOval_sph"
        values = self._mol.eval_gto(kind, self.points[part])
        return np.reshape(values, (-1, *values.shape[-2:]))

    @staticmethod
    def _density_at(values: RealArray, density: RealArray) -> RealArray:
        contracted = values[0] @ density
        rho = np.einsum("gp,xgp->xg", contracted, values)
        rho[1:] *= 2.0
        return rho
