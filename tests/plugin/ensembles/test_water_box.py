"""The account of energy in a box of water, with forces of the force field that act only every few steps."""

from __future__ import annotations

import numpy as np
import openmm
import pytest
from openmm import app, unit

from openmmkstep import KStepIntegrator
from tests.support.qmmm.molecules import ALA2_PDB

TEMPERATURE = 300.0
INNER = 0.0005
SEEDS = (1, 2, 3, 4)


@pytest.fixture(scope="module")
def box() -> tuple[openmm.System, openmm.State]:
    """Alanine dipeptide in rigid water, 1,600 atoms at 300 K; nonbonded forces in group 4."""
    pdb, field = app.PDBFile(str(ALA2_PDB)), app.ForceField("amber14-all.xml", "amber14/tip3p.xml")
    modeller = app.Modeller(pdb.topology, pdb.positions)
    modeller.addSolvent(field, model="tip3p", numAdded=526)
    # Energy that jumps where Lennard-Jones ends is noise here.
    system = field.createSystem(
        modeller.topology,
        nonbondedMethod=app.PME,
        nonbondedCutoff=0.9 * unit.nanometer,
        switchDistance=0.8 * unit.nanometer,
    )
    assert system.getNumParticles() == 1600
    for force in system.getForces():
        force.setForceGroup(4 if isinstance(force, (openmm.NonbondedForce, openmm.CMMotionRemover)) else 0)
    # The levels of a QM region without any forces: only the bath and the force field act.
    for group in (1, 2):
        nothing = openmm.CustomExternalForce("0*x")
        nothing.addParticle(0, [])
        nothing.setForceGroup(group)
        system.addForce(nothing)
    integrator = openmm.LangevinMiddleIntegrator(TEMPERATURE, 5.0, 0.001)
    integrator.setRandomNumberSeed(1)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("CPU"), {"Threads": "1"})
    context.setPositions(modeller.positions)
    openmm.LocalEnergyMinimizer.minimize(context, 100, 200)
    context.setVelocitiesToTemperature(TEMPERATURE, 1)
    integrator.step(5000)
    return system, context.getState(positions=True, velocities=True)


def drift(
    box: tuple[openmm.System, openmm.State], k: int, period: int, friction: float, seed: int, time: float
) -> float:
    """Slope of energy less heat, kJ/mol/ps."""
    system, state = box
    groups = {0: 1, 4: period}
    integrator = KStepIntegrator(TEMPERATURE, friction, INNER, k, commonGroups=groups, surrogateLevels={1: 1})
    integrator.setRandomNumberSeed(seed)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("CPU"), {"Threads": "1"})
    context.setState(state)
    errors, heats = [], []
    for _ in range(round(time / (k * INNER))):
        integrator.step(1)
        statistics = integrator.getStatistics()
        errors.append(statistics.cumulativeEnergyError)
        heats.append(statistics.heat)
    # It comes and goes, and may be 0 at the end.
    assert np.ptp(heats) > 10
    assert statistics.fallbacks == 0
    return float(np.polyfit(k * INNER * np.arange(len(errors)), errors, 1)[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("k", "period", "friction", "runs"),
    [(8, 4, 5.0, 8), (6, 3, 2.0, 4), (4, 1, 1.0, 4)],
    ids=["even", "odd", "every step"],
)
def test_other_periods(
    box: tuple[openmm.System, openmm.State],
    k: int,
    period: int,
    friction: float,
    runs: int,
    record_property: pytest.RecordProperty,
) -> None:
    """Energy errors walk at random, and one run alone may drift by 0.8: several tell whether the mean is above 0.5."""
    drifts = [drift(box, k, period, friction, seed, 8.0) for seed in range(1, runs + 1)]
    record_property("drifts", drifts)
    error = np.std(drifts, ddof=1) / np.sqrt(len(drifts))
    assert error < 0.25
    assert abs(np.mean(drifts)) < 0.5


@pytest.mark.slow
def test_energy_less_heat_does_not_drift(
    box: tuple[openmm.System, openmm.State], record_property: pytest.RecordProperty
) -> None:
    """0.5 kJ/mol/ps for 1,600 atoms; the bath in between impulses of slow forces would cost some 14."""
    drifts = [drift(box, 4, 4, 1.0, seed, 6.0) for seed in SEEDS]
    record_property("drifts", drifts)
    # A random walk, whose slope over 6 ps is known to 0.3 or so.
    assert np.std(drifts, ddof=1) / np.sqrt(len(drifts)) < 0.25
    assert abs(np.mean(drifts)) < 0.5
