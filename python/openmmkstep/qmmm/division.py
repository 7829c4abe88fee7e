"""Divides an MM system into what stays of it around a QM region, and the region's own force-field terms."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import openmm

from . import force_groups
from .bonded_terms import is_bonded, split_terms
from .molecule_graph import MoleculeGraph
from .nonbonded_terms import (
    UnsupportedForceFieldError,
    custom_region_pair_force,
    exclude_custom_region_pairs,
    exclude_region_pairs,
    region_pair_force,
)

# Forces without energy: they act on the box or on velocities, once per step of the integrator.
_WITHOUT_ENERGY = frozenset(
    {
        "CMMotionRemover",
        "AndersenThermostat",
        "MonteCarloBarostat",
        "MonteCarloAnisotropicBarostat",
        "MonteCarloFlexibleBarostat",
        "MonteCarloMembraneBarostat",
    }
)
# Forces that act on single particles: they have no terms inside a region.
_SINGLE_PARTICLE = frozenset({"CustomExternalForce"})


@dataclass
class SystemDivision:
    """The result of divide_system().

    Attributes:
        system: a new system: the surroundings, and the coupling to the region that stays in the force field.
        region_forces: the region's own terms in vacuum, not yet part of any system.
        removed_constraints: constraints that were inside the region, as (particle, particle, nm).
    """

    system: openmm.System
    region_forces: list[openmm.Force] = field(default_factory=list)
    removed_constraints: list[tuple[int, int, float]] = field(default_factory=list)


def divide_system(
    system: openmm.System,
    region: Sequence[int],
    zero_charges: bool,
    split_nonbonded: bool,
    with_region_forces: bool,
    keep_forces: Collection[str],
    nearest_images: bool = False,
) -> SystemDivision:
    """Take the force field's own description of a region out of a copy of a system.

    Bonded terms wholly inside the region are removed, terms across its border and elsewhere stay; nonbonded
    interactions between its particles become exceptions and exclusions; its constraints are removed. All forces end up
    in the common force group, or nonbonded ones in the slow common group.

    Args:
        system: not changed.
        region: particle indices; must not cut bonds.
        zero_charges: whether the region's charges are taken out (electrostatic embedding).
        split_nonbonded: put nonbonded forces into the slow common group.
        with_region_forces: also collect the region's own terms.
        keep_forces: names of forces to keep as they are, whatever they are.
        nearest_images: whether pairs of the region are to be seen at their nearest images, as it must be when it
            consists of several molecules, which may lie in different images of a periodic box.

    Raises:
        UnsupportedForceFieldError: a force that may act inside the region and is of no known kind; a name in keepForces
            that no force has; a constraint inside the region without a bond term, if region forces are wanted.
    """
    _refuse_unknown(system, keep_forces)
    mixed: openmm.System = openmm.XmlSerializer.clone(system)
    originals = [openmm.XmlSerializer.clone(force) for force in mixed.getForces()]
    while mixed.getNumForces():
        mixed.removeForce(0)
    division = SystemDivision(mixed)
    for force in originals:
        kind = type(force).__name__
        if kind in _WITHOUT_ENERGY:
            # Among the slow ones, so that the fast common group is not evaluated when nothing else is in it.
            _add(mixed, force, force_groups.SLOW_COMMON if split_nonbonded else force_groups.COMMON)
        elif force.getName() in keep_forces or kind in _SINGLE_PARTICLE:
            _add(mixed, force, force_groups.COMMON)
        elif is_bonded(force):
            outside, inside = split_terms(force, region)
            if outside is not None:
                _add(mixed, outside, force_groups.COMMON)
            if inside is not None:
                division.region_forces.append(inside)
        else:
            if with_region_forces:
                division.region_forces.append(_region_pairs(force, region, nearest_images))
            if len(region) == system.getNumParticles() and not force.usesPeriodicBoundaryConditions():
                continue  # Nothing is left of it, and evaluating nothing at every inner step has its price.
            _exclude_pairs(force, region, zero_charges)
            if nearest_images and isinstance(force, openmm.NonbondedForce) and force.usesPeriodicBoundaryConditions():
                force.setExceptionsUsePeriodicBoundaryConditions(True)
            _add(mixed, force, force_groups.SLOW_COMMON if split_nonbonded else force_groups.COMMON)
    division.removed_constraints = _remove_constraints(mixed, set(region))
    if not with_region_forces:
        division.region_forces.clear()
    return division


def refuse_missing_bond_terms(division: SystemDivision, graph: MoleculeGraph) -> None:
    """Raise UnsupportedForceFieldError if a constraint of the region has no bond term that could take its place.

    Without one the force-field base level would let the two atoms drift apart.
    """
    bonded = set()
    for force in division.region_forces:
        if isinstance(force, openmm.HarmonicBondForce):
            bonded |= {frozenset(force.getBondParameters(index)[:2]) for index in range(force.getNumBonds())}
    for i, j, _ in division.removed_constraints:
        if frozenset((i, j)) not in bonded:
            raise UnsupportedForceFieldError(
                f"{graph.name(i)} and {graph.name(j)} are held by a constraint and have no bond term, so the force "
                "field as base level would not hold them together: create the system with constraints=None or with "
                "flexibleConstraints=True, or choose another base level"
            )


def _refuse_unknown(system: openmm.System, keep_forces: Collection[str]) -> None:
    names = [force.getName() for force in system.getForces()]
    missing = sorted(set(keep_forces) - set(names))
    if missing:
        raise UnsupportedForceFieldError(f"keepForces names {missing}, but the forces are {names}")
    for force in system.getForces():
        kind = type(force).__name__
        harmless = kind in _WITHOUT_ENERGY or kind in _SINGLE_PARTICLE
        known = harmless or is_bonded(force) or kind in ("NonbondedForce", "CustomNonbondedForce")
        if not known and force.getName() not in keep_forces:
            raise UnsupportedForceFieldError(
                f"the system has a {kind} ({force.getName()!r}), which may act inside the QM region and whose terms "
                "there cannot be told apart. If it is a restraint or a bias that must stay as it is, name it in "
                "keepForces; otherwise remove it"
            )


def _region_pairs(force: openmm.Force, region: Sequence[int], nearest_images: bool) -> openmm.Force:
    if isinstance(force, openmm.NonbondedForce):
        pairs = region_pair_force(force, region)
        pairs.setUsesPeriodicBoundaryConditions(nearest_images and force.usesPeriodicBoundaryConditions())
        return pairs
    return custom_region_pair_force(force, region)


def _exclude_pairs(force: openmm.Force, region: Sequence[int], zero_charges: bool) -> None:
    if isinstance(force, openmm.NonbondedForce):
        exclude_region_pairs(force, region, zero_charges)
        force.setReciprocalSpaceForceGroup(-1)
    else:
        exclude_custom_region_pairs(force, region)


def _remove_constraints(system: openmm.System, members: set[int]) -> list[tuple[int, int, float]]:
    removed = []
    for index in reversed(range(system.getNumConstraints())):
        i, j, distance = system.getConstraintParameters(index)
        if i in members and j in members:
            removed.append((i, j, distance._value))
            system.removeConstraint(index)
    return removed[::-1]


def _add(system: openmm.System, force: openmm.Force, group: int) -> None:
    force.setForceGroup(group)
    system.addForce(force)
