"""KStepIntegrator for the systems of QMMMPotential.createMixedSystem(), with the periods of the ladder."""

from __future__ import annotations

from collections.abc import Iterable

import openmm

from . import forceGroups
from .integrator import KStepIntegrator


def createLadderIntegrator(
    system: openmm.System,
    innerStep: float,
    k: int,
    temperature: float | None = None,
    friction: float = 1.0,
    surrogatePeriod: int = 1,
    nonbondedPeriod: int = 1,
    correctionParticles: Iterable[int] = (),
) -> KStepIntegrator:
    """An integrator that names every group which the system has.

    Args:
        system: from createMixedSystem().
        innerStep: ps.
        k: inner steps per QM call.
        temperature: K; None for constant energy.
        friction: 1/ps, with a temperature.
        surrogatePeriod: inner steps between evaluations of the network, if the force-field rung is below it.
        nonbondedPeriod: inner steps between evaluations of the slow common forces, if there are any.
        correctionParticles: normally the QM region.
    """
    occupied = {force.getForceGroup() for force in system.getForces()}
    common = {forceGroups.COMMON: 1} if forceGroups.COMMON in occupied else {}
    if forceGroups.SLOW_COMMON in occupied:
        common[forceGroups.SLOW_COMMON] = nonbondedPeriod
    levels = {}
    if forceGroups.FORCE_FIELD_RUNG in occupied:
        levels[forceGroups.FORCE_FIELD_RUNG] = 1
    if forceGroups.SURROGATE in occupied:
        levels[forceGroups.SURROGATE] = surrogatePeriod if levels else 1
    arguments = (innerStep, k) if temperature is None else (temperature, friction, innerStep, k)
    return KStepIntegrator(
        *arguments,
        commonGroups=common,
        surrogateLevels=levels,
        qmGroup=forceGroups.QM,
        correctionParticles=correctionParticles,
    )
