"""The pool: configurations of the whole system from dynamics on the level below QM."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit

from kstep_models.files import write_atomically
from kstep_models.units import BOLTZMANN
from openmmkstep.qmmm.levels import force_groups
from openmmkstep.units import value_in

from ..settings import LearningError

# Of the dynamics, before the first configuration is taken.
_EQUILIBRATION = 0.1


@dataclass(frozen=True)
class Pool:
    """Configurations.

    Attributes:
        positions: [S,N,3], nm; in single precision, which changes geometries but not the labels that belong to them.
        boxes: Box vectors [S,3,3], nm.
    """

    positions: NDArray[np.float32]
    boxes: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.positions)

    def region(self, particles: Sequence[int]) -> NDArray[np.float64]:
        """The positions of some particles in all configurations [S,n,3], nm."""
        return self.positions[:, list(particles)].astype(np.float64)

    def only(self, place: int) -> Pool:
        """The pool of one of them."""
        return Pool(self.positions[place : place + 1], self.boxes[place : place + 1])

    def apply_to(self, context: openmm.Context, place: int) -> None:
        """Move a Context to one of them."""
        context.setPeriodicBoxVectors(*self.boxes[place])
        context.setPositions(self.positions[place].astype(np.float64))
        context.computeVirtualSites()

    def write(self, path: Path) -> None:
        """Write an npz file, atomically."""
        buffer = io.BytesIO()
        np.savez(buffer, positions=self.positions, boxes=self.boxes)
        write_atomically(path, buffer.getvalue())

    @classmethod
    def read(cls, path: Path) -> Pool:
        """Read what write() wrote.

        Raises:
            LearningError: It is missing, or something else.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                return cls(file["positions"], file["boxes"])
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise LearningError(
                f"{path} cannot be read ({error}): restore it from a copy, or remove the folder to learn anew"
            ) from error


def make_pool(
    context: openmm.Context, duration: float, size: int, progress: Callable[[int], None] = lambda _: None
) -> Pool:
    """Configurations at equal times of a Context's own dynamics.

    Args:
        context: A Context with positions and velocities.
        duration: Of the dynamics, ps; its first tenth is left out.
        size: Configurations wanted.
        progress: Called with how many there are, after each.

    Raises:
        LearningError: The dynamics breaks down.
    """
    integrator = context.getIntegrator()
    steps = max(size + 1, round(duration / integrator.getStepSize().value_in_unit(unit.picosecond)))
    first = round(_EQUILIBRATION * steps)
    positions, boxes, done = [], [], 0
    for number in range(size):
        until = first + (number + 1) * (steps - first) // size
        integrator.step(until - done)
        done = until
        state = context.getState(positions=True)
        positions.append(state.getPositions(asNumpy=True)._value.astype(np.float32))
        boxes.append(np.array(state.getPeriodicBoxVectors(asNumpy=True)._value))
        if not np.isfinite(positions[-1]).all():
            raise LearningError(
                "the dynamics on the level below QM breaks down: equilibrate the system first, or use a lower "
                "pool_temperature"
            )
        progress(number + 1)
    return Pool(np.array(positions), np.array(boxes))


def draw_velocities(system: openmm.System, temperature: float, seed: int) -> NDArray[np.float64]:
    """Velocities of a temperature (K) for all particles [N,3], nm/ps; those that OpenMM draws cost a QM call."""
    masses = np.array([value_in(system.getParticleMass(i), unit.dalton) for i in range(system.getNumParticles())])
    spread = np.sqrt(np.where(masses > 0, BOLTZMANN * temperature / np.where(masses > 0, masses, 1), 0))
    return np.asarray(spread[:, None] * np.random.default_rng(seed).normal(size=(len(masses), 3)))


def groups_of_the_level_below(system: openmm.System) -> int:
    """Force groups, as a bit mask, of the dynamics on the best level below QM and all that the levels share.

    Raises:
        LearningError: There is no such level.
    """
    present = {force.getForceGroup() for force in system.getForces()}
    for level in (force_groups.SURROGATE, force_groups.BASE_LEVEL):
        if level in present:
            return sum(1 << group for group in range(32) if group not in force_groups.LEVELS - {level})
    raise LearningError(
        "there is no level below QM whose dynamics could find configurations: give a QM method as start, or make the "
        "system with baseLevel='force-field'"
    )
