"""Three atoms and their springs as QM level and surrogate, for tests of minimisation."""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm

from openmmkstep import KStepIntegrator, QMMMForce

STRETCHED = np.array([[0.0, 0, 0], [0.16, 0.01, 0], [0.33, 0, 0.02]])
"""Three atoms whose springs of 0.12 nm are stretched by more than a third."""


def system_of(
    qm: dict[str, Any], surrogate: dict[str, Any] | None = None, positions: np.ndarray = STRETCHED
) -> openmm.System:
    """Springs as QM level (group 2), and others as its surrogate (group 1)."""
    system = openmm.System()
    for _ in positions:
        system.addParticle(12.0)
    for group, settings in ((1, surrogate), (2, qm)):
        if settings is not None:
            force = QMMMForce(range(len(positions)), [2] * len(positions), "springs", settings=settings)
            force.setForceGroup(group)
            system.addForce(force)
    return system


def context_of(
    system: openmm.System, platform: openmm.Platform, integrator: openmm.Integrator | None = None
) -> openmm.Context:
    k = 1 if all(force.getForceGroup() != 1 for force in system.getForces()) else 4
    context = openmm.Context(system, integrator or KStepIntegrator(0.0005, k), platform)
    context.setPositions(STRETCHED)
    return context


def positions_of(context: openmm.Context) -> np.ndarray:
    return context.getState(positions=True).getPositions(asNumpy=True)._value


def energy_of(context: openmm.Context) -> float:
    groups = context.getIntegrator().getIntegrationForceGroups()
    return context.getState(energy=True, groups=groups).getPotentialEnergy()._value


def lengths(x: np.ndarray) -> np.ndarray:
    return np.linalg.norm(x[1:] - x[:-1], axis=1)


def qm_calls(context: openmm.Context, group: int = 2) -> int:
    forces = [force for force in context.getSystem().getForces() if force.getForceGroup() == group]
    return sum(QMMMForce.getNumCalls(force, context) for force in forces)


def root_mean_square_force(context: openmm.Context) -> float:
    groups = context.getIntegrator().getIntegrationForceGroups()
    forces = context.getState(forces=True, groups=groups).getForces(asNumpy=True)._value
    return float(np.sqrt((forces**2).mean()))
