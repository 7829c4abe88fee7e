"""Which function of the basis belongs to which atom and angular momentum, in the order of all matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class BasisFunctions:
    """The functions of a basis set, in PySCF's order: real spherical harmonics, shell by shell.

    Attributes:
        atom_index: atom of each function [n].
        angular_momentum: l [n].
        magnetic_quantum: m of the real spherical harmonic [n]; within a shell m ascends from -l to l, except that p
            functions come as x, y, z, which is m = 1, -1, 0.
        shell_index: contracted shell [n]; the 2l+1 functions of a shell share their radial part.
    """

    atom_index: IntArray
    angular_momentum: IntArray
    magnetic_quantum: IntArray
    shell_index: IntArray

    @classmethod
    def of(cls, mol: Any) -> BasisFunctions:
        """The functions of a molecule of PySCF."""
        rows: list[tuple[int, int, int, int]] = []
        contracted = 0
        for shell in range(mol.nbas):
            l = int(mol.bas_angular(shell))
            orders = (1, -1, 0) if l == 1 else tuple(range(-l, l + 1))
            for _ in range(mol.bas_nctr(shell)):
                rows += [(int(mol.bas_atom(shell)), l, m, contracted) for m in orders]
                contracted += 1
        columns = np.array(rows, dtype=np.int64).T
        return cls(*columns)
