"""Normal modes of a region at a minimum of the QM/MM energy, its surroundings standing still."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import openmm
from numpy.typing import NDArray
from scipy import optimize

from openmmkstep.analysis.ensemble.normal_modes import NormalModes, normal_modes

_DISPLACEMENT = 5e-4  # nm: errors of forces by cubic terms and by the convergence of the QM level are alike there
_FIRST_MOVE = 0.005  # nm, of all atoms together: the unit of the minimiser, whose first move has a length of 1
_MOST_ITERATIONS = 500
_SMALL_FORCE = 5.0  # kJ/mol/nm

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ModeCalculation:
    """A system whose energy is that of the QM level and everything around it.

    Attributes:
        context: at positions near a minimum.
        particles: those that move.
        masses: of them [n], amu.
    """

    context: openmm.Context
    particles: list[int]
    masses: Array

    def run(self, progress: Callable[[int, int], object]) -> NormalModes:
        """Minimise, and displace every coordinate to both sides.

        Args:
            progress: called with what is done of how much of the displacements.
        """
        whole = np.array(self.context.getState(positions=True).getPositions(asNumpy=True)._value)

        def energy_and_gradient(x: Array) -> tuple[float, Array]:
            whole[self.particles] = x.reshape(-1, 3)
            self.context.setPositions(whole)
            self.context.computeVirtualSites()
            state = self.context.getState(energy=True, forces=True)
            forces = np.asarray(state.getForces(asNumpy=True)._value, dtype=np.float64)[self.particles]
            return state.getPotentialEnergy()._value, -forces.ravel()

        def in_its_unit(y: Array) -> tuple[float, Array]:
            energy, gradient = energy_and_gradient(y * _FIRST_MOVE)
            return energy, gradient * _FIRST_MOVE

        options = {"maxiter": _MOST_ITERATIONS, "gtol": _SMALL_FORCE * _FIRST_MOVE, "ftol": 1e-13}
        start = whole[self.particles].ravel() / _FIRST_MOVE
        found = optimize.minimize(in_its_unit, start, jac=True, method="L-BFGS-B", options=options)
        minimum = found.x * _FIRST_MOVE
        number = len(minimum)
        hessian = np.zeros((number, number))
        for coordinate in range(number):
            sides = []
            for sign in (1, -1):
                moved = minimum.copy()
                moved[coordinate] += sign * _DISPLACEMENT
                sides.append(energy_and_gradient(moved)[1])
            hessian[coordinate] = (sides[0] - sides[1]) / (2 * _DISPLACEMENT)
            progress(coordinate + 1, number)
        return normal_modes(hessian, self.masses, minimum.reshape(-1, 3))


def modes_to_bytes(modes: NormalModes) -> bytes:
    """As an npz file."""
    buffer = io.BytesIO()
    np.savez(buffer, wave_numbers=modes.wave_numbers, vectors=modes.vectors, positions=modes.positions)
    return buffer.getvalue()


def modes_from_bytes(content: bytes) -> NormalModes:
    """From what modes_to_bytes() gave. Raises an error where it is something else."""
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return NormalModes(file["wave_numbers"], file["vectors"], file["positions"])
