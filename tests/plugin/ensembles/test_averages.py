"""Langevin dynamics of water: constraints, virtual sites, fixed particles, a barostat; the account of energy."""

from __future__ import annotations

import numpy as np
import openmm
import openmm.app as app
import pytest
from openmm import unit

from openmmkstep import KStepIntegrator
from tests.support.qmmm.chain import make_chain

TEMPERATURE = 300.0


def test_heat_closes_the_energy_balance(platform):
    """Total energy minus heat from the thermostat is conserved as well as the energy is without a thermostat."""
    chain = make_chain()
    integrator = KStepIntegrator(TEMPERATURE, 20.0, 0.0005, 4)
    integrator.setRandomNumberSeed(7)
    context = chain.context(integrator, platform)
    integrator.step(1)
    start = integrator.getStatistics()
    conserved = []
    for _ in range(500):
        integrator.step(2)
        statistics = integrator.getStatistics()
        conserved.append(statistics.totalEnergy - statistics.heat)
    assert abs(integrator.getStatistics().heat) > 5
    assert np.std(conserved) < 1.0
    assert conserved[-1] - (start.totalEnergy - start.heat) == pytest.approx(
        integrator.getStatistics().cumulativeEnergyError - start.cumulativeEnergyError, abs=1e-6
    )
    assert context.getTime()._value == pytest.approx(1001 * 0.002)


def water(model: str, waters: int, periodic: bool) -> tuple[openmm.System, app.Topology, np.ndarray]:
    """A cluster or a box of water; a spring on the first molecule plays surrogate (group 1) and QM (group 2)."""
    field = app.ForceField(f"{model}.xml")
    modeller = app.Modeller(app.Topology(), [] * unit.nanometer)
    modeller.addSolvent(field, model="tip3p" if model == "tip3p" else "tip4pew", numAdded=waters)
    method = {"nonbondedMethod": app.PME, "nonbondedCutoff": 0.7 * unit.nanometer} if periodic else {}
    system = field.createSystem(modeller.topology, constraints=app.HBonds, removeCMMotion=False, **method)
    positions = np.array(modeller.positions.value_in_unit(unit.nanometer))
    for group, stiffness in ((1, 800.0), (2, 1000.0)):
        force = openmm.CustomExternalForce(
            f"0.5*{stiffness}*((x-{positions[0, 0]})^2+(y-{positions[0, 1]})^2+(z-{positions[0, 2]})^2)"
        )
        force.addParticle(0, [])
        force.setForceGroup(group)
        system.addForce(force)
    return system, modeller.topology, positions


@pytest.mark.parametrize("model", ["tip3p", "tip4pew"])
@pytest.mark.parametrize("friction", [0.0, 5.0])
def test_rigid_water(platform, model, friction):
    """Constraints hold, virtual sites follow, a fixed particle stays, and the energy balance closes."""
    system, _, positions = water(model, 30, periodic=False)
    per_molecule = 4 if model == "tip4pew" else 3
    fixed = per_molecule * 10
    for i in range(3):
        system.setParticleMass(fixed + i, 0.0)
    for index in reversed(range(system.getNumConstraints())):
        if fixed <= system.getConstraintParameters(index)[0] < fixed + per_molecule:
            system.removeConstraint(index)
    integrator = KStepIntegrator(TEMPERATURE, friction, 0.0005, 4)
    integrator.setConstraintTolerance(1e-8)
    integrator.setRandomNumberSeed(2)
    context = openmm.Context(system, integrator, platform)
    context.setPositions(positions)
    openmm.LocalEnergyMinimizer.minimize(context, 10, 200)
    start = context.getState(positions=True).getPositions(asNumpy=True)._value
    context.setVelocitiesToTemperature(TEMPERATURE, 3)
    integrator.step(50)
    conserved = []
    for _ in range(60):
        integrator.step(2)
        statistics = integrator.getStatistics()
        conserved.append(statistics.totalEnergy - statistics.heat)
    x = context.getState(positions=True).getPositions(asNumpy=True)._value
    for index in range(system.getNumConstraints()):
        i, j, length = system.getConstraintParameters(index)
        assert np.linalg.norm(x[i] - x[j]) == pytest.approx(length._value, rel=1e-6)
    np.testing.assert_array_equal(x[fixed : fixed + 3], start[fixed : fixed + 3])
    if model == "tip4pew":
        site = system.getVirtualSite(3)
        expected = sum(site.getWeight(i) * x[site.getParticle(i)] for i in range(3))
        np.testing.assert_allclose(x[3], expected, atol=1e-6)
    assert integrator.getStatistics().fallbacks == 0
    assert np.std(conserved) < (0.1 if platform.getName() == "Reference" else 0.2)


def test_reversible_with_constraints(reference):
    system, _, positions = water("tip3p", 30, periodic=False)
    integrator = KStepIntegrator(0.0005, 4)
    integrator.setConstraintTolerance(1e-12)
    context = openmm.Context(system, integrator, reference)
    context.setPositions(positions)
    openmm.LocalEnergyMinimizer.minimize(context, 10, 200)
    context.applyConstraints(1e-12)
    context.setVelocitiesToTemperature(TEMPERATURE, 3)
    start = context.getState(positions=True).getPositions(asNumpy=True)._value
    integrator.step(50)
    context.setVelocities(-context.getState(velocities=True).getVelocities(asNumpy=True)._value)
    integrator.step(50)
    assert abs(context.getState(positions=True).getPositions(asNumpy=True)._value - start).max() < 1e-8


def test_barostat_and_reporters(platform):
    """The barostat changes the box between outer steps; Simulation, reporters and minimiser see the Hamiltonian."""
    system, topology, positions = water("tip3p", 150, periodic=True)
    system.addForce(openmm.MonteCarloBarostat(1 * unit.bar, TEMPERATURE * unit.kelvin, 1))
    integrator = KStepIntegrator(TEMPERATURE * unit.kelvin, 5 / unit.picosecond, 0.5 * unit.femtoseconds, 4)
    simulation = app.Simulation(topology, system, integrator, platform)
    simulation.context.setPositions(positions)
    simulation.minimizeEnergy(maxIterations=50)
    simulation.context.setVelocitiesToTemperature(TEMPERATURE, 1)
    volumes = set()
    for _ in range(30):
        simulation.step(1)
        volumes.add(round(simulation.context.getState().getPeriodicBoxVolume()._value, 9))
    assert len(volumes) > 2
    assert integrator.getStatistics().fallbacks == 0
