"""Degrees of freedom of parts of a system, against velocities that OpenMM draws."""

from __future__ import annotations

import numpy as np
import openmm
import pytest
from openmm import unit

from kstep_models.units import BOLTZMANN
from openmmkstep.analysis.temperature import degrees_of_freedom, temperature
from tests.support.qmmm.molecules import Molecule


def molecules(masses: list[float], constraints: list[tuple[int, int]], copies: int) -> openmm.System:
    """Copies of a molecule in a row, with constraints between its particles, which lie on a line."""
    system = openmm.System()
    for copy in range(copies):
        for mass in masses:
            system.addParticle(mass)
        for i, j in constraints:
            system.addConstraint(copy * len(masses) + i, copy * len(masses) + j, 0.1 * abs(i - j))
    return system


def mean_kinetic(system: openmm.System, positions: np.ndarray, part: np.ndarray, draws: int = 60) -> float:
    """Twice the mean kinetic energy of some particles in units of kT, over velocities drawn at 300 K."""
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    masses = np.array([system.getParticleMass(i)._value for i in range(system.getNumParticles())])
    values = []
    for seed in range(1, draws + 1):
        context.setVelocitiesToTemperature(300 * unit.kelvin, seed)
        velocities = np.asarray(context.getState(velocities=True).getVelocities(asNumpy=True)._value)
        values.append(np.sum(masses[part] * np.sum(velocities[part] ** 2, axis=1)))
    return float(np.mean(values) / (BOLTZMANN * 300))


@pytest.mark.parametrize(
    ("masses", "constraints", "part", "expected"),
    [
        ([1.0, 16.0], [(0, 1)], [0], 3 - 16 / 17),
        ([1.0, 16.0], [(0, 1)], [1], 3 - 1 / 17),
        ([12.0, 12.0, 1.0], [(1, 2)], [0, 1], 6 - 1 / 13),
        ([12.0, 0.0, 1.0], [], [1, 2], 3.0),
    ],
)
def test_parts_of_molecules(
    masses: list[float], constraints: list[tuple[int, int]], part: list[int], expected: float
) -> None:
    copies = 500
    system = molecules(masses, constraints, copies)
    size = len(masses)
    chosen = np.add.outer(size * np.arange(copies), part).ravel()
    assert degrees_of_freedom(system, chosen.tolist()) == pytest.approx(copies * expected)
    positions = np.zeros((copies * size, 3))
    positions[:, 0] = np.tile(0.1 * np.arange(size), copies)
    positions[:, 1] = np.repeat(np.arange(copies), size)
    assert mean_kinetic(system, positions, chosen) == pytest.approx(copies * expected, rel=0.01)


def test_parts_add_up(solvated_ala2: Molecule) -> None:
    """Rigid water, constraints that end at the solute's atoms, and the centre of mass kept still."""
    system = solvated_ala2.create_system()
    assert any(isinstance(force, openmm.CMMotionRemover) for force in system.getForces())
    number, constraints = system.getNumParticles(), system.getNumConstraints()
    whole = degrees_of_freedom(system)
    assert whole == 3 * number - constraints - 3
    for size in (1, 22, 23, 24, 300):
        parts = degrees_of_freedom(system, range(size)), degrees_of_freedom(system, range(size, number))
        assert sum(parts) == pytest.approx(whole, abs=1e-6)
    masses = np.array([system.getParticleMass(i)._value for i in range(number)])
    assert degrees_of_freedom(system, range(22)) == pytest.approx(66 - 3 * masses[:22].sum() / masses.sum())


def test_centre_of_mass_is_shared_by_mass() -> None:
    """Two particles whose total momentum is zero: the heavy one hardly moves."""
    system = molecules([1.0, 9.0], [], 1)
    system.addForce(openmm.CMMotionRemover())
    assert degrees_of_freedom(system) == 3
    light, heavy = degrees_of_freedom(system, [0]), degrees_of_freedom(system, [1])
    generator = np.random.default_rng(1)
    velocities = generator.normal(size=(100_000, 2, 3)) / np.sqrt([[1.0], [9.0]])
    velocities -= (velocities * np.array([[0.1], [0.9]])).sum(axis=1, keepdims=True)
    sampled = np.mean(np.sum(velocities**2, axis=2) * [1.0, 9.0], axis=0)
    assert [light, heavy] == pytest.approx(sampled, rel=0.02)


def test_fixed_partners_and_virtual_sites() -> None:
    system = molecules([16.0, 0.0], [], 1)
    system.addConstraint(0, 1, 0.1)
    assert degrees_of_freedom(system, [0]) == 2 and degrees_of_freedom(system, [1]) == 0
    system = molecules([16.0, 1.0, 0.0], [], 1)
    system.setVirtualSite(2, openmm.TwoParticleAverageSite(0, 1, 0.5, 0.5))
    assert degrees_of_freedom(system) == 6 and degrees_of_freedom(system, [2]) == 0
    assert temperature(1.0, 0.0) is None
    assert temperature(3 * BOLTZMANN * 300, 6) == pytest.approx(300)
