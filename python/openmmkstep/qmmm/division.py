"""Divides an MM system into what stays of it around a QM region, and the region's own force-field terms."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import openmm

from . import force_groups
from .bonded_terms import isBonded, splitTerms
from .molecule_graph import MoleculeGraph
from .nonbonded_terms import (
    UnsupportedForceFieldError,
    customRegionPairForce,
    excludeCustomRegionPairs,
    excludeRegionPairs,
    regionPairForce,
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
    """The result of divideSystem().

    Attributes:
        system: a new system: the surroundings, and the coupling to the region that stays in the force field.
        regionForces: the region's own terms in vacuum, not yet part of any system.
        removedConstraints: constraints that were inside the region, as (particle, particle, nm).
    """

    system: openmm.System
    regionForces: list[openmm.Force] = field(default_factory=list)
    removedConstraints: list[tuple[int, int, float]] = field(default_factory=list)


def divideSystem(
    system: openmm.System,
    region: Sequence[int],
    zeroCharges: bool,
    splitNonbonded: bool,
    withRegionForces: bool,
    keepForces: Collection[str],
    nearestImages: bool = False,
) -> SystemDivision:
    """Take the force field's own description of a region out of a copy of a system.

    Bonded terms wholly inside the region are removed, terms across its border and elsewhere stay; nonbonded
    interactions between its particles become exceptions and exclusions; its constraints are removed. All forces end up
    in the common force group, or nonbonded ones in the slow common group.

    Args:
        system: not changed.
        region: particle indices; must not cut bonds.
        zeroCharges: whether the region's charges are taken out (electrostatic embedding).
        splitNonbonded: put nonbonded forces into the slow common group.
        withRegionForces: also collect the region's own terms.
        keepForces: names of forces to keep as they are, whatever they are.
        nearestImages: whether pairs of the region are to be seen at their nearest images, as it must be when it
            consists of several molecules, which may lie in different images of a periodic box.

    Raises:
        UnsupportedForceFieldError: a force that may act inside the region and is of no known kind; a name in keepForces
            that no force has; a constraint inside the region without a bond term, if region forces are wanted.
    """
    _refuseUnknown(system, keepForces)
    mixed: openmm.System = openmm.XmlSerializer.clone(system)
    originals = [openmm.XmlSerializer.clone(force) for force in mixed.getForces()]
    while mixed.getNumForces():
        mixed.removeForce(0)
    division = SystemDivision(mixed)
    for force in originals:
        kind = type(force).__name__
        if kind in _WITHOUT_ENERGY:
            # Among the slow ones, so that the fast common group is not evaluated when nothing else is in it.
            _add(mixed, force, force_groups.SLOW_COMMON if splitNonbonded else force_groups.COMMON)
        elif force.getName() in keepForces or kind in _SINGLE_PARTICLE:
            _add(mixed, force, force_groups.COMMON)
        elif isBonded(force):
            outside, inside = splitTerms(force, region)
            if outside is not None:
                _add(mixed, outside, force_groups.COMMON)
            if inside is not None:
                division.regionForces.append(inside)
        else:
            if withRegionForces:
                division.regionForces.append(_regionPairs(force, region, nearestImages))
            if len(region) == system.getNumParticles() and not force.usesPeriodicBoundaryConditions():
                continue  # Nothing is left of it, and evaluating nothing at every inner step has its price.
            _excludePairs(force, region, zeroCharges)
            if nearestImages and isinstance(force, openmm.NonbondedForce) and force.usesPeriodicBoundaryConditions():
                force.setExceptionsUsePeriodicBoundaryConditions(True)
            _add(mixed, force, force_groups.SLOW_COMMON if splitNonbonded else force_groups.COMMON)
    division.removedConstraints = _removeConstraints(mixed, set(region))
    if not withRegionForces:
        division.regionForces.clear()
    return division


def refuseMissingBondTerms(division: SystemDivision, graph: MoleculeGraph) -> None:
    """Raise UnsupportedForceFieldError if a constraint of the region has no bond term that could take its place.

    Without one the force-field rung would let the two atoms drift apart.
    """
    bonded = set()
    for force in division.regionForces:
        if isinstance(force, openmm.HarmonicBondForce):
            bonded |= {frozenset(force.getBondParameters(index)[:2]) for index in range(force.getNumBonds())}
    for i, j, _ in division.removedConstraints:
        if frozenset((i, j)) not in bonded:
            raise UnsupportedForceFieldError(
                f"{graph.name(i)} and {graph.name(j)} are held by a constraint and have no bond term, so the force-"
                "field rung would not hold them together: create the system with constraints=None or with "
                "flexibleConstraints=True, or use keepForceFieldRung=False"
            )


def _refuseUnknown(system: openmm.System, keepForces: Collection[str]) -> None:
    names = [force.getName() for force in system.getForces()]
    missing = sorted(set(keepForces) - set(names))
    if missing:
        raise UnsupportedForceFieldError(f"keepForces names {missing}, but the forces are {names}")
    for force in system.getForces():
        kind = type(force).__name__
        harmless = kind in _WITHOUT_ENERGY or kind in _SINGLE_PARTICLE
        known = harmless or isBonded(force) or kind in ("NonbondedForce", "CustomNonbondedForce")
        if not known and force.getName() not in keepForces:
            raise UnsupportedForceFieldError(
                f"the system has a {kind} ({force.getName()!r}), which may act inside the QM region and whose terms "
                "there cannot be told apart. If it is a restraint or a bias that must stay as it is, name it in "
                "keepForces; otherwise remove it"
            )


def _regionPairs(force: openmm.Force, region: Sequence[int], nearestImages: bool) -> openmm.Force:
    if isinstance(force, openmm.NonbondedForce):
        pairs = regionPairForce(force, region)
        pairs.setUsesPeriodicBoundaryConditions(nearestImages and force.usesPeriodicBoundaryConditions())
        return pairs
    return customRegionPairForce(force, region)


def _excludePairs(force: openmm.Force, region: Sequence[int], zeroCharges: bool) -> None:
    if isinstance(force, openmm.NonbondedForce):
        excludeRegionPairs(force, region, zeroCharges)
        force.setReciprocalSpaceForceGroup(-1)
    else:
        excludeCustomRegionPairs(force, region)


def _removeConstraints(system: openmm.System, members: set[int]) -> list[tuple[int, int, float]]:
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
