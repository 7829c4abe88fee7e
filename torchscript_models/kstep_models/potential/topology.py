"""What the bond graph says about a molecule: atom classes, pair classes, distances in bonds.

Chemically equivalent atoms must be treated alike, or the potential changes when they swap places. Weisfeiler-Lehman
refinement gives classes that every automorphism of the graph preserves, so parameters may depend on them freely; they
tell a model far more than the element does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


class TopologyError(ValueError):
    """Atomic numbers or bonds that do not describe a molecule."""


@dataclass(frozen=True)
class Topology:
    """Atom and pair classes of a fixed set of atoms.

    Attributes:
        numbers: atomic numbers [n].
        bonds: bonded pairs [b,2].
        atom_class: class of each atom [n], 0 .. number of classes - 1.
        part: number of the bonded part each atom belongs to [n]; one for all if there are no bonds.
        bond_distance: bonds between two atoms [n,n], capped; the cap also stands for "not connected".
        pair_class: class of each ordered pair [n,n]; pairs of one part share one when the classes of both atoms and
            their distance in bonds agree, pairs of different parts when both atoms are the same element with the same
            elements bonded to them: few data say something on how two parts meet, and what a carboxylate does to an
            ammonium is much the same whichever it is.
    """

    numbers: NDArray[np.int64]
    bonds: NDArray[np.int64]
    atom_class: NDArray[np.int64]
    part: NDArray[np.int64]
    bond_distance: NDArray[np.int64]
    pair_class: NDArray[np.int64]

    @classmethod
    def build(cls, numbers: Sequence[int], bonds: Iterable[Sequence[int]], max_bond_distance: int = 5) -> Topology:
        """Classes from atomic numbers and bonds.

        Args:
            numbers: atomic numbers [n].
            bonds: pairs of atom indices; without any, atom classes are the elements.
            max_bond_distance: pairs further apart than this are not told apart by their distance in bonds.

        Raises:
            TopologyError: no atoms, or a bond that does not join two different atoms of the molecule.
        """
        z = [int(number) for number in numbers]
        n = len(z)
        if n == 0:
            raise TopologyError("a molecule needs at least one atom")
        if max_bond_distance < 1:
            raise TopologyError(f"max_bond_distance must be at least 1, got {max_bond_distance}")
        pairs = np.asarray([tuple(bond) for bond in bonds], dtype=np.int64).reshape(-1, 2)
        neighbours: list[list[int]] = [[] for _ in range(n)]
        for a, b in pairs.tolist():
            if not (0 <= a < n and 0 <= b < n) or a == b:
                raise TopologyError(f"bond ({a}, {b}) does not join two different atoms among 0 to {n - 1}")
            neighbours[a].append(b)
            neighbours[b].append(a)
        atom_class = _refine(z, neighbours)
        distance = _bond_distances(neighbours, max_bond_distance)
        part = _parts(neighbours) if len(pairs) else np.zeros(n, dtype=np.int64)
        kind = _refined_once(_ranked([(number,) for number in z]), neighbours)
        keys = [
            [
                (atom_class[i], atom_class[j], int(distance[i, j])) if part[i] == part[j] else (kind[i], kind[j], -1)
                for j in range(n)
            ]
            for i in range(n)
        ]
        index = {key: k for k, key in enumerate(sorted({key for row in keys for key in row}))}
        pair_class = np.asarray([[index[key] for key in row] for row in keys], dtype=np.int64)
        return cls(np.asarray(z, np.int64), pairs, np.asarray(atom_class, np.int64), part, distance, pair_class)

    @property
    def atom_classes(self) -> int:
        """Number of atom classes."""
        return int(self.atom_class.max()) + 1

    @property
    def pair_classes(self) -> int:
        """Number of ordered pair classes."""
        return int(self.pair_class.max()) + 1

    @property
    def between_parts(self) -> NDArray[np.bool_]:
        """Whether two atoms belong to different parts [n,n]."""
        return self.part[:, None] != self.part

    def undirected_pair_class(self) -> NDArray[np.int64]:
        """Pair classes [n,n] in which (i, j) and (j, i) share one."""
        # The lesser of the numbers of (i, j) and (j, i) names both: they are one class's two directions.
        low = np.minimum(self.pair_class, self.pair_class.T)
        return np.unique(low, return_inverse=True)[1].reshape(low.shape).astype(np.int64)


def _refine(numbers: list[int], neighbours: list[list[int]]) -> list[int]:
    """Weisfeiler-Lehman colours: refined by the multiset of the neighbours' colours until nothing changes."""
    colours = _ranked([(z,) for z in numbers])
    while True:
        refined = _refined_once(colours, neighbours)
        if max(refined) == max(colours):
            return refined
        colours = refined


def _refined_once(colours: list[int], neighbours: list[list[int]]) -> list[int]:
    return _ranked([(c, *sorted(colours[j] for j in neighbours[i])) for i, c in enumerate(colours)])


def _parts(neighbours: list[list[int]]) -> NDArray[np.int64]:
    """Number of the connected component of each atom [n], in order of first appearance."""
    n = len(neighbours)
    first = (_bond_distances(neighbours, n) < n).argmax(axis=1)
    return np.unique(first, return_inverse=True)[1].astype(np.int64)


def _ranked(keys: list[tuple[int, ...]]) -> list[int]:
    rank = {key: k for k, key in enumerate(sorted(set(keys)))}
    return [rank[key] for key in keys]


def _bond_distances(neighbours: list[list[int]], cap: int) -> NDArray[np.int64]:
    n = len(neighbours)
    distance = np.full((n, n), cap, dtype=np.int64)
    for start in range(n):
        distance[start, start] = 0
        seen, front = {start}, [start]
        for step in range(1, cap):
            front = [j for j in {j for i in front for j in neighbours[i]} if j not in seen]
            seen.update(front)
            for j in front:
                distance[start, j] = step
    return distance
