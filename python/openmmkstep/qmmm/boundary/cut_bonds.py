"""Which bonds between a QM region and its surroundings can be cut, and which had better not be.

A link atom stands for one electron pair between two atoms. It does so well for single bonds between saturated carbon
atoms, less so for polar bonds, and not at all for bonds that share in pi electrons or close a ring.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from openmm import app

from ..molecule_graph import MoleculeGraph

LARGEST_RING = 8
"""Atoms; larger rings, such as those that disulfide bridges close in proteins, may be cut."""

_HYDROGEN, _CARBON, _NITROGEN, _OXYGEN = 1, 6, 7, 8


@dataclass(frozen=True)
class CutBond:
    """A bond between a QM and an MM atom.

    Attributes:
        qm: Particle index of the QM atom.
        mm: Particle index of the MM atom.
        name: The bond as people write it.
        obstacles: Why it cannot be cut, each a part of a sentence; none if it can.
        doubts: Why it had better not be.
    """

    qm: int
    mm: int
    name: str
    obstacles: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


def find_cut_bonds(topology: app.Topology, graph: MoleculeGraph, members: Collection[int]) -> list[CutBond]:
    """The bonds that a region cuts, sorted, with what speaks against cutting them.

    Orders of bonds are those of the topology; where it has none, they are told from elements and numbers of neighbours.

    Args:
        topology: The topology, for elements and orders of bonds.
        graph: The molecular graph of topology and system.
        members: Particle indices of the region, virtual sites included.
    """
    judge = _Judge(topology, graph)
    return [
        CutBond(qm, mm, f"{graph.name(qm)} - {graph.name(mm)}", judge.obstacles(qm, mm), judge.doubts(qm, mm))
        for qm, mm in graph.cut_bonds(members)
    ]


class _Judge:
    def __init__(self, topology: app.Topology, graph: MoleculeGraph) -> None:
        self._graph = graph
        self._elements = {
            atom.index: atom.element.atomic_number for atom in topology.atoms() if atom.element is not None
        }
        self._symbols = {atom.index: atom.element.symbol for atom in topology.atoms() if atom.element is not None}
        self._multiple = {}
        for bond in topology.bonds():
            kind = "" if bond.type is None else str(bond.type).lower()
            if bond.order is not None or kind:
                several = (bond.order or 1) > 1 or kind in ("double", "triple", "aromatic", "amide")
                self._multiple[frozenset((bond[0].index, bond[1].index))] = several

    def obstacles(self, qm: int, mm: int) -> tuple[str, ...]:
        found = []
        if _HYDROGEN in (self._elements.get(qm), self._elements.get(mm)):
            found.append("it ends at a hydrogen atom, which belongs to the same side as the atom it is bonded to")
        ring = self._ring_size(qm, mm)
        if ring is not None:
            found.append(f"it is part of a ring of {ring} atoms, which stay together")
        if self._is_multiple(qm, mm):
            found.append("it is a double, aromatic or conjugated bond (such as that of an amide)")
        return tuple(found)

    def doubts(self, qm: int, mm: int) -> tuple[str, ...]:
        if self._elements.get(qm) != _CARBON or self._elements.get(mm) != _CARBON:
            symbols = "-".join(self._symbols.get(particle, "?") for particle in (qm, mm))
            return (f"it is a {symbols} bond; a link atom stands best for a bond between two saturated carbon atoms",)
        unsaturated = [particle for particle in (qm, mm) if self._is_unsaturated(particle)]
        if unsaturated:
            return (f"{self._graph.name(unsaturated[0])} is unsaturated; cut one bond farther away",)
        return ()

    def _is_multiple(self, i: int, j: int) -> bool:
        known = self._multiple.get(frozenset((i, j)))
        return self._is_unsaturated(i) and self._is_unsaturated(j) if known is None else known

    def _is_unsaturated(self, particle: int) -> bool:
        """Whether an atom has pi electrons to share, judged by its neighbours."""
        element, neighbours = self._elements.get(particle), self._graph.neighbours(particle)
        if element == _CARBON:
            return len(neighbours) < 4
        if element == _NITROGEN:
            beside_pi = any(self._elements.get(n) == _CARBON and self._is_unsaturated(n) for n in neighbours)
            return len(neighbours) < 3 or (len(neighbours) == 3 and beside_pi)
        return element == _OXYGEN and len(neighbours) == 1

    def _ring_size(self, first: int, second: int) -> int | None:
        """Number of atoms of the smallest ring that a bond is part of, if it is small."""
        reached, front = {first}, [first]
        for bonds in range(1, LARGEST_RING):
            front = [
                other
                for particle in front
                for other in self._graph.neighbours(particle)
                if other not in reached and {particle, other} != {first, second}
            ]
            if second in front:
                return bonds + 1
            reached.update(front)
        return None
