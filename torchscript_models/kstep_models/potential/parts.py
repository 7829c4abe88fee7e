"""Coulomb's law between the parts of a region that no bond joins.

    U = 1/2 sum_ij q_i q_j / (4 pi eps0 sqrt(r_ij^2 + a^2))    over atoms i and j of different parts

A network that has to learn from forces how two charged side chains attract each other needs all distances and
orientations in its data, and knows nothing beyond them. The charges it learns anyway; with this term it only learns
what Coulomb's law between them leaves. The softening a is that of tight-binding methods, where the interaction of two
charges on one atom is finite (Klopman-Ohno).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kstep_models.potential.topology import Topology
from kstep_models.units import COULOMB

FloatArray = NDArray[np.float64]

SOFTENING = 0.1
"""a in nm: some 2 bohr, the inverse hardness of light elements."""


def coulomb_between_parts(
    topology: Topology, positions: FloatArray, charges: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Energies [T] in kJ/mol, and forces [T,n,3] in kJ/mol/nm at fixed charges.

    Args:
        topology: n atoms.
        positions: [T,n,3] nm.
        charges: [T,n] e.
    """
    energies, forces = np.zeros(len(positions)), np.zeros(positions.shape)
    apart = topology.between_parts
    if not apart.any():
        return energies, forces
    for index, (x, q) in enumerate(zip(positions, charges, strict=True)):
        difference = x[:, None] - x[None]
        soft = (difference**2).sum(-1) + SOFTENING**2
        coupling = COULOMB * np.outer(q, q) * apart
        energies[index] = 0.5 * (coupling / np.sqrt(soft)).sum()
        forces[index] = ((coupling / soft**1.5)[..., None] * difference).sum(1)
    return energies, forces
