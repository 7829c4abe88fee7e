"""A small system whose three levels are plain OpenMM forces, and an independent propagator in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import openmm

BOND = 0.12
MASS = 12.0


def bond_force(n: int, stiffness: float, cubic: float, group: int) -> openmm.CustomBondForce:
    """Anharmonic bonds along a chain of n particles: K/2 (r - r0)^2 + C (r - r0)^3, kJ/mol and nm."""
    force = openmm.CustomBondForce(f"0.5*{stiffness}*(r-{BOND})^2 + ({cubic})*(r-{BOND})^3")
    for i in range(n - 1):
        force.addBond(i, i + 1, [])
    force.setForceGroup(group)
    return force


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


def make_chain(levels: Mapping[int, tuple[float, float]] | None = None, n: int = 5, seed: int = 1) -> Chain:
    """A chain with a repulsion in group 0 and bonds in the groups given, each with (stiffness, cubic term)."""
    random = np.random.default_rng(seed)
    system = openmm.System()
    for _ in range(n):
        system.addParticle(MASS)
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
    qm_group: int = 2,
) -> tuple[np.ndarray, np.ndarray]:
    """Reversible r-RESPA written as the nested recursion it is, each level's kicks around the level below.

    Level l kicks with F_l - F_(l-1) over its period; a common group kicks with its own force over its period.
    """
    force = forces_of(chain)
    x, v = chain.positions.copy(), chain.velocities.copy()
    levels = [*surrogates.items(), (qm_group, k)]
    kicks: list[tuple[int, Callable[[np.ndarray], np.ndarray]]] = []
    for index, (group, period) in enumerate(levels):
        below = levels[index - 1][0] if index else None
        kicks.append((period, lambda x, g=group, b=below: force(x, g) - (force(x, b) if b is not None else 0)))
    for group, period in commons.items():
        kicks.append((period, lambda x, g=group: force(x, g)))

    def half_kicks(step: int) -> None:
        nonlocal v
        for period, difference in kicks:
            if step % period == 0:
                v = v + 0.5 * period * inner_step * difference(x) / MASS

    for step in range(k * steps):
        half_kicks(step)
        x = x + inner_step * v
        half_kicks(step + 1)
    return x, v
