"""Densities a little away from the ground state, in a direction that is given.

Only those of rotated orbitals will do. A density change alone, added to the ground state's density, makes it negative
where diffuse functions reach further out than the occupied orbitals, and the functional's answer is then meaningless.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openmmkstep.rttddft.electronic_structure.packed_matrices import Packing

RealArray = NDArray[np.float64]


class GroundStateRotations:
    """Small rotations of the occupied orbitals into the virtual ones.

    Args:
        packing: of density matrices, Loewdin basis.
        ground_density: packed.
        occupation: electrons per occupied orbital.
    """

    def __init__(self, packing: Packing, ground_density: RealArray, occupation: float) -> None:
        self._packing = packing
        self._occupation = occupation
        self._density = packing.matrices(ground_density)
        self._occupied = self._density / occupation
        self._virtual = np.eye(packing.size) - self._occupied

    def excitation(self, change: RealArray) -> tuple[RealArray, float]:
        """The part of a packed density change that is between virtual and occupied orbitals.

        Returns:
            The block [spins,n,n] with virtual functions on the left and occupied ones on the right, and the norm of the
            part, which is twice there.
        """
        block = self._virtual @ self._packing.matrices(change) @ self._occupied
        return block, float(np.sqrt(2.0) * np.linalg.norm(block))

    def rotated(self, block: RealArray, norm: float) -> RealArray:
        """Density [spins,n,n] of the ground state's orbitals, rotated along a block until it has changed by a norm."""
        generator = (block - block.transpose(0, 2, 1)) * (
            norm / (self._occupation * np.sqrt(2.0) * np.linalg.norm(block))
        )
        one = np.eye(self._packing.size)
        # Cayley's form: orthogonal whatever the size of the generator.
        rotation = np.linalg.solve(one - 0.5 * generator, one + 0.5 * generator)
        return rotation @ self._density @ rotation.transpose(0, 2, 1)
