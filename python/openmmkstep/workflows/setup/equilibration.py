"""Minimisation and short dynamics at the force-field level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import openmm
from numpy.typing import NDArray

from .molecular_system import MolecularSystem
from .platforms import find_platform

_MOST_ITERATIONS = 1000  # of the minimiser: large proteins are relaxed enough for dynamics long before they converge
_FRICTION = 5.0  # 1/ps: strong, because it is only there to equilibrate


@dataclass(frozen=True)
class Equilibrated:
    """Positions [N,3] nm, velocities [N,3] nm/ps and box vectors at the end."""

    positions: NDArray[np.float64]
    velocities: NDArray[np.float64]


def equilibrate(
    molecules: MolecularSystem,
    temperature: float,
    time: float,
    seed: int,
    platform: str = "CPU",
    time_step: float = 0.001,
    minimise: bool = True,
) -> Equilibrated:
    """Minimise, draw velocities, and run Langevin dynamics with the force field.

    Args:
        molecules: system and starting positions.
        temperature: K.
        time: ps; may be 0.
        seed: Seed of velocities and noise.
        platform: OpenMM platform.
        time_step: ps.
        minimise: whether to minimise first.
    """
    integrator = openmm.LangevinMiddleIntegrator(temperature, _FRICTION, time_step)
    integrator.setRandomNumberSeed(seed)
    chosen, properties = find_platform(platform)
    context = openmm.Context(molecules.system, integrator, chosen, properties)
    context.setPositions(molecules.positions)
    if minimise:
        openmm.LocalEnergyMinimizer.minimize(context, 10.0, _MOST_ITERATIONS)
    context.setVelocitiesToTemperature(temperature, seed)
    integrator.step(round(time / time_step))
    state = context.getState(positions=True, velocities=True)
    return Equilibrated(
        np.array(state.getPositions(asNumpy=True)._value), np.array(state.getVelocities(asNumpy=True)._value)
    )
