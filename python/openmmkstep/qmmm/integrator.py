"""KStepIntegrator for the systems of QMMMPotential.createMixedSystem(), with the periods of its levels."""

from __future__ import annotations

from collections.abc import Iterable

import openmm

from openmmkstep.openmmapi.kstep_integrator import KStepIntegrator

from . import force_groups


def createIntegrator(
    system: openmm.System,
    innerStep: float,
    k: int,
    temperature: float | None = None,
    friction: float = 1.0,
    surrogatePeriod: int = 1,
    nonbondedPeriod: int = 1,
    monitoredParticles: Iterable[int] = (),
) -> KStepIntegrator:
    """An integrator that names every group which the system has.

    Args:
        system: from createMixedSystem().
        innerStep: ps.
        k: inner steps per QM call.
        temperature: K; None for constant energy.
        friction: 1/ps, with a temperature.
        surrogatePeriod: inner steps between evaluations of the network, if the force-field base level is below it.
        nonbondedPeriod: inner steps between evaluations of the slow common forces, if there are any.
        monitoredParticles: normally the QM region.
    """
    occupied = {force.getForceGroup() for force in system.getForces()}
    common = {force_groups.COMMON: 1} if force_groups.COMMON in occupied else {}
    if force_groups.SLOW_COMMON in occupied:
        common[force_groups.SLOW_COMMON] = nonbondedPeriod
    levels = {}
    if force_groups.BASE_LEVEL in occupied:
        levels[force_groups.BASE_LEVEL] = 1
    if force_groups.SURROGATE in occupied:
        levels[force_groups.SURROGATE] = surrogatePeriod if levels else 1
    arguments = (innerStep, k) if temperature is None else (temperature, friction, innerStep, k)
    return KStepIntegrator(
        *arguments,
        commonGroups=common,
        surrogateLevels=levels,
        qmGroup=force_groups.QM,
        monitoredParticles=monitoredParticles,
    )
