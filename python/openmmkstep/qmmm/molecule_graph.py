"""Which particles are bonded to which: molecules, bonds that a QM region would cut, distances along bonds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app

Pair = tuple[int, int]

# Force fields exclude neighbours of one, two and sometimes three bonds; what is excluded beyond is bonded, and the
# topology does not know it.
_LONGEST_EXCLUSION = 3


class MoleculeGraph:
    """Undirected graph of the particles of a system.

    Edges are the bonds of the topology. A topology without bonds, or with some missing (both are common after reading
    foreign files), must not hide a bond: constraints and the terms of every HarmonicBondForce count as bonds too if the
    force field excludes the nonbonded interaction of their particles and the topology does not explain why. Restraints
    and biases, whose particles interact, are no bonds. Virtual sites belong to the particles that define them.

    Args:
        topology: The topology of the system, with the same particles in the same order.
        system: The system; it is not kept.

    Raises:
        ValueError: Topology and system have different numbers of particles.
    """

    def __init__(self, topology: app.Topology, system: openmm.System) -> None:
        if topology.getNumAtoms() != system.getNumParticles():
            raise ValueError(
                f"the topology has {topology.getNumAtoms()} atoms and the system {system.getNumParticles()} particles: "
                "pass the topology from which the system was made (with its virtual sites, if any)"
            )
        self._atoms = list(topology.atoms())
        self._topology_bonds = sorted({_ordered(bond[0].index, bond[1].index) for bond in topology.bonds()})
        self._neighbours = _adjacency(self._topology_bonds)
        self._bonds = self._topology_bonds
        unknown_to_topology = self._bonds_of_the_system(system)
        if unknown_to_topology:
            self._bonds = sorted({*self._topology_bonds, *unknown_to_topology})
            self._neighbours = _adjacency(self._bonds)
        self._virtual_sites = _virtual_sites(system)
        edges = [(site, parent) for site, parents in self._virtual_sites.items() for parent in parents]
        self._molecule = components(len(self._atoms), [*self._bonds, *edges])

    @property
    def molecules(self) -> NDArray[np.int64]:
        """Number of the molecule of each particle [N], in order of first appearance."""
        return self._molecule

    @property
    def bonds(self) -> list[Pair]:
        """All bonds, each with the lower index first, sorted."""
        return self._bonds

    @property
    def residues(self) -> list[int]:
        """Index of the residue of each particle [N]."""
        return [atom.residue.index for atom in self._atoms]

    @property
    def virtual_sites(self) -> dict[int, tuple[int, ...]]:
        """The particles with mass that define each virtual site, by way of other virtual sites too."""
        return self._virtual_sites

    def neighbours(self, particle: int) -> list[int]:
        """The particles that are bonded to one."""
        return self._neighbours.get(particle, [])

    def separation(self, first: int, second: int, limit: int = _LONGEST_EXCLUSION) -> int | None:
        """Number of bonds between two particles, None if it is above the limit."""
        reached, front = {first}, [first]
        for distance in range(limit + 1):
            if second in front:
                return distance
            front = [n for particle in front for n in self._neighbours.get(particle, ()) if n not in reached]
            reached.update(front)
        return None

    def cut_bonds(self, members: Collection[int]) -> list[Pair]:
        """Bonds with one end among some particles, as (inside, outside), sorted."""
        inside = set(members)
        cut = {(i, j) if i in inside else (j, i) for i, j in self._bonds if (i in inside) != (j in inside)}
        return sorted(cut)

    def bonds_within(self, particles: Iterable[int]) -> NDArray[np.int64]:
        """Bonds with both ends among some particles [b,2], as places in their list (not particle indices).

        Those of the topology; only if it has none there, those that constraints and bond terms suggest.
        """
        place = {particle: index for index, particle in enumerate(particles)}
        for candidates in (self._topology_bonds, self._bonds):
            found = sorted((place[i], place[j]) for i, j in candidates if i in place and j in place)
            if found:
                return np.array(found, dtype=np.int64)
        return np.zeros((0, 2), dtype=np.int64)

    def name(self, particle: int) -> str:
        """A particle as people write it, for example ``CA of ALA 2 (index 8)``."""
        atom = self._atoms[particle]
        return f"{atom.name} of {atom.residue.name} {atom.residue.id} (index {particle})"

    def is_hydrogen(self, particle: int) -> bool:
        """Whether the topology says that a particle is a hydrogen atom."""
        return self._atoms[particle].element is app.element.hydrogen

    def type_name(self, particle: int) -> str:
        """What a particle has in common with its equivalents in other residues, for example ``ALA:CA``."""
        atom = self._atoms[particle]
        return f"{atom.residue.name}:{atom.name}"

    def _bonds_of_the_system(self, system: openmm.System) -> set[Pair]:
        known = set(self._topology_bonds)
        candidates = {pair for pair in _suggested_bonds(system) if pair not in known and self.separation(*pair) is None}
        if not candidates:
            return candidates
        excluded = _excluded(system, candidates)
        if excluded is not None:
            return excluded
        # Nothing tells whether they interact: what the topology gives no bond at all cannot be trusted to have none.
        return {pair for pair in candidates if not any(particle in self._neighbours for particle in pair)}


def _suggested_bonds(system: openmm.System) -> Iterator[Pair]:
    for index in range(system.getNumConstraints()):
        i, j, _ = system.getConstraintParameters(index)
        yield _ordered(i, j)
    for force in system.getForces():
        if isinstance(force, openmm.HarmonicBondForce):
            for index in range(force.getNumBonds()):
                i, j, _, _ = force.getBondParameters(index)
                yield _ordered(i, j)


def _excluded(system: openmm.System, pairs: set[Pair]) -> set[Pair] | None:
    """Those of some pairs that do not interact through nonbonded forces, None if there is no such force."""
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            excluded = set()
            for index in range(force.getNumExceptions()):
                i, j, charge, _, epsilon = force.getExceptionParameters(index)
                if _ordered(i, j) in pairs and charge._value == 0 and epsilon._value == 0:
                    excluded.add(_ordered(i, j))
            return excluded
    for force in system.getForces():
        if isinstance(force, openmm.CustomNonbondedForce):
            exclusions = (force.getExclusionParticles(index) for index in range(force.getNumExclusions()))
            return {_ordered(*pair) for pair in exclusions} & pairs
    return None


def _virtual_sites(system: openmm.System) -> dict[int, tuple[int, ...]]:
    direct = {}
    for particle in range(system.getNumParticles()):
        if system.isVirtualSite(particle):
            site = system.getVirtualSite(particle)
            direct[particle] = [site.getParticle(k) for k in range(site.getNumParticles())]

    def with_mass(particle: int) -> set[int]:
        if particle not in direct:
            return {particle}
        return {root for parent in direct[particle] for root in with_mass(parent)}

    return {particle: tuple(sorted(with_mass(particle))) for particle in direct}


def _adjacency(bonds: Iterable[Pair]) -> dict[int, list[int]]:
    neighbours: dict[int, list[int]] = defaultdict(list)
    for i, j in bonds:
        neighbours[i].append(j)
        neighbours[j].append(i)
    return dict(neighbours)


def _ordered(i: int, j: int) -> Pair:
    return (i, j) if i < j else (j, i)


def components(size: int, edges: Iterable[Pair]) -> NDArray[np.int64]:
    """Number of the connected component of each node [size], in order of first appearance."""
    parent = list(range(size))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, j in edges:
        a, b = root(i), root(j)
        # The lower index stays the root, so that components are numbered in order of first appearance.
        parent[max(a, b)] = min(a, b)
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(root(i), len(numbers)) for i in range(size)], dtype=np.int64)
