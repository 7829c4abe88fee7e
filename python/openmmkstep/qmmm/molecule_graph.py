"""Which particles are bonded to which: molecules, residues as charge groups, and bonds that a QM region would cut."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app


class MoleculeGraph:
    """Undirected graph of the particles of a system.

    Edges are the bonds of the topology, the constraints, the terms of every HarmonicBondForce, and virtual sites with
    the particles that define them: a topology without bonds (common after reading foreign files) must not hide a bond.

    Args:
        topology: names the particles.
        system: has the same particles in the same order.

    Raises:
        ValueError: the two have different numbers of particles.
    """

    def __init__(self, topology: app.Topology, system: openmm.System) -> None:
        if topology.getNumAtoms() != system.getNumParticles():
            raise ValueError(
                f"the topology has {topology.getNumAtoms()} atoms and the system {system.getNumParticles()} particles: "
                "pass the topology from which the system was made (with its virtual sites, if any)"
            )
        self._atoms = list(topology.atoms())
        self._topology_bonds = sorted({_ordered(bond[0].index, bond[1].index) for bond in topology.bonds()})
        self._bonds = sorted({*self._topology_bonds, *_system_bonds(system)})
        self._molecule = _components(len(self._atoms), [*self._bonds, *_virtual_site_edges(system)])

    @property
    def molecules(self) -> NDArray[np.int64]:
        """Number of the molecule of each particle [N], in order of first appearance."""
        return self._molecule

    def charge_groups(self) -> NDArray[np.int64]:
        """Number of the charge group of each particle [N]: the part of a molecule that lies in one residue.

        Small molecules are one group. Of a protein each residue is one: its charge is nearly whole, and it is small
        enough that switching it as a whole by its centroid makes sense.
        """
        keys: dict[tuple[int, int], int] = {}
        residue = [atom.residue.index for atom in self._atoms]
        return np.array(
            [keys.setdefault((int(self._molecule[i]), residue[i]), len(keys)) for i in range(len(self._atoms))],
            dtype=np.int64,
        )

    def cut_bonds(self, region: Collection[int]) -> list[tuple[int, int]]:
        """Bonds with one end in the region, as (inside, outside), sorted."""
        inside = set(region)
        cut = {(i, j) if i in inside else (j, i) for i, j in self._bonds if (i in inside) != (j in inside)}
        return sorted(cut)

    def bonds_within(self, region: Iterable[int]) -> NDArray[np.int64]:
        """Bonds with both ends in the region [b,2], as places in the region (not particle indices).

        Those of the topology; only if it has none there, those that constraints and bond terms suggest.
        """
        place = {particle: index for index, particle in enumerate(region)}
        for candidates in (self._topology_bonds, self._bonds):
            found = sorted((place[i], place[j]) for i, j in candidates if i in place and j in place)
            if found:
                return np.array(found, dtype=np.int64)
        return np.zeros((0, 2), dtype=np.int64)

    def name(self, particle: int) -> str:
        """A particle as people write it, for example ``CA of ALA 2 (index 8)``."""
        atom = self._atoms[particle]
        return f"{atom.name} of {atom.residue.name} {atom.residue.id} (index {particle})"


def _system_bonds(system: openmm.System) -> list[tuple[int, int]]:
    edges = set()
    for index in range(system.getNumConstraints()):
        i, j, _ = system.getConstraintParameters(index)
        # Rigid water has a constraint between its hydrogens: no bond, but inside one molecule it changes nothing.
        edges.add(_ordered(i, j))
    for force in system.getForces():
        if isinstance(force, openmm.HarmonicBondForce):
            for index in range(force.getNumBonds()):
                i, j, _, _ = force.getBondParameters(index)
                edges.add(_ordered(i, j))
    return list(edges)


def _virtual_site_edges(system: openmm.System) -> list[tuple[int, int]]:
    edges = []
    for particle in range(system.getNumParticles()):
        if system.isVirtualSite(particle):
            site = system.getVirtualSite(particle)
            edges += [(particle, site.getParticle(k)) for k in range(site.getNumParticles())]
    return edges


def _ordered(i: int, j: int) -> tuple[int, int]:
    return (i, j) if i < j else (j, i)


def _components(size: int, edges: Iterable[tuple[int, int]]) -> NDArray[np.int64]:
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
