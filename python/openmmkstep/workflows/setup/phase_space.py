"""Positions, velocities and box of a Context, to and from files."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openmm
from numpy.typing import NDArray

from kstep_models.files import write_atomically


@dataclass(frozen=True)
class PhaseSpacePoint:
    """Positions [N,3] nm, velocities [N,3] nm/ps, box vectors [3,3] nm."""

    positions: NDArray[np.float64]
    velocities: NDArray[np.float64]
    box: NDArray[np.float64]

    @classmethod
    def of(cls, context: openmm.Context) -> PhaseSpacePoint:
        """Where a Context is."""
        state = context.getState(positions=True, velocities=True)
        return cls(
            np.array(state.getPositions(asNumpy=True)._value),
            np.array(state.getVelocities(asNumpy=True)._value),
            np.array(state.getPeriodicBoxVectors(asNumpy=True)._value),
        )

    def apply_to(self, context: openmm.Context) -> None:
        """Move a Context here."""
        context.setPeriodicBoxVectors(*self.box)
        context.setPositions(self.positions)
        context.setVelocities(self.velocities)

    def write(self, path: Path) -> None:
        """Write atomically."""
        buffer = io.BytesIO()
        np.savez(buffer, positions=self.positions, velocities=self.velocities, box=self.box)
        write_atomically(path, buffer.getvalue())

    @classmethod
    def read(cls, path: Path) -> PhaseSpacePoint:
        """Read what write() wrote."""
        with np.load(path, allow_pickle=False) as file:
            return cls(file["positions"], file["velocities"], file["box"])
