"""Divides the surroundings of a QM region into charge groups: small, connected, and of whole charge where possible.

The embedding charges of a group are switched on and off together. A group must be small, or charges far beyond the
cut-off come with the near ones, and its charge should be whole, or a fraction of a charge appears and vanishes with it.
Small molecules and the residues of proteins are groups as they are. What is larger (lipids, nucleotides, ligands,
polymers) is cut along its bonds into parts that minimise

    sum over parts of min_k [(q - k)^2 + CHARGE_COST abs(k)] + PART_COST,    k a whole number,

with the charge q of a part in e: fractions of a charge cost most, and a pair of opposite charges is not torn apart. It
is found by dynamic programming over a spanning tree of the bonds between the heavy atoms.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..molecule_graph import MoleculeGraph, components

WHOLE_SIZE = 27
"""Residues of at most this many atoms stay whole: arginine and tryptophan at the end of a chain have 26."""
WHOLE_BONDS = 10
"""And of at most this many bonds between any two atoms: arginine at the end of a chain has 10."""
PART_SIZE = 16
"""Parts of larger residues have at most this many atoms, but a heavy atom always keeps its hydrogens."""
PART_BONDS = 4
"""And at most this many bonds between two of its heavy atoms, about 0.6 nm."""
CHARGE_COST = 0.05
"""Cost of a whole charge, e^2: less than that of a fraction of 0.3, more than that of the fractions it may avoid."""
PART_COST = 1e-4
"""What one more part may gain at least, e^2."""

Edges = tuple[tuple[int, int], ...]


def charge_groups(graph: MoleculeGraph, charges: ArrayLike, region: Collection[int] = ()) -> NDArray[np.int64]:
    """The charge group of each particle.

    Args:
        graph: The molecular graph of the system.
        charges: Charges of all particles [N], e.
        region: Particles that belong to no group, those of the QM region.

    Returns:
        Number of the group of each particle [N], from 0 without gaps; -1 in the region.
    """
    values = np.asarray(charges, dtype=np.float64)
    labels = np.full(len(values), -1, dtype=np.int64)
    cuts: dict[tuple[Edges, tuple[float, ...]], list[int]] = {}
    count = 0
    for members, edges in _connected_residues(graph, set(region)):
        if len(members) <= 4:
            parts = [0] * len(members)
        else:
            key = (edges, tuple(round(float(charge), 6) for charge in values[members]))
            parts = cuts[key] if key in cuts else cuts.setdefault(key, _cut(len(members), edges, values[members]))
        labels[members] = count + np.array(parts)
        count += max(parts) + 1
    return labels


def _connected_residues(graph: MoleculeGraph, region: set[int]) -> list[tuple[list[int], Edges]]:
    """Connected parts of residues outside the region: their particles, and bonds as places in their list."""
    residues = graph.residues
    edges = [(i, j) for i, j in graph.bonds if residues[i] == residues[j] and not {i, j} & region]
    # A virtual site is never parted from what defines it.
    edges += [(parents[0], site) for site, parents in graph.virtual_sites.items() if not {site, *parents} & region]
    component = components(len(residues), edges)
    members: dict[int, list[int]] = defaultdict(list)
    for particle, number in enumerate(component.tolist()):
        if particle not in region:
            members[number].append(particle)
    place = {particle: index for group in members.values() for index, particle in enumerate(group)}
    inside: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for i, j in edges:
        inside[int(component[i])].append((place[i], place[j]))
    return [(group, tuple(inside[number])) for number, group in members.items()]


def _cut(size: int, edges: Edges, charges: NDArray[np.float64]) -> list[int]:
    """Number of the part of each atom of a connected residue."""
    neighbours: list[list[int]] = [[] for _ in range(size)]
    for i, j in edges:
        neighbours[i].append(j)
        neighbours[j].append(i)
    if size <= WHOLE_SIZE and _longest_path(neighbours) <= WHOLE_BONDS:
        return [0] * size
    # Atoms with one bond, hydrogens above all, stay with the atom that they are bonded to.
    host = [
        atom if len(bonded) != 1 or len(neighbours[bonded[0]]) == 1 else bonded[0]
        for atom, bonded in enumerate(neighbours)
    ]
    weights, totals = np.bincount(host, minlength=size), np.bincount(host, charges, minlength=size)
    part = _TreePartition(neighbours, host, weights.tolist(), totals.tolist()).parts()
    numbers: dict[int, int] = {}
    return [numbers.setdefault(part[host[atom]], len(numbers)) for atom in range(size)]


def _longest_path(neighbours: Sequence[Sequence[int]]) -> int:
    """The largest number of bonds between two atoms."""
    longest = 0
    for start in range(len(neighbours)):
        distance = {start: 0}
        front = [start]
        for atom in front:
            for other in neighbours[atom]:
                if other not in distance:
                    distance[other] = distance[atom] + 1
                    front.append(other)
        longest = max(longest, max(distance.values()))
    return longest


@dataclass(frozen=True)
class _Open:
    """A part that holds an atom and some of what is below it in the tree, and may still grow upwards.

    Attributes:
        height: Bonds from the atom to the farthest atom of the part below it.
        size: Atoms of the part.
        charge: Charge of the part, e.
        cost: Cost of all parts below that are complete.
        joined: The children whose open parts belong to this one, with these.
    """

    height: int
    size: int
    charge: float
    cost: float
    joined: tuple[tuple[int, _Open], ...] = ()

    @property
    def total(self) -> float:
        """Cost of all parts if this one is complete."""
        whole = round(self.charge)
        return self.cost + min(self.charge**2, (self.charge - whole) ** 2 + CHARGE_COST * abs(whole)) + PART_COST

    @property
    def key(self) -> tuple[int, int, int]:
        """What the future of the part depends on."""
        return (self.height, self.size, round(1e4 * self.charge))


class _TreePartition:
    """The best partition of a spanning tree of the atoms that are their own hosts."""

    def __init__(self, neighbours: list[list[int]], host: list[int], weights: list[int], charges: list[float]) -> None:
        self._weights = weights
        self._charges = charges
        tree = _polar_spanning_tree(neighbours, host, charges)
        root = min(tree)
        self._order = [root]
        self._children: dict[int, list[int]] = {}
        for atom in self._order:
            self._children[atom] = [other for other in tree[atom] if other not in self._children]
            self._order.extend(self._children[atom])

    def parts(self) -> dict[int, int]:
        """The part of each atom of the tree, named by the atom of the part that is highest in the tree."""
        best: dict[int, _Open] = {}
        candidates: dict[int, list[_Open]] = {}
        for atom in reversed(self._order):
            states = [_Open(0, self._weights[atom], self._charges[atom], 0.0)]
            for child in self._children[atom]:
                states = self._with_child(states, child, candidates.pop(child), best[child].total)
            candidates[atom] = states
            best[atom] = min(states, key=lambda state: (state.total, state.key))
        part: dict[int, int] = {}
        for atom in self._order:
            if atom not in part:
                self._assign(atom, best[atom], atom, part)
        return part

    @staticmethod
    def _with_child(states: list[_Open], child: int, below: list[_Open], closed: float) -> list[_Open]:
        merged: dict[tuple[int, int, int], _Open] = {}
        for state in states:
            options = [_Open(state.height, state.size, state.charge, state.cost + closed, state.joined)]
            for part in below:
                if state.height + part.height + 1 <= PART_BONDS and state.size + part.size <= PART_SIZE:
                    options.append(
                        _Open(
                            max(state.height, part.height + 1),
                            state.size + part.size,
                            state.charge + part.charge,
                            state.cost + part.cost,
                            (*state.joined, (child, part)),
                        )
                    )
            for option in options:
                known = merged.get(option.key)
                if known is None or option.cost < known.cost:
                    merged[option.key] = option
        return list(merged.values())

    @staticmethod
    def _assign(atom: int, state: _Open, name: int, part: dict[int, int]) -> None:
        part[atom] = name
        for child, below in state.joined:
            _TreePartition._assign(child, below, name, part)


def _polar_spanning_tree(neighbours: list[list[int]], host: list[int], charges: list[float]) -> dict[int, list[int]]:
    """Neighbours in a spanning tree of the hosts that opens rings where the charges attract each other least."""
    hosts = [atom for atom in range(len(host)) if host[atom] == atom]
    edges = [(i, j) for i in hosts for j in neighbours[i] if i < j and host[j] == j]
    tree: dict[int, list[int]] = {atom: [] for atom in hosts}
    joined = {atom: [atom] for atom in hosts}
    for i, j in sorted(edges, key=lambda edge: (charges[edge[0]] * charges[edge[1]], edge)):
        if joined[i] is not joined[j]:
            tree[i].append(j)
            tree[j].append(i)
            joined[i].extend(joined[j])
            for atom in joined[j]:
                joined[atom] = joined[i]
    return tree
