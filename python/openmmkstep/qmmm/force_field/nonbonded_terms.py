"""Nonbonded forces of a mixed system: the region's own pairs are taken out, and can be had as a force of their own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import Enum
from itertools import combinations

import openmm
from openmm import unit

from kstep_models.units import COULOMB
from openmmkstep.units import value_in

from .recognition import UnsupportedForceFieldError

_CHARGE = unit.elementary_charge
_LJ_COULOMB = "{k}*qq/r + 4*eps*(s6^2 - s6); s6 = (sigma/r)^6"


class RegionCharges(Enum):
    """What becomes of a region's charges in the force field."""

    KEPT = "act on the surroundings as the force field says, and not on each other"
    REMOVED = "are taken out: the QM level describes all that they did"
    PAIRS_IN_FULL = "act on each other in full as well, for a FarFieldForce to take out where the QM level has them"
    IN_FULL = "act on everything in full, for a FarFieldForce to take out what the QM level describes"


def exclude_region_pairs(force: openmm.NonbondedForce, region: Sequence[int], charges: RegionCharges) -> None:
    """Remove all interactions between particles of the region from a NonbondedForce, in place.

    Under Ewald and PME an exception is one of a pair at its coordinates as they are, or at its nearest image, while the
    charges go on acting on all other images. Where the QM level has the two elsewhere, only charges that act in full
    are right, or none.

    Args:
        force: The force of the whole system; it is changed.
        region: Particle indices of the region.
        charges: What becomes of the region's charges.
    """
    members = set(region)
    if charges is RegionCharges.REMOVED:
        for particle in region:
            _, sigma, epsilon = force.getParticleParameters(particle)
            force.setParticleParameters(particle, 0.0, sigma, epsilon)
        for index in range(force.getNumParticleParameterOffsets()):
            parameter, particle, _, sigma, epsilon = force.getParticleParameterOffset(index)
            if particle in members:
                force.setParticleParameterOffset(index, parameter, particle, 0.0, sigma, epsilon)
    values = [value_in(force.getParticleParameters(i)[0], _CHARGE) for i in range(force.getNumParticles())]
    pairs_in_full = charges in (RegionCharges.PAIRS_IN_FULL, RegionCharges.IN_FULL)
    across_as_it_was = charges in (RegionCharges.PAIRS_IN_FULL, RegionCharges.KEPT)
    for index in range(force.getNumExceptions()):
        i, j, product, sigma, epsilon = force.getExceptionParameters(index)
        if i in members and j in members:
            force.setExceptionParameters(index, i, j, values[i] * values[j] if pairs_in_full else 0.0, sigma, 0.0)
        elif i in members or j in members:
            product = product if across_as_it_was else values[i] * values[j]
            force.setExceptionParameters(index, i, j, product, sigma, epsilon)
    for index in range(force.getNumExceptionParameterOffsets()):
        parameter, exception, _, sigma, epsilon = force.getExceptionParameterOffset(index)
        i, j, *_ = force.getExceptionParameters(exception)
        if i in members and j in members:
            force.setExceptionParameterOffset(index, parameter, exception, 0.0, sigma, 0.0)
        elif not across_as_it_was and (i in members or j in members):
            force.setExceptionParameterOffset(index, parameter, exception, 0.0, sigma, epsilon)
    known = {frozenset(force.getExceptionParameters(index)[:2]) for index in range(force.getNumExceptions())}
    for i, j in combinations(region, 2):
        if frozenset((i, j)) not in known:
            force.addException(i, j, values[i] * values[j] if pairs_in_full else 0.0, 1.0, 0.0)
    if pairs_in_full and force.usesPeriodicBoundaryConditions():
        # Where they stand does not matter then, and molecules may be wrapped atom by atom.
        force.setExceptionsUsePeriodicBoundaryConditions(True)


def exclude_custom_region_pairs(force: openmm.CustomNonbondedForce, region: Sequence[int]) -> None:
    """Remove all interactions between particles of the region from a CustomNonbondedForce, in place."""
    known = {frozenset(force.getExclusionParticles(index)) for index in range(force.getNumExclusions())}
    for i, j in combinations(region, 2):
        if frozenset((i, j)) not in known:
            force.addExclusion(i, j)


