"""Densities as sums of auxiliary functions, fitted so that the Coulomb energy of the rest is least.

The metric of Coulomb fitting is that of B. I. Dunlap, J. W. D. Connolly, J. R. Sabin, J. Chem. Phys. 71, 3396 (1979).
It is what makes a potential in this basis meaningful: fits in the overlap metric are poor where densities are low, and
there the response of exchange and correlation is largest (water, PBE0/6-31G, the same functions: 10 % error instead of
3 %).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kstep_models.rttddft.auxiliary_basis import AuxiliaryBasis, Shell
from openmmkstep.rttddft.errors import ElectronDynamicsError
from openmmkstep.rttddft.pyscf_loading import load_pyscf

RealArray = NDArray[np.float64]

# Combinations of auxiliary functions whose Coulomb energy is below this fraction of the largest are left out.
_DEPENDENT = 1e-9


def local_auxiliary_basis(name: str, numbers: Iterable[int]) -> AuxiliaryBasis:
    """A fitting basis known to PySCF, with the functions of every atom made orthogonal in the Coulomb metric.

    Args:
        name: of the fitting basis, for example ``def2-svp-ri``.
        numbers: atomic numbers to cover.

    Raises:
        ElectronDynamicsError: PySCF does not know the basis for one of the elements.
        MissingDependencyError: PySCF is not installed.
    """
    pyscf = load_pyscf()
    elements = {}
    for number in sorted({int(number) for number in numbers}):
        symbol = pyscf.data.elements.ELEMENTS[number]
        try:
            shells = pyscf.gto.basis.load(name, symbol)
        except Exception as error:  # PySCF raises several kinds, by where the name was looked up last
            raise ElectronDynamicsError(
                f"auxiliary basis {name!r} is not known to PySCF for {symbol}: use one such as 'def2-svp-ri'"
            ) from error
        elements[number] = _orthogonalised(pyscf, symbol, shells)
    return AuxiliaryBasis(f"{name}, orthogonal on every atom", elements)


class AuxiliaryFit:
    """Fit of the densities of a molecule.

    Attributes:
        metric: Coulomb integrals between auxiliary functions [M,M].

    Args:
        mol: PySCF's molecule with its orbital basis.
        basis: auxiliary basis that covers the elements.
    """

    def __init__(self, mol: Any, basis: AuxiliaryBasis) -> None:
        self._pyscf = load_pyscf()
        self._mol = mol
        self.auxiliary = _auxiliary_molecule(self._pyscf, mol, basis)
        self._order = _ascending_order(self.auxiliary)
        metric = self.auxiliary.intor("int2c2e")[np.ix_(self._order, self._order)]
        self.metric: RealArray = metric
        values, vectors = np.linalg.eigh(metric)
        kept = values > _DEPENDENT * values[-1]
        self._inverse = (vectors[:, kept] / values[kept]) @ vectors[:, kept].T
        integrals = self._pyscf.df.incore.aux_e2(mol, self.auxiliary, "int3c2e")
        self._integrals: RealArray = np.ascontiguousarray(integrals[:, :, self._order].transpose(2, 0, 1))

    def coefficients(self, densities: RealArray) -> RealArray:
        """Coefficients [M,T] of real symmetric densities [T,n,n] in the AO basis."""
        size = self._integrals.shape[0]
        moments = self._integrals.reshape(size, -1) @ densities.reshape(len(densities), -1).T
        return self._inverse @ moments

    def products(self, left: RealArray, right: RealArray) -> RealArray:
        """Coefficients [M,a*b] of the products of orbitals, the columns of ``left`` [n,a] and ``right`` [n,b]."""
        half = np.einsum("Mpq,pa->Maq", self._integrals, left, optimize=True)
        moments = half @ right
        return self._inverse @ moments.reshape(len(moments), -1)

    def values(self, points: RealArray, derivatives: bool) -> RealArray:
        """Values, and gradients if asked for, of the auxiliary functions at points [G,3], bohr: [1 or 4,G,M]."""
        return self._values(points, derivatives)[:, :, self._order]

    def density(self, points: RealArray, coefficients: RealArray, derivatives: bool) -> RealArray:
        """The density with coefficients [M], and its gradient if asked for, at points [G,3], bohr: [1 or 4,G]."""
        reordered = np.empty_like(coefficients)
        reordered[self._order] = coefficients
        # Values are not put in order: that would take longer than computing them.
        return self._values(points, derivatives) @ reordered

    def _values(self, points: RealArray, derivatives: bool) -> RealArray:
        """In PySCF's order."""
        kind = "GTOval_sph_deriv1" if derivatives else "GTOval_sph"
        values = self.auxiliary.eval_gto(kind, points)
        return np.reshape(values, (-1, len(points), values.shape[-1]))


def _auxiliary_molecule(pyscf: Any, mol: Any, basis: AuxiliaryBasis) -> Any:
    shells = {}
    for number in {int(charge) for charge in mol.atom_charges()}:
        basis.momenta(number)
        # One shell with several contractions for those of equal exponents: PySCF evaluates these once.
        shells[pyscf.data.elements.ELEMENTS[number]] = [
            [l, *([e, *c] for e, *c in zip(exponents, *(shell.coefficients for shell in group), strict=True))]
            for (l, exponents), group in groupby(basis.elements[number], lambda shell: (shell.l, shell.exponents))
        ]
    atoms = [(mol.atom_pure_symbol(i), mol.atom_coord(i).tolist()) for i in range(mol.natm)]
    return pyscf.gto.M(
        atom=atoms, unit="Bohr", basis=shells, charge=mol.charge, spin=mol.spin, cart=False, symmetry=False, verbose=0
    )


def _ascending_order(auxiliary: Any) -> NDArray[np.intp]:
    """Where the functions are in PySCF's order, which has x, y, z for l = 1 but m = -l ... l otherwise."""
    order: list[int] = []
    for shell in range(auxiliary.nbas):
        first, last = auxiliary.ao_loc_nr()[shell : shell + 2]
        functions = list(range(first, last))
        for start in range(0, len(functions), 2 * auxiliary.bas_angular(shell) + 1):
            block = functions[start : start + 2 * auxiliary.bas_angular(shell) + 1]
            order += [block[1], block[2], block[0]] if len(block) == 3 else block
    return np.array(order, dtype=np.intp)


def _orthogonalised(pyscf: Any, symbol: str, shells: list[Any]) -> tuple[Shell, ...]:
    result = []
    for l in sorted({shell[0] for shell in shells}):
        parts = [shell[1:] for shell in shells if shell[0] == l]
        exponents = [float(row[0]) for part in parts for row in part]
        contractions = np.zeros((len(exponents), sum(len(part[0]) - 1 for part in parts)))
        row = column = 0
        for part in parts:
            for primitive in part:
                contractions[row, column : column + len(primitive) - 1] = primitive[1:]
                row += 1
            column += len(part[0]) - 1
        atom = pyscf.gto.M(
            atom=[(symbol, (0.0, 0.0, 0.0))], basis={symbol: [[l, [e, 1.0]] for e in exponents]}, spin=None, verbose=0
        )
        step = 2 * l + 1
        metric = contractions.T @ atom.intor("int2c2e")[::step, ::step] @ contractions
        values, vectors = np.linalg.eigh(metric)
        # Symmetric, so that each new function still resembles the one it was made from.
        mixed = contractions @ (vectors / np.sqrt(values)) @ vectors.T
        for column in mixed.T:
            result.append(Shell(l, tuple(exponents), tuple(column.tolist())))
    return tuple(result)
