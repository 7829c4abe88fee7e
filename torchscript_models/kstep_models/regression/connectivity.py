"""Whether the bonds of geometries are those of their molecular graph: where they are not, no fixed graph serves.

A bond of the graph is open where it is longer than 1.5 times the sum of the covalent radii, beyond what heat does to a
bond; two atoms that the graph does not join are bonded where they are nearer than 1.3 times that sum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kstep_models.elements import covalent_radius, symbol_of

Array = NDArray[np.float64]
Table = NDArray[np.int64]

_OPEN = 1.5
_CLOSED = 1.3


@dataclass(frozen=True)
class Connectivity:
    """What becomes of the bonds of a molecular graph.

    Attributes:
        numbers: Atomic numbers [n].
        lasting: Bonds of the graph that no geometry breaks [l,2].
        broken: Bonds of the graph that some geometries break [b,2].
        share: In which part of the geometries they are open [b].
        formed: Bonds that are not in the graph and that some geometries have [f,2].
    """

    numbers: Table
    lasting: Table
    broken: Table
    share: Array
    formed: Table

    @classmethod
    def of(cls, numbers: Table, bonds: Table, positions: Array) -> Connectivity:
        """That of some geometries.

        Args:
            numbers: Atomic numbers [n].
            bonds: Molecular graph [b,2]; may be empty.
            positions: Geometries [T,n,3], nm.
        """
        radii = np.array([covalent_radius(int(number)) for number in numbers])
        graph = np.zeros((len(numbers), len(numbers)), dtype=bool)
        graph[tuple(bonds.T)] = graph[tuple(bonds.T[::-1])] = True
        pairs = np.argwhere(np.triu(~graph, 1)).astype(np.int64)
        graphed = np.argwhere(np.triu(graph, 1)).astype(np.int64)
        opened = _relative(positions, graphed, radii) > _OPEN
        closed = _relative(positions, pairs, radii) < _CLOSED
        is_broken = opened.any(axis=0)
        share = opened.mean(axis=0)[is_broken]
        return cls(numbers, graphed[~is_broken], graphed[is_broken], share, pairs[closed.any(axis=0)])

    @property
    def changes(self) -> bool:
        """Whether bonds break, so that terms of the graph describe nothing any more."""
        return len(self.broken) > 0

    @property
    def everything(self) -> Table:
        """All bonds that there are at any time, of the graph and beside it [u,2]."""
        return np.concatenate([self.lasting, self.broken, self.formed])

    def __str__(self) -> str:
        """What changes, for people; atoms by their places in the region."""
        opened = [
            f"{self._name(bond)} is open in {share:.0%}" for bond, share in zip(self.broken, self.share, strict=True)
        ]
        formed = f", {' and '.join(map(self._name, self.formed))} formed" if len(self.formed) else ""
        return f"{', '.join(opened)} of the geometries{formed}"

    def _name(self, bond: Table) -> str:
        return "-".join(f"{symbol_of(int(self.numbers[atom]))}{atom}" for atom in bond)


def _relative(positions: Array, pairs: Table, radii: Array) -> Array:
    """Distances over the sum of the covalent radii [T,pairs]."""
    vectors = positions[:, pairs[:, 0]] - positions[:, pairs[:, 1]]
    return np.asarray(np.linalg.norm(vectors, axis=-1) / radii[pairs].sum(axis=1))
