"""Water in resonant pulses: what the linear response leaves of the exchange-correlation potential, step by step."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kstep_training.experimental.residual import ResidualSeries
from openmmkstep.rttddft import (
    ElectronDynamics,
    GaussianEnvelope,
    LevelOfTheory,
    Magnus2,
    Molecule,
    Pulse,
    TrajectoryFile,
)
from openmmkstep.rttddft.electronic_structure.packed_matrices import Packing

RealArray = NDArray[np.float64]

TIME_STEP = 0.2
# Lowest bright line of water along its axis, PBE0/6-31G, hartree.
FREQUENCY = 0.36
DENSITY_CHANNELS = 12
# Of the finite differences for the linear response, occupation numbers.
STEP = 1e-4


@dataclass(frozen=True)
class Trajectory:
    """All packed, Loewdin basis, atomic units.

    Attributes:
        changes: of the density, real part [T,m].
        potentials: change of the exchange-correlation potential [T,m].
        residuals: the same less its linear response [T,m].
        field: [T,3].
    """

    changes: RealArray
    potentials: RealArray
    residuals: RealArray
    field: RealArray


def water(amplitude: float, direction: tuple[float, float, float], steps: int) -> Trajectory:
    """A trajectory with the functional evaluated in full at every step."""
    half, height = 0.7572, 0.5865
    molecule = Molecule.create(["O", "H", "H"], 0.1 * np.array([[0, 0, 0], [0, half, height], [0, -half, height]]))
    level = LevelOfTheory("rks", "6-31g", "pbe0", grid_level=1)
    pulse = Pulse(amplitude, GaussianEnvelope(0.4 * steps * TIME_STEP, 20.0), direction, FREQUENCY)
    dynamics = ElectronDynamics(molecule, level, Magnus2(TIME_STEP, tolerance=1e-7), field=pulse)
    hamiltonian, ground = dynamics.hamiltonian, dynamics.ground_state
    packing = Packing(1, hamiltonian.size)

    with tempfile.TemporaryDirectory() as folder:
        dynamics.run(steps, Path(folder) / "water.h5")
        with TrajectoryFile(Path(folder) / "water.h5") as file:
            deviations, field = file.deviation().real, file.field
    functional, root, inverse = hamiltonian._exchange_correlation, hamiltonian._root, hamiltonian._inverse_root
    if functional is None:
        raise ValueError("a functional is needed")

    def potential(change: RealArray) -> RealArray:
        density = ground.density + inverse @ packing.matrices(change) @ inverse
        return packing.real(hamiltonian.to_loewdin(functional.evaluate(density)[1][0])[None])

    # Between all changes of the density, those within the occupied and the virtual orbitals included.
    unit = STEP * np.eye(packing.length)
    linear = np.stack([(potential(row) - potential(-row)) / (2.0 * STEP) for row in unit])
    base = potential(np.zeros(packing.length))
    changes = np.stack([packing.real(root @ each.reshape(ground.density.shape) @ root) for each in deviations])
    potentials = np.stack([potential(change) for change in changes]) - base
    return Trajectory(changes, potentials, potentials - changes @ linear, field)


@dataclass(frozen=True)
class Channels:
    """From packed vectors to channels and back.

    Attributes:
        residual_modes, density_modes: [K,m], [D,m], orthonormal.
        residual_scale, density_scale: root mean squares [K], [D].
        context_scale: of field and size of the density's change [2].
    """

    residual_modes: RealArray
    density_modes: RealArray
    residual_scale: RealArray
    density_scale: RealArray
    context_scale: RealArray

    @classmethod
    def of(cls, training: list[Trajectory], count: int) -> Channels:
        """Leading modes of the training trajectories together."""
        residuals = np.concatenate([each.residuals for each in training])
        changes = np.concatenate([each.changes for each in training])
        residual_modes = np.linalg.svd(residuals, full_matrices=False)[2][:count]
        density_modes = np.linalg.svd(changes, full_matrices=False)[2][:DENSITY_CHANNELS]
        context = np.concatenate([_context(each) for each in training])
        return cls(
            residual_modes,
            density_modes,
            np.sqrt(np.mean((residuals @ residual_modes.T) ** 2, 0)),
            np.sqrt(np.mean((changes @ density_modes.T) ** 2, 0)),
            np.sqrt(np.mean(context**2, 0)),
        )

    def series(self, trajectory: Trajectory) -> ResidualSeries:
        """As the sequence model sees it."""
        # One common scale for the residual: its small channels must not count as much as its large ones.
        return ResidualSeries(
            trajectory.residuals @ self.residual_modes.T / self.residual_scale.max(),
            trajectory.changes @ self.density_modes.T / self.density_scale,
            _context(trajectory) / self.context_scale,
        )


def _context(trajectory: Trajectory) -> RealArray:
    return np.stack([np.linalg.norm(trajectory.field, axis=1), np.linalg.norm(trajectory.changes, axis=1)], 1)
