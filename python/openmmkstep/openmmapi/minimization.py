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
        energyBefore: Energy of the integrator's own force groups where it began; None if it could not be calculated.
        energyAfter: That where it ended, which is never higher.
        qmCalls: Calculations of the QM level that it took, failed ones included; that of `energyBefore` is one of them.
    """

    energyBefore: unit.Quantity | None
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
    on the QM level: from where the surrogates have led, or from the start if its QM energy is lower. So they may begin
    where only a surrogate can be calculated. At a geometry where a QM calculation fails, the line search steps back.
    They never end higher in energy than they began, and Ctrl-C leaves the best geometry so far.

    Args:
        simulation: A Simulation or a Context; its positions become those of the minimum.
        tolerance: Root-mean-square force at which a level has converged, kJ/mol/nm or a quantity.
        maxIterations: The most iterations on each level; 0 for no limit.
        reporter: Called after each iteration on the QM level.

    Raises:
        openmm.OpenMMException: The QM level can be calculated neither at the start nor at the surrogate's minimum.
        KeyboardInterrupt: Ctrl-C.
    """
    context = simulation.context if isinstance(simulation, app.Simulation) else simulation
    groups = context.getIntegrator().getIntegrationForceGroups()
    forces = [
        force
        for force in context.getSystem().getForces()
        if QMMMForce.isInstance(force) and groups & (1 << force.getForceGroup())
    ]

    def count_calls() -> int:
        return sum(QMMMForce.getNumCalls(force, context) for force in forces)

    def find_energy() -> unit.Quantity:
        return context.getState(energy=True, groups=groups).getPotentialEnergy()

    calls = count_calls()
    try:
        before = find_energy()
    except openmm.OpenMMException:
        # Perhaps a surrogate can help; if not, the minimiser says why.
        before = None
    openmm.LocalEnergyMinimizer.minimize(context, tolerance, maxIterations, reporter)
    after = find_energy()
    return Minimization(before, after, count_calls() - calls)
