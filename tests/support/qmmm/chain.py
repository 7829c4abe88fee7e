"""A small system whose three levels are plain OpenMM forces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import openmm
from numpy.typing import NDArray

from tests.support.qmmm.respa import Scheme

BOND = 0.12
MASS = 12.0


def bond_force(n: int, stiffness: float, cubic: float, group: int) -> openmm.CustomBondForce:
    """Anharmonic bonds along a chain of n particles: K/2 (r - r0)^2 + C (r - r0)^3, kJ/mol and nm."""
    force = openmm.CustomBondForce(f"0.5*{stiffness}*(r-{BOND})^2 + ({cubic})*(r-{BOND})^3")
    for i in range(n - 1):
        force.addBond(i, i + 1, [])
    force.setForceGroup(group)
    return force


class BondsInPython:
    """The bonds of a chain for PythonForce, of which tests make sources that fail or act at some call.

    Attributes:
        calls: How often it was asked.
    """

    def __init__(self, n: int = 5) -> None:
        self.calls = 0
        system = openmm.System()
        for _ in range(n):
            system.addParticle(MASS)
        system.addForce(bond_force(n, 180_000.0, 0.0, 0))
        self._context = openmm.Context(
            system, openmm.VerletIntegrator(1), openmm.Platform.getPlatformByName("Reference")
        )

    def energy_and_forces(self, state: openmm.State) -> tuple[float, NDArray[np.float64]]:
        """The energy, kJ/mol, and a copy of the forces [n,3], kJ/mol/nm, at the positions of a state."""
        self.calls += 1
        self._context.setPositions(state.getPositions())
        inner = self._context.getState(energy=True, forces=True)
        return inner.getPotentialEnergy()._value, inner.getForces(asNumpy=True)._value.copy()


def repulsion(n: int, group: int) -> openmm.CustomBondForce:
    """A soft repulsion between particles that are not bonded."""
    force = openmm.CustomBondForce("2e-4/r^4")
    for i in range(n):
        for j in range(i + 2, n):
            force.addBond(i, j, [])
    force.setForceGroup(group)
    return force


@dataclass
class Chain:
    """Positions [n, 3] (nm), velocities [n, 3] (nm/ps) and the System of a bent chain."""

    system: openmm.System
    positions: np.ndarray
    velocities: np.ndarray

    def context(self, integrator: openmm.Integrator, platform: openmm.Platform) -> openmm.Context:
        context = openmm.Context(self.system, integrator, platform)
        context.setPositions(self.positions)
        context.setVelocities(self.velocities)
        return context


def make_chain(
    levels: Mapping[int, tuple[float, float]] | None = None,
    n: int = 5,
    seed: int = 1,
    constraints: Sequence[tuple[int, int]] = (),
) -> Chain:
    """A chain with a repulsion in group 0 and bonds in the groups given, each with (stiffness, cubic term)."""
    random = np.random.default_rng(seed)
    system = openmm.System()
    for _ in range(n):
        system.addParticle(MASS)
    for i, j in constraints:
        system.addConstraint(i, j, BOND)
    system.addForce(repulsion(n, 0))
    for group, (stiffness, cubic) in (levels or {1: (180_000.0, 0.0), 2: (200_000.0, -4e5)}).items():
        system.addForce(bond_force(n, stiffness, cubic, group))
    zigzag = np.array([[0.1 * i, 0.066 * (i % 2), 0.01 * i] for i in range(n)])
    velocities = random.normal(scale=np.sqrt(8.314e-3 * 300 / MASS), size=(n, 3))
    return Chain(system, zigzag + random.normal(scale=0.002, size=(n, 3)), velocities)


def forces_of(chain: Chain) -> Callable[[np.ndarray, int], np.ndarray]:
    """Forces [n, 3] of one force group at any positions, from the Reference platform."""
    context = openmm.Context(
        chain.system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )

    def evaluate(x: np.ndarray, group: int) -> np.ndarray:
        context.setPositions(x)
        return context.getState(forces=True, groups={group}).getForces(asNumpy=True)._value

    return evaluate


def respa(
    chain: Chain,
    inner_step: float,
    k: int,
    steps: int,
    commons: Mapping[int, int],
    surrogates: Mapping[int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """Where a chain is after outer steps at constant energy: positions and velocities, by the oracle."""
    scheme = Scheme(inner_step, k, commons, surrogates)
    motion = scheme.propagate(forces_of(chain), np.array(MASS), chain.positions, chain.velocities, steps)
    return motion.x, motion.v
