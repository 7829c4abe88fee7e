"""KStepIntegrator for the systems of createMixedSystem(): it finds the forces of every level by itself."""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import openmm
from openmm import unit

from openmmkstep.openmmapi.kstep_integrator import KStepIntegrator
from openmmkstep.units import value_in

from .force_field.origins import Origin, origin
from .forces import region_particles
from .levels import force_groups
from .levels.settings import LevelError, LevelSettings


def createIntegrator(
    system: openmm.System,
    *args: Any,
    surrogatePeriod: int = 1,
    nonbondedPeriod: int = 1,
    reciprocalPeriod: int | None = None,
    monitoredParticles: Iterable[int] | None = None,
) -> KStepIntegrator:
    """An integrator for a mixed system, with every force of the system in its place.

    The QM level, the surrogate and the base level are those that createMixedSystem() made. All other forces are common
    to the levels, in whatever force group they are: the MM force field, restraints and biases, also those that were
    added to the mixed system later, such as that of `app.Metadynamics`. So call this when all forces are there. A force
    of your own must not be in a group of the levels: leave it in its default group, or take one that is free.

    Args:
        system: A system from createMixedSystem().
        *args: ``(innerStepSize, k)`` for constant energy, or ``(temperature, friction, innerStepSize, k)`` for Langevin
            dynamics, as for `KStepIntegrator`: quantities, or numbers in ps, K and 1/ps. ``k`` is the number of inner
            steps per QM call.
        surrogatePeriod: Inner steps between evaluations of the surrogate; more than 1 needs a base level below it.
        nonbondedPeriod: Inner steps between evaluations of nonbonded MM forces; more than 1 needs
            ``splitNonbonded=True`` in createMixedSystem().
        reciprocalPeriod: Inner steps between evaluations of the reciprocal space of PME or Ewald sums, which may wait
            longer than the rest of the nonbonded forces: at 4 and 6 fs a box of rigid water does not drift, at 8 fs it
            does, by 10 kJ/mol/ps. None for ``nonbondedPeriod``; another one needs ``splitReciprocal=True`` in
            createMixedSystem().
        monitoredParticles: The particles over which the difference between QM and surrogate is measured. Default: the
            QM atoms.

    Returns:
        An integrator of which one step is one outer step, that is, one QM call.

    Raises:
        TypeError: Another number of positional arguments.
        LevelError: Periods that do not divide k, that the system has no forces for, or more than one inner step without
            a level below QM; a force in a group of the levels that is none of them.
        ValueError: The system has no level that tells which particles it describes.

    Examples:
        >>> integrator = createIntegrator(mixed, 300 * unit.kelvin, 1 / unit.picosecond, 0.5 * unit.femtosecond, 8)
    """
    if len(args) not in (2, 4):
        raise TypeError(
            "createIntegrator takes (system, innerStepSize, k) or (system, temperature, friction, innerStepSize, k), "
            f"not {len(args)} arguments after the system"
        )
    step, k = args[-2:]
    temperature, friction = args[:2] if len(args) == 4 else (None, 0.0)
    levels = LevelSettings(
        _integer("k", k),
        value_in(step, unit.picosecond),
        _integer("surrogatePeriod", surrogatePeriod),
        _integer("nonbondedPeriod", nonbondedPeriod),
        None if reciprocalPeriod is None else _integer("reciprocalPeriod", reciprocalPeriod),
    )
    return integrator_for(
        system,
        levels,
        None if temperature is None else value_in(temperature, unit.kelvin),
        value_in(friction, unit.picosecond**-1),
        monitoredParticles,
    )


