"""Divides an MM system into what stays of it around a QM region, and the region's own force-field terms."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import openmm
from openmm import unit

from openmmkstep.units import value_in

from ..levels import force_groups
from ..molecule_graph import MoleculeGraph
from .nonbonded_terms import (
    RegionCharges,
    custom_region_pair_force,
    exclude_custom_region_pairs,
    exclude_region_pairs,
    region_pair_force,
)
from .origins import Origin
from .recognition import ForceReference, RecognisedForce, UnsupportedForceFieldError, recognise_forces


class SystemDivision:
    """What stays of an MM system around a QM region, and what the force field said about the region itself.

    Bonded terms inside the region that the force field made are removed, terms across its border and elsewhere stay, as
    do restraints and biases; nonbonded interactions between its particles become exceptions and exclusions; constraints
    along its bonds are removed. Pairs of a region of several molecules, which may lie in different images of a periodic
    box, are excluded at their nearest images.

    The force field's forces end up in the common force group. Others keep their group, unless it is one that the levels
    use: then they end up in the common group as well.

    Args:
        system: The system as the force field describes it, with the user's own forces; it is not changed.
        region: Particle indices of the region, virtual sites included; must not cut bonds.
        graph: The molecular graph of the system.
        charges: What becomes of the region's charges.
        keep_forces: Forces to keep as they are, whatever they are.
        remove_forces: Forces whose terms inside the region are the force field's.

    Attributes:
        system: A new system: the surroundings, the coupling to the region that stays in the force field, and the user's
            own forces.
        divides_charges: Whether it did to a NonbondedForce what ``charges`` says; not if the user keeps that as it is.
        removed_constraints: Constraints that were inside the region, as (particle, particle, nm).

    Raises:
        UnsupportedForceFieldError: What recognise_forces() raises.
    """

    def __init__(
        self,
        system: openmm.System,
        region: Iterable[int],
        graph: MoleculeGraph,
        charges: RegionCharges = RegionCharges.KEPT,
        keep_forces: Iterable[ForceReference] = (),
        remove_forces: Iterable[ForceReference] = (),
    ) -> None:
        self._region = tuple(region)
        self._graph = graph
        self._charges = charges
        self.divides_charges = False
        self._nearest_images = len(set(graph.molecules[list(self._region)])) > 1
        self._removed_terms: list[openmm.Force] = []
        self._slow_forces: list[int] = []
        recognised = recognise_forces(system, self._region, graph, keep_forces, remove_forces)
        self.system: openmm.System = openmm.XmlSerializer.clone(system)
        while self.system.getNumForces():
            self.system.removeForce(0)
        for entry in recognised:
            self._add_what_stays(entry)
        self.removed_constraints = _remove_constraints(self.system, self._region, graph)

    def split_off_nonbonded(self) -> None:
        """Put the force field's nonbonded forces, and forces without energy, into the slow common group.

        The latter so that the fast common group is not evaluated when nothing else is in it.
        """
        for index in self._slow_forces:
            self.system.getForce(index).setForceGroup(force_groups.SLOW_COMMON)

    def split_off_reciprocal(self) -> None:
        """Put the reciprocal space of the force field's Ewald sums into a group of its own.

        Raises:
            UnsupportedForceFieldError: There is none.
        """
        found = False
        for index in self._slow_forces:
            force = self.system.getForce(index)
            if isinstance(force, openmm.NonbondedForce):
                force.setReciprocalSpaceForceGroup(force_groups.RECIPROCAL)
                found = found or force_groups.reciprocal_group(force) is not None
        if not found:
            raise UnsupportedForceFieldError(
                "the force field has no reciprocal space that could be split off: splitReciprocal is for PME and Ewald "
                "sums, leave it out"
            )

    def region_forces(self) -> list[openmm.Force]:
        """The force field's own terms inside the region, in vacuum; not part of any system yet.

        Raises:
            UnsupportedForceFieldError: Terms that cannot be had as forces of their own; a bond that is held by a
                constraint and has no term, so that nothing would hold it.
        """
        self._refuse_missing_bond_terms()
        return [self._in_vacuum(force) for force in self._removed_terms]

    def _add_what_stays(self, entry: RecognisedForce) -> None:
        rest: openmm.Force | None
        if entry.bonded is not None:
            rest, removed = entry.bonded.split(entry.places)
        else:
            rest = openmm.XmlSerializer.clone(entry.force)
            removed = openmm.XmlSerializer.clone(entry.force) if entry.has_pairs else None
        if removed is not None:
            self._removed_terms.append(removed)
        everything = len(self._region) == self.system.getNumParticles()
        if rest is None or (entry.has_pairs and everything and not rest.usesPeriodicBoundaryConditions()):
            return  # Nothing is left of it, and evaluating nothing at every inner step has its price.
        if entry.has_pairs or entry.spares_pairs:
            # Some platforms demand the same exclusions of all nonbonded forces.
            self._exclude_pairs(rest)
        users = entry.origin in (Origin.USER, Origin.INSEPARABLE)
        if not users or rest.getForceGroup() in force_groups.RESERVED:
            rest.setForceGroup(force_groups.COMMON)
        index = self.system.addForce(rest)
        if entry.has_pairs or entry.origin is Origin.WITHOUT_ENERGY:
            self._slow_forces.append(index)

    def _exclude_pairs(self, force: openmm.Force) -> None:
        if isinstance(force, openmm.CustomNonbondedForce):
            exclude_custom_region_pairs(force, self._region)
            return
        exclude_region_pairs(force, self._region, self._charges)
        self.divides_charges = True
        # All of it in one group: where the common forces are.
        force.setReciprocalSpaceForceGroup(-1)
        if self._nearest_images and force.usesPeriodicBoundaryConditions():
            force.setExceptionsUsePeriodicBoundaryConditions(True)

    def _in_vacuum(self, force: openmm.Force) -> openmm.Force:
        if isinstance(force, openmm.NonbondedForce):
            pairs = region_pair_force(force, self._region)
            pairs.setUsesPeriodicBoundaryConditions(self._nearest_images and force.usesPeriodicBoundaryConditions())
            return pairs
        if isinstance(force, openmm.CustomNonbondedForce):
            return custom_region_pair_force(force, self._region)
        return openmm.XmlSerializer.clone(force)

    def _refuse_missing_bond_terms(self) -> None:
        held = set()
        for force in self._removed_terms:
            if isinstance(force, openmm.HarmonicBondForce):
                held |= {frozenset(force.getBondParameters(index)[:2]) for index in range(force.getNumBonds())}
            if isinstance(force, openmm.HarmonicAngleForce):
                held |= {frozenset(force.getAngleParameters(index)[:3:2]) for index in range(force.getNumAngles())}
        for i, j, _ in self.removed_constraints:
            if frozenset((i, j)) not in held:
                raise UnsupportedForceFieldError(
                    f"{self._graph.name(i)} and {self._graph.name(j)} are held by a constraint and have no bond term, "
                    "so the force field as base level would not hold them together: create the system with "
                    "constraints=None or with flexibleConstraints=True, or choose another base level"
                )


def _remove_constraints(
    system: openmm.System, region: Collection[int], graph: MoleculeGraph
) -> list[tuple[int, int, float]]:
    """Remove the constraints that a force field puts on the bonds of a region, and on the angles that they close.

    A force field constrains all bonds of a molecule, or all its bonds to hydrogen, or none. Any other constraint is the
    user's and stays.
    """
    inside = set(region)
    held = {}
    for index in range(system.getNumConstraints()):
        i, j, distance = system.getConstraintParameters(index)
        if i in inside and j in inside:
            held[frozenset((i, j))] = (index, (i, j, value_in(distance, unit.nanometer)))
    made = _constrained_by_the_force_field(set(held), inside, graph)
    removed = [held[pair] for pair in held if pair in made]
    for index, _ in sorted(removed, reverse=True):
        system.removeConstraint(index)
    return [constraint for _, constraint in removed]


def _constrained_by_the_force_field(
    held: set[frozenset[int]], inside: set[int], graph: MoleculeGraph
) -> set[frozenset[int]]:
    bonds: dict[int, list[frozenset[int]]] = {}
    for i, j in graph.bonds:
        if i in inside and j in inside and not {i, j} & graph.virtual_sites.keys():
            bonds.setdefault(int(graph.molecules[i]), []).append(frozenset((i, j)))
    made: set[frozenset[int]] = set()
    for molecule in bonds.values():
        to_hydrogen = [bond for bond in molecule if any(map(graph.is_hydrogen, bond))]
        for kind in (molecule, to_hydrogen):
            if held.issuperset(kind):
                made.update(kind)
                break
    for pair in held - made:
        i, j = pair
        centres = set(graph.neighbours(i)) & set(graph.neighbours(j))
        closes_angle = any({frozenset((i, k)), frozenset((k, j))} <= made for k in centres)
        if closes_angle and any(map(graph.is_hydrogen, pair)):
            made.add(pair)
    return made
