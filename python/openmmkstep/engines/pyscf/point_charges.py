"""A molecule of PySCF in the field of point charges: potential, and derivatives with respect to atoms and charges.

    E = sum_k q_k V_k,     V_k = sum_A Z_A / |R_A - R_k| - sum_mn D_mn (mu | 1/|r - R_k| | nu)

Charges are points. All in atomic units, which PySCF uses; integrals over many charges at a time, in blocks that fit
into memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
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

    def core_hamiltonian(self) -> Array:
        """What the charges add to the core Hamiltonian [b,b]."""
        nao = self._mol.nao_nr()
        total = np.zeros((nao, nao))
        for block in self._blocks(1):
            integrals = self._mol.intor("int1e_grids", grids=self._positions[block])
            total -= np.tensordot(self._charges[block], integrals, axes=1)
        return total

    def nuclear_energy(self) -> float:
        """Energy of the nuclei in the field of the charges."""
        return float(self._nuclear_charges @ self._nuclear_field()[0])

    def derivatives(self, density: Array) -> ChargeDerivatives:
        """All derivatives for a density matrix [b,b], summed over spins."""
        atoms = np.zeros((len(self._nuclei), 3))
        positions = np.zeros((len(self._charges), 3))
        potential = np.zeros(len(self._charges))
        ranges = self._mol.aoslice_by_atom()[:, 2:]
        for block in self._blocks(4):
            places, values = self._positions[block], self._charges[block]
            potential[block] -= np.einsum("kmn,mn->k", self._mol.intor("int1e_grids", grids=places), density)
            # (grad mu | 1/|r - R_k| | nu); moving an atom moves its functions by -grad.
            slopes = np.einsum("xkmn,mn->xkm", self._mol.intor("int1e_grids_ip", grids=places), density)
            positions[block] -= 2 * values[:, None] * slopes.sum(axis=2).T
            by_function = 2 * np.einsum("xkm,k->mx", slopes, values)
            for atom, (first, end) in enumerate(ranges):
                atoms[atom] += by_function[first:end].sum(axis=0)
        _, on_nuclei, at_charges, on_charges = self._nuclear_field()
        return ChargeDerivatives(atoms + on_nuclei, positions + on_charges, potential + at_charges)

    def _nuclear_field(self) -> tuple[Array, Array, Array, Array]:
        """Nuclei and charges: the potential at the nuclei [n], and derivatives of the energy with respect to positions
        of nuclei [n,3], charges [m], and positions of charges [m,3].
        """
        delta = self._nuclei[:, None] - self._positions[None]
        inverse = 1.0 / np.linalg.norm(delta, axis=2)
        slopes = -self._nuclear_charges[:, None, None] * self._charges[None, :, None] * delta * inverse[..., None] ** 3
        return inverse @ self._charges, slopes.sum(axis=1), self._nuclear_charges @ inverse, -slopes.sum(axis=0)

    def _blocks(self, matrices: int) -> Iterator[slice]:
        """Ranges of charges, for so many matrices of integrals per charge at a time."""
        size = max(1, int(self._memory * 1e6 / (8 * matrices * max(1, self._mol.nao_nr()) ** 2)))
        for first in range(0, len(self._charges), size):
            yield slice(first, min(first + size, len(self._charges)))
