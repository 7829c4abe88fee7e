"""The matrices of linear response theory without exchange and correlation, between products of orbitals."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .coulomb_exchange import exchange_mix

RealArray = NDArray[np.float64]


def response_matrices(
    mean_field: Any, occupied: RealArray, virtual: RealArray, gaps: RealArray
) -> tuple[RealArray, RealArray, RealArray]:
    """A + B and A - B [R,R] without f_xc, hartree, and transition dipoles [3,R], e bohr; R = i a, a fastest.

    With w the gaps of the orbital energies and c K the exact exchange of the functional, for singlet excitations

        A + B = w + 4 (ia|jb) - c [(ij|ab) + (ib|ja)],   A - B = w - c [(ij|ab) - (ib|ja)].

    Args:
        mean_field: RHF or RKS object of PySCF, converged.
        occupied: orbitals [n,o], AO basis.
        virtual: orbitals [n,v].
        gaps: orbital energies of ``virtual`` less those of ``occupied`` [o,v], hartree.
    """
    mol = mean_field.mol
    o, v = occupied.shape[1], virtual.shape[1]
    size = o * v
    total = np.diag(gaps.ravel()) + 4.0 * _transformed(mol, occupied, virtual, occupied, virtual).reshape(size, size)
    difference = np.diag(gaps.ravel())
    for factor, omega in exchange_mix(mean_field).terms:
        with mol.with_range_coulomb(omega):
            direct = _transformed(mol, occupied, occupied, virtual, virtual).transpose(0, 2, 1, 3).reshape(size, size)
            mixed = _transformed(mol, occupied, virtual, occupied, virtual).transpose(0, 3, 2, 1).reshape(size, size)
        total -= factor * (direct + mixed)
        difference = difference - factor * (direct - mixed)
    position = mol.intor_symmetric("int1e_r", comp=3)
    dipole = -np.sqrt(2.0) * np.einsum("pi,xpq,qa->xia", occupied, position, virtual, optimize=True)
    return total, difference, dipole.reshape(3, size)


def _transformed(mol: Any, *orbitals: RealArray) -> RealArray:
    """(ij|kl) for four sets of orbitals, chemists' notation."""
    from pyscf import ao2mo

    shape = [part.shape[1] for part in orbitals]
    return np.reshape(ao2mo.general(mol, orbitals, compact=False, verbose=0), shape)
