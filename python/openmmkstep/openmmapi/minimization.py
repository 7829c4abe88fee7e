"""Energy minimisation that tells what it cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import openmm
from openmm import app, unit

from .qmmm_force import QMMMForce


@dataclass(frozen=True)
class Minimization:
    """What a minimisation came to.

    Attributes:
        energyBefore: Energy of the integrator's own force groups where it began.
        energyAfter: That where it ended.
        qmCalls: QM calculations that it took, failed ones included; that of `energyBefore` is one of them.
    """

    energyBefore: unit.Quantity
    energyAfter: unit.Quantity
    qmCalls: int


def minimize(
    simulation: app.Simulation | openmm.Context,
    tolerance: Any = 10.0,
    maxIterations: int = 0,
    reporter: openmm.MinimizationReporter | None = None,
) -> Minimization:
    """Minimise the energy, as `openmm.LocalEnergyMinimizer` and `Simulation.minimizeEnergy` do, and count QM calls.

    Under a `KStepIntegrator` with surrogates all three minimise on the surrogates first, the cheapest first, and then
    on the QM level: from where the surrogates have led, or from the start if its QM energy is lower. At a geometry
    where a QM calculation fails, the line search steps back.

    Args:
        simulation: A Simulation or a Context; its positions become those of the minimum.
        tolerance: Root-mean-square force at which a level has converged, kJ/mol/nm or a quantity.
        maxIterations: The most iterations on each level; 0 for no limit.
        reporter: Called after each iteration on the QM level.

    Raises:
        openmm.OpenMMException: The QM level can be calculated neither at the start nor at the surrogate's minimum.
    """
    context = simulation.context if isinstance(simulation, app.Simulation) else simulation
    groups = context.getIntegrator().getIntegrationForceGroups()
    forces = [force for force in context.getSystem().getForces() if QMMMForce.isInstance(force)]

    def count_calls() -> int:
        return sum(QMMMForce.getNumCalls(force, context) for force in forces)

    calls = count_calls()
    before = context.getState(energy=True, groups=groups).getPotentialEnergy()
    openmm.LocalEnergyMinimizer.minimize(context, tolerance, maxIterations, reporter)
    after = context.getState(energy=True, groups=groups).getPotentialEnergy()
    return Minimization(before, after, count_calls() - calls)
