"""Positions, velocities and box of a Context, to and from files."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray


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
        """Move a Context here.

        Velocities lose what they have along constraints: those of a leap-frog scheme have a little, which would be
        taken for an error of the first step.
        """
        context.setPeriodicBoxVectors(*self.box)
        context.setPositions(self.positions)
        context.setVelocities(self.velocities)
        context.applyVelocityConstraints(context.getIntegrator().getConstraintTolerance())

    def between(self, before: openmm.System, after: openmm.System) -> PhaseSpacePoint:
        """The same temperature with the masses of another System: velocities go with the inverse root of the mass.

        Args:
            before: The system that led here.
            after: One with the same particles, some of which may be heavier or lighter.
        """
        old, new = (
            np.array([system.getParticleMass(i)._value for i in range(system.getNumParticles())])
            for system in (before, after)
        )
        factors = np.sqrt(np.divide(old, new, out=np.ones_like(old), where=new > 0))
        return PhaseSpacePoint(self.positions, self.velocities * factors[:, None], self.box)

    def to_bytes(self, **others: NDArray[Any]) -> bytes:
        """As an npz file, with other arrays beside it."""
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {"positions": self.positions, "velocities": self.velocities, "box": self.box, **others}
        np.savez(buffer, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> PhaseSpacePoint:
        """From what to_bytes() gave.

        Raises:
            ValueError: it is something else.
        """
        return cls.read(content)[0]

    @classmethod
    def read(cls, content: bytes, names: Sequence[str] = ()) -> tuple[PhaseSpacePoint, dict[str, NDArray[Any]]]:
        """From what to_bytes() gave, with the other arrays of some names.

        Raises:
            ValueError: it is something else.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                point = cls(file["positions"], file["velocities"], file["box"])
                return point, {name: file[name] for name in names}
        except (OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
            raise ValueError(f"not positions, velocities and box ({error})") from error
