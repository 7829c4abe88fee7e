"""The thermostat between time steps of different length: total energy less heat is conserved in a box of water."""

from __future__ import annotations

import numpy as np
import openmm
import pytest
from openmm import unit

from openmmkstep import KStepIntegrator
from tests.support.qmmm.molecules import Molecule, water_box

INNER = 0.0005


@pytest.fixture(scope="module")
def box() -> Molecule:
    """Rigid TIP3P, 1,602 atoms."""
    return water_box(2.56)


def water_system(box: Molecule) -> openmm.System:
    """Everything that is not bonded in group 4; a surrogate and a QM level that are nothing."""
    system = box.create_system(nonbondedCutoff=0.9 * unit.nanometer)
    for force in system.getForces():
        force.setForceGroup(4 if isinstance(force, openmm.NonbondedForce) else 0)
    for group in (1, 2):
        nothing = openmm.CustomExternalForce("0*x")
        nothing.addParticle(0, [])
        nothing.setForceGroup(group)
        system.addForce(nothing)
    return system


@pytest.fixture(scope="module")
def equilibrated(box: Molecule) -> openmm.State:
    integrator = openmm.LangevinMiddleIntegrator(300, 5, 0.001)
    integrator.setRandomNumberSeed(1)
    context = openmm.Context(
        box.create_system(nonbondedCutoff=0.9 * unit.nanometer),
        integrator,
        openmm.Platform.getPlatformByName("CPU"),
        {"Threads": "1"},
    )
    context.setPositions(box.positions)
    openmm.LocalEnergyMinimizer.minimize(context, 10, 100)
    context.setVelocitiesToTemperature(300, 1)
    integrator.step(3000)
    return context.getState(positions=True, velocities=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("k", "slow", "friction"), [(4, 4, 1), (8, 4, 1), (6, 3, 1), (4, 1, 1)], ids=["even", "half", "odd", "every step"]
)
def test_drift(box: Molecule, equilibrated: openmm.State, k: int, slow: int, friction: float) -> None:
    """Below 0.5 kJ/mol/ps for 1,600 atoms; with noise at every inner step it was 13.6 at k = slow = 4."""
    integrator = KStepIntegrator(300, friction, INNER, k, commonGroups={0: 1, 4: slow}, surrogateLevels={1: 1})
    integrator.setRandomNumberSeed(3)
    context = openmm.Context(water_system(box), integrator, openmm.Platform.getPlatformByName("CPU"), {"Threads": "1"})
    context.setState(equilibrated)
    errors = []
    for _ in range(round(8 / (k * INNER))):
        integrator.step(1)
        errors.append(integrator.getStatistics().cumulativeEnergyError)
    drift = np.polyfit(k * INNER * np.arange(len(errors)), errors, 1)[0]
    assert integrator.getStatistics().fallbacks == 0
    assert abs(drift) < 0.5
