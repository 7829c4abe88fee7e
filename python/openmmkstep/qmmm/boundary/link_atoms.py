"""Hydrogen atoms that saturate the bonds which a QM region cuts: where they stand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import openmm
from openmm import app, unit

from openmmkstep.openmmapi.region import LinkAtom
from openmmkstep.units import value_in

from ..molecule_graph import MoleculeGraph

LinkAtomDistance = tuple[int, int, "float | unit.Quantity"]
"""Two bonded particles of which one is in the region, and the length of the bond to the link atom (nm) there."""

HYDROGEN_MASS = 1.008
"""amu."""

# Lengths of single bonds to hydrogen, nm: methane, ammonia, water, methanethiol and their like.
_BOND_TO_HYDROGEN = {6: 0.109, 7: 0.101, 8: 0.096, 9: 0.092, 14: 0.148, 15: 0.142, 16: 0.134, 34: 0.146}
# Covalent radii, nm (Cordero et al., Dalton Trans. 2008, 2832).
_RADII = {1: 0.031, 5: 0.084, 6: 0.076, 7: 0.071, 8: 0.066, 9: 0.057, 14: 0.111, 15: 0.107, 16: 0.105, 34: 0.120}


class LinkAtomError(ValueError):
    """Link atoms that cannot be placed as they were asked for."""


def place_link_atoms(
    topology: app.Topology,
    system: openmm.System,
    graph: MoleculeGraph,
    cut: Sequence[tuple[int, int]],
    distances: Iterable[LinkAtomDistance] = (),
) -> tuple[LinkAtom, ...]:
    """One link atom for each cut bond, at a fixed fraction of the bond.

    The fraction is the length of a bond to hydrogen over the length of the bond that is cut, both at rest: a standard
    length over the force field's.

    Args:
        topology: The topology, which names the elements.
        system: The force field, for the lengths of the bonds that are cut.
        graph: The molecular graph of both.
        cut: The cut bonds as (QM particle, MM particle).
        distances: Lengths to use instead of the standard ones.

    Raises:
        LinkAtomError: A length for a bond that is not cut, given twice, or not between 0 and the length of the bond; an
            element at the QM end of which no standard length is known.
    """
    given = _checked_distances(cut, distances, graph)
    elements = {atom.index: atom.element.atomic_number for atom in topology.atoms() if atom.element is not None}
    resting = _lengths_at_rest(system, cut)
    links = []
    for qm, mm in cut:
        where = f"{graph.name(qm)} - {graph.name(mm)}"
        if (qm, mm) in given:
            distance = given[qm, mm]
        elif elements.get(qm) in _BOND_TO_HYDROGEN:
            distance = _BOND_TO_HYDROGEN[elements[qm]]
        else:
            raise LinkAtomError(
                f"no standard length of a bond to hydrogen is known for the QM end of the cut bond {where}: give one "
                "in linkAtomDistances, or cut between two carbon atoms"
            )
        length = resting.get((qm, mm)) or _sum_of_radii(elements, qm, mm)
        if length is None:
            raise LinkAtomError(
                f"the length of the cut bond {where} is not known: the system has no bond term or constraint there"
            )
        if not 0 < distance < length:
            raise LinkAtomError(
                f"the link atom of {where} must stand between the two atoms, which are {length:.4f} nm apart at rest; "
                f"its distance is {distance:g} nm"
            )
        links.append(LinkAtom(qm, mm, distance / length))
    return tuple(links)


def _checked_distances(
    cut: Sequence[tuple[int, int]], distances: Iterable[LinkAtomDistance], graph: MoleculeGraph
) -> dict[tuple[int, int], float]:
    given: dict[tuple[int, int], float] = {}
    for first, second, distance in distances:
        pair = next((pair for pair in cut if set(pair) == {first, second}), None)
        if pair is None:
            cuts = "; ".join(f"{i}, {j}" for i, j in cut) or "none"
            raise LinkAtomError(
                f"linkAtomDistances names the particles {first} and {second}, between which no bond is cut; "
                f"cut are (QM, MM): {cuts}"
            )
        if pair in given:
            raise LinkAtomError(f"linkAtomDistances has two entries for {graph.name(pair[0])} - {graph.name(pair[1])}")
        given[pair] = value_in(distance, unit.nanometer)
    return given


def _lengths_at_rest(system: openmm.System, pairs: Sequence[tuple[int, int]]) -> dict[tuple[int, int], float]:
    """Lengths of bonds by the force field's harmonic terms or else constraints, nm."""
    wanted = {frozenset(pair): pair for pair in pairs}
    found: dict[tuple[int, int], float] = {}
    for index in range(system.getNumConstraints()):
        i, j, distance = system.getConstraintParameters(index)
        if frozenset((i, j)) in wanted:
            found[wanted[frozenset((i, j))]] = value_in(distance, unit.nanometer)
    for force in system.getForces():
        if isinstance(force, openmm.HarmonicBondForce):
            for index in range(force.getNumBonds()):
                i, j, length, _ = force.getBondParameters(index)
                pair = wanted.get(frozenset((i, j)))
                # Urey-Bradley terms are between other atoms; what there is more of on a bond is a restraint.
                if pair is not None and pair not in found:
                    found[pair] = value_in(length, unit.nanometer)
    return {pair: length for pair, length in found.items() if length > 0}


def _sum_of_radii(elements: dict[int, int], i: int, j: int) -> float | None:
    radii = [_RADII.get(elements.get(particle, 0)) for particle in (i, j)]
    return None if radii[0] is None or radii[1] is None else radii[0] + radii[1]