def region_pair_force(force: openmm.NonbondedForce, region: Sequence[int]) -> openmm.CustomBondForce:
    """Lennard-Jones and Coulomb energy of the region's own pairs in vacuum, with the force field's 1-4 scaling.

    Args:
        force: The force as the force field made it, before exclude_region_pairs().
        region: Particle indices of the region.

    Returns:
        A CustomBondForce with one term per interacting pair.

    Raises:
        UnsupportedForceFieldError: Parameter offsets act on the region.
    """
    members = set(region)
    _refuse_offsets(force, members)
    exceptions = {}
    for index in range(force.getNumExceptions()):
        i, j, charge, sigma, epsilon = force.getExceptionParameters(index)
        if i in members and j in members:
            exceptions[frozenset((i, j))] = (value_in(charge, _CHARGE**2), *_lennard_jones(sigma, epsilon))
    particles = {}
    for particle in region:
        charge, sigma, epsilon = force.getParticleParameters(particle)
        particles[particle] = (value_in(charge, _CHARGE), *_lennard_jones(sigma, epsilon))
    pairs = openmm.CustomBondForce(_LJ_COULOMB.format(k=COULOMB))
    pairs.setName("RegionPairs")
    for name in ("qq", "sigma", "eps"):
        pairs.addPerBondParameter(name)
    for i, j in combinations(region, 2):
        parameters = exceptions.get(frozenset((i, j)))
        if parameters is None:
            (qi, si, ei), (qj, sj, ej) = particles[i], particles[j]
            # Lorentz-Berthelot, the rule of NonbondedForce.
            parameters = (qi * qj, 0.5 * (si + sj), math.sqrt(ei * ej))
        if parameters[0] != 0.0 or parameters[2] != 0.0:
            pairs.addBond(i, j, list(parameters))
    return pairs


def custom_region_pair_force(force: openmm.CustomNonbondedForce, region: Sequence[int]) -> openmm.CustomNonbondedForce:
    """The region's own pairs of a CustomNonbondedForce in vacuum, without cut-off.

    Raises:
        UnsupportedForceFieldError: The force has interaction groups already.
    """
    if force.getNumInteractionGroups() > 0:
        raise UnsupportedForceFieldError(
            f"{force.getName()} has interaction groups, so its terms inside the QM region cannot be taken out for the "
            "base level: do not use baseLevel='force-field'"
        )
    pairs: openmm.CustomNonbondedForce = openmm.XmlSerializer.clone(force)
    pairs.setNonbondedMethod(openmm.CustomNonbondedForce.NoCutoff)
    pairs.setUseLongRangeCorrection(False)
    pairs.setUseSwitchingFunction(False)
    pairs.addInteractionGroup(list(region), list(region))
    pairs.setName("Region" + force.getName())
    return pairs


def _refuse_offsets(force: openmm.NonbondedForce, members: set[int]) -> None:
    touched = [
        force.getParticleParameterOffset(index)[0]
        for index in range(force.getNumParticleParameterOffsets())
        if force.getParticleParameterOffset(index)[1] in members
    ]
    for index in range(force.getNumExceptionParameterOffsets()):
        parameter, exception, *_ = force.getExceptionParameterOffset(index)
        i, j, *_ = force.getExceptionParameters(exception)
        if i in members and j in members:
            touched.append(parameter)
    if touched:
        raise UnsupportedForceFieldError(
            f"the nonbonded parameters of the QM region depend on the global parameter {touched[0]!r}, which the "
            "force field as base level cannot follow: choose another base level"
        )


def _lennard_jones(sigma: unit.Quantity, epsilon: unit.Quantity) -> tuple[float, float]:
    """Sigma in nm and epsilon in kJ/mol."""
    return value_in(sigma, unit.nanometer), value_in(epsilon, unit.kilojoule_per_mole)
