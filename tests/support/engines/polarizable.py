"""A QM engine in Python that is polarised and iterates from where it was: charges that equalise electronegativities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kstep_models.units import COULOMB
from openmmkstep.engines.protocol import EngineError, QMOutput

Array = NDArray[np.float64]

WIDTH = 0.08
"""nm; of the charges of atoms as they see each other."""
ELECTRONEGATIVITIES = {1: 100.0, 8: 900.0}
"""kJ/mol/e; of no particular scale."""


class Polarizable:
    """Atoms on springs to the first one, with charges that minimise the energy for their sum.

    Args:
        stiffness: Of the springs, kJ/mol/nm^2.
        length: Of the springs, nm.
        hardness: What a charge on an atom costs, kJ/mol/e^2.
    """

    def __init__(self, stiffness: float, length: float = 0.1, hardness: float = 3000.0) -> None:
        self.stiffness, self.length, self.hardness = stiffness, length, hardness
        self.charges: Array | None = None

    def check(self, numbers: Sequence[int], charge: int, multiplicity: int) -> None:
        unknown = sorted(set(numbers) - set(ELECTRONEGATIVITIES))
        if unknown:
            raise EngineError(f"nothing is known of the elements {unknown}")
        self.own = np.array([ELECTRONEGATIVITIES[number] for number in numbers])
        self.total = charge

    def describe(self) -> dict[str, Any]:
        return {"stiffness": self.stiffness, "length": self.length, "hardness": self.hardness}

    def reset(self) -> None:
        self.charges = None

    def compute(self, x: Array, y: Array, values: Array, needed: NDArray[np.bool_]) -> QMOutput:
        apart = x[:, None] - y[None]
        inverse = 1 / np.linalg.norm(apart, axis=2)
        pairs = x[:, None] - x[None]
        squares = (pairs**2).sum(axis=2) + WIDTH**2
        mutual = COULOMB / np.sqrt(squares) * (1 - np.eye(len(x)))
        field = self.own + COULOMB * inverse @ values
        q, iterations = self._equalise(field, mutual)
        self.charges = q.copy()
        pulls = -(COULOMB * np.outer(q, values) * inverse**3)[:, :, None] * apart
        pushes = -(np.outer(q, q) * mutual / squares)[:, :, None] * pairs
        bonds = x[1:] - x[0]
        lengths = np.linalg.norm(bonds, axis=1)
        slopes = (self.stiffness * (lengths - self.length) / lengths)[:, None] * bonds
        gradient = pulls.sum(axis=1) + pushes.sum(axis=1)
        gradient[1:] += slopes
        gradient[0] -= slopes.sum(axis=0)
        springs = 0.5 * self.stiffness * ((lengths - self.length) ** 2).sum()
        return QMOutput(
            energy=springs + field @ q + 0.5 * q @ mutual @ q + 0.5 * self.hardness * q @ q,
            gradient=gradient,
            charge_gradient=-pulls.sum(axis=0),
            potential_at_charges=np.where(needed, COULOMB * q @ inverse, np.nan),
            atomic_charges=q,
            dipole=q @ x,
            iterations=iterations,
        )

    def _equalise(self, field: Array, mutual: Array) -> tuple[Array, int]:
        q = np.full(len(field), self.total / len(field)) if self.charges is None else self.charges
        for iteration in range(1, 1000):
            unequal = field + mutual @ q + self.hardness * q
            step = (unequal.mean() - unequal) / self.hardness
            q = q + 0.7 * step
            # Double precision has no more to give.
            if np.abs(step).max() < 1e-13:
                return q, iteration
        raise RuntimeError("the charges do not converge")