def integrator_for(
    system: openmm.System,
    levels: LevelSettings,
    temperature: float | None = None,
    friction: float = 1.0,
    monitored_particles: Iterable[int] | None = None,
) -> KStepIntegrator:
    """What createIntegrator() makes, from settings that were checked before.

    Args:
        system: A system from createMixedSystem().
        levels: Time step and periods.
        temperature: Temperature of the heat bath, K; None for constant energy.
        friction: Friction coefficient, 1/ps, with a temperature.
        monitored_particles: The particles over which the correction is measured; None for the QM atoms.

    Raises:
        LevelError: Levels that the system does not have; a force in a group of the levels that is none of them.
        ValueError: The system has no level that tells which particles it describes.
    """
    monitored = region_particles(system) if monitored_particles is None else monitored_particles
    forces: dict[int, list[openmm.Force]] = defaultdict(list)
    for index, force in enumerate(system.getForces()):
        _refuse_foreign_level(index, force)
        forces[force.getForceGroup()].append(force)
    for force in system.getForces():
        reciprocal = force_groups.reciprocal_group(force)
        if reciprocal is not None:
            forces[reciprocal].append(force)
    surrogates = {group: 1 for group in (force_groups.BASE_LEVEL, force_groups.SURROGATE) if group in forces}
    if len(surrogates) == 2:
        surrogates[force_groups.SURROGATE] = levels.surrogate_period
    _refuse_missing_levels(levels, surrogates, forces)
    common = {
        group: _period(group, members, levels)
        for group, members in sorted(forces.items())
        if group not in force_groups.LEVELS
    }
    heat_bath = () if temperature is None else (temperature, friction)
    return KStepIntegrator(
        *heat_bath,
        levels.inner_step,
        levels.k,
        commonGroups=common,
        surrogateLevels=surrogates,
        qmGroup=force_groups.QM,
        monitoredParticles=monitored,
    )


def _integer(name: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError as error:
        raise LevelError(f"{name} must be a positive integer, got {value!r}") from error


def _refuse_foreign_level(index: int, force: openmm.Force) -> None:
    group = force.getForceGroup()
    reciprocal = force_groups.reciprocal_group(force)
    if reciprocal in force_groups.LEVELS:
        raise LevelError(
            f"the reciprocal space of force {index} ({force.getName()!r}) is in force group {reciprocal}, where it "
            "would be taken for a description of the QM region: put it into another group with "
            "setReciprocalSpaceForceGroup(), or with -1 into that of the force"
        )
    if group in force_groups.LEVELS and not force_groups.is_level(force):
        raise LevelError(
            f"force {index} ({type(force).__name__} {force.getName()!r}) is in force group {group}, where it would be "
            "taken for a description of the QM region: put it into another group, 0 for example, with setForceGroup()"
        )


def _refuse_missing_levels(
    levels: LevelSettings, surrogates: dict[int, int], forces: dict[int, list[openmm.Force]]
) -> None:
    if levels.k > 1 and not surrogates:
        raise LevelError(
            f"k = {levels.k} needs a level below QM for the steps without a QM call: pass surrogate or baseLevel to "
            "createMixedSystem(), or use k = 1"
        )
    if levels.surrogate_period > 1 and len(surrogates) < 2:
        raise LevelError(
            f"a surrogate every {levels.surrogate_period} inner steps needs a base level that acts in between: pass "
            "surrogate and baseLevel to createMixedSystem(), or use a period of 1"
        )
    nonbonded = (openmm.NonbondedForce, openmm.CustomNonbondedForce)
    if levels.nonbonded_period > 1 and any(isinstance(f, nonbonded) for f in forces.get(force_groups.COMMON, [])):
        raise LevelError(
            f"nonbonded forces every {levels.nonbonded_period} inner steps need a group of their own: pass "
            "splitNonbonded=True to createMixedSystem(), or use a period of 1"
        )
    if levels.splits_reciprocal and force_groups.RECIPROCAL not in forces:
        raise LevelError(
            f"the reciprocal space every {levels.reciprocal_period} inner steps needs a group of its own: pass "
            "splitReciprocal=True to createMixedSystem() of a system with PME or Ewald sums, or leave reciprocalPeriod "
            "out"
        )


def _period(group: int, members: list[openmm.Force], levels: LevelSettings) -> int:
    if all(origin(force) is Origin.WITHOUT_ENERGY for force in members):
        # It must be named, but there is nothing to evaluate.
        return levels.k
    if group == force_groups.RECIPROCAL and levels.reciprocal_period is not None:
        return levels.reciprocal_period
    return levels.nonbonded_period if group in (force_groups.SLOW_COMMON, force_groups.RECIPROCAL) else 1
