"""A molecule of PySCF in the field of point charges: potential, and derivatives with respect to atoms and charges.

    E = sum_k q_k V_k,     V_k = sum_A Z_A / |R_A - R_k| - sum_mn D_mn (mu | 1/|r - R_k| | nu)

Charges are points. All in atomic units, which PySCF uses; integrals over many charges at a time, in blocks that fit
into memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ChargeDerivatives:
    """Derivatives of the energy of molecule and charges.

    Attributes:
        atoms: With respect to the atoms [n,3], of the terms with charges, at a fixed density.
        positions: With respect to the positions of the charges [m,3].
        charges: With respect to the charges [m].
    """

    atoms: Array
    positions: Array
    charges: Array


class PointCharges:
    """Point charges around a molecule.

    Args:
        mol: The molecule, an object of PySCF.
        positions: Positions of the charges [m,3], bohr.
        charges: The charges [m], e.
        memory: What blocks of integrals may take, MB.
    """

    def __init__(self, mol: Any, positions: Array, charges: Array, memory: float) -> None:
        self._mol = mol
        self._positions = positions
        self._charges = charges
        self._memory = memory
        self._nuclear_charges = np.asarray(mol.atom_charges(), dtype=np.float64)
        self._nuclei = np.asarray(mol.atom_coords(), dtype=np.float64)

    @cached_property
    def core_hamiltonian(self) -> Array:
        """What the charges add to the core Hamiltonian [b,b]."""
        nao = self._mol.nao_nr()
        total = np.zeros(nao * nao)
        for block in self._blocks(1):
            total -= self._integrals(block).reshape(nao * nao, -1) @ self._charges[block]
        return total.reshape(nao, nao)

    def nuclear_energy(self) -> float:
        """Energy of the nuclei in the field of the charges."""
        return float(self._nuclear_charges @ self._nuclear_field()[0])

    def derivatives(self, density: Array, needs_potential: NDArray[np.bool_]) -> ChargeDerivatives:
        """All derivatives for a density matrix [b,b], summed over spins.

        Args:
            density: The density matrix, symmetric.
            needs_potential: The charges [m] with respect to which derivatives are wanted; they are 0 for the others.
        """
        nao = len(density)
        at_charges = np.zeros((3, len(self._charges)))
        matrices = np.zeros(3 * nao * nao)
        for block in self._blocks(3):
            # (grad mu | 1/|r - R_k| | nu); moving an atom moves its functions by -grad. Read twice, by matrix-vector
            # products that run at the speed of memory.
            slopes = self._slopes(block)
            at_charges[:, block] = density.ravel() @ slopes.reshape(3, nao * nao, -1)
            matrices += slopes.reshape(3 * nao * nao, -1) @ self._charges[block]
        by_function = 2 * np.einsum("xnm,nm->mx", matrices.reshape(3, nao, nao), density)
        ranges = self._mol.aoslice_by_atom()[:, 2:]
        atoms = np.array([by_function[first:end].sum(axis=0) for first, end in ranges])
        positions = -2 * (self._charges * at_charges).T
        _, on_nuclei, potential, on_charges = self._nuclear_field()
        potential[~needs_potential] = 0.0
        wanted = np.flatnonzero(needs_potential)
        for chosen in self._blocks(1, len(wanted)):
            potential[wanted[chosen]] -= density.ravel() @ self._integrals(wanted[chosen]).reshape(nao * nao, -1)
        return ChargeDerivatives(atoms + on_nuclei, positions + on_charges, potential)

    def _integrals(self, chosen: slice | NDArray[np.intp]) -> Array:
        """(mu | 1/|r - R_k| | nu) as [nu,mu,k], which is how they lie in memory."""
        integrals: Array = self._mol.intor("int1e_grids", grids=self._positions[chosen]).transpose(2, 1, 0)
        return integrals

    def _slopes(self, chosen: slice) -> Array:
        """(grad mu | 1/|r - R_k| | nu) as [x,nu,mu,k], which is how they lie in memory."""
        integrals: Array = self._mol.intor("int1e_grids_ip", grids=self._positions[chosen]).transpose(0, 3, 2, 1)
        return integrals

    def _nuclear_field(self) -> tuple[Array, Array, Array, Array]:
        """Nuclei and charges: the potential at the nuclei [n], and derivatives of the energy with respect to positions
        of nuclei [n,3], charges [m], and positions of charges [m,3].
        """
        delta = self._nuclei[:, None] - self._positions[None]
        inverse = 1.0 / np.linalg.norm(delta, axis=2)
        slopes = -self._nuclear_charges[:, None, None] * self._charges[None, :, None] * delta * inverse[..., None] ** 3
        return inverse @ self._charges, slopes.sum(axis=1), self._nuclear_charges @ inverse, -slopes.sum(axis=0)

    def _blocks(self, matrices: int, number: int | None = None) -> Iterator[slice]:
        """Ranges of so many charges, by default all, for so many matrices of integrals per charge at a time."""
        number = len(self._charges) if number is None else number
        size = max(1, int(self._memory * 1e6 / (8 * matrices * max(1, self._mol.nao_nr()) ** 2)))
        for first in range(0, number, size):
            yield slice(first, min(first + size, number))
