"""Positions at every inner step, seen through a force that does nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray

from openmmkstep.qmmm.levels import force_groups

Array = NDArray[np.float64]


class InnerPositions:
    """What a `PythonForce` in the group of the common forces, which act at every inner step, is called with.

    The Context knows velocities at the ends of outer steps alone, after half a kick, where fast modes are too cold by
    (w d)^2 / 4 for an inner step d. What moves atoms between two inner steps is their velocity in the middle of the
    drift, where each harmonic mode has exactly its temperature; the difference of their positions tells it.

    Args:
        particles: number of particles that are looked at.
    """

    def __init__(self, particles: int) -> None:
        self._particles = particles
        self._nothing = np.zeros((particles, 3))
        self._seen: list[Array] = []

    def __reduce__(self) -> tuple[Any, ...]:
        # The System's digest, by which checkpoints know it, must not depend on what was seen.
        return (InnerPositions, (self._particles,))

    def __call__(self, state: openmm.State) -> tuple[float, Array]:
        """Energy and forces, which are none."""
        self._seen.append(np.array(state.getPositions(asNumpy=True)._value))
        return 0.0, self._nothing

    def forget(self) -> None:
        """Begin a new outer step."""
        self._seen.clear()

    def last(self, steps: int) -> list[Array]:
        """Positions [n,3] after each of the last inner steps; those of an attempt that was undone come before.

        Raises:
            RuntimeError: the force was called less often.
        """
        if len(self._seen) < steps:
            raise RuntimeError(f"{len(self._seen)} of {steps} inner steps were seen: a common force was not evaluated")
        return self._seen[-steps:]


def watch(system: openmm.System, particles: list[int]) -> InnerPositions:
    """Add the force to a system, whose groups must be those of the integrator already."""
    positions = InnerPositions(len(particles))
    force = openmm.PythonForce(positions)
    force.setParticles(particles)
    force.setForceGroup(force_groups.COMMON)
    force.setName("InnerPositions")
    system.addForce(force)
    return positions
