"""A QM engine in Python of which the tests can ask for every kind of trouble."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openmmkstep.engines.protocol import QMOutput


class TroubledSprings:
    """Springs between neighbours, which fail, are interrupted, or give wrong derivatives.

    Args:
        length: Of the springs, nm.
        stiffness: kJ/mol/nm^2.
        fails_beyond: The length of a spring, nm, above which the calculation does not converge.
        fails_from: The call from which on no calculation converges; 0 for never.
        interrupt_at: The call at which Ctrl-C arrives; 0 for never.
        sign: Of the derivatives; -1 makes them wrong.
    """

    def __init__(
        self,
        length: float = 0.12,
        stiffness: float = 1e5,
        fails_beyond: float = 1e3,
        fails_from: int = 0,
        interrupt_at: int = 0,
        sign: float = 1.0,
    ) -> None:
        self.length, self.stiffness, self.fails_beyond = length, stiffness, fails_beyond
        self.fails_from = fails_from
        self.interrupt_at, self.sign, self.calls = interrupt_at, sign, 0

    def check(self, numbers: Sequence[int], charge: int, multiplicity: int) -> None:
        """Any molecule will do."""

    def describe(self) -> dict[str, Any]:
        return {"length": self.length}

    def reset(self) -> None:
        """Nothing is kept."""

    def compute(
        self,
        positions: NDArray[np.float64],
        charge_positions: NDArray[np.float64],
        charges: NDArray[np.float64],
        needs_potential: NDArray[np.bool_],
    ) -> QMOutput:
        self.calls += 1
        if self.calls == self.interrupt_at:
            signal.raise_signal(signal.SIGINT)
        bonds = positions[1:] - positions[:-1]
        lengths = np.linalg.norm(bonds, axis=1)
        if (lengths > self.fails_beyond).any() or 0 < self.fails_from <= self.calls:
            raise ValueError("the iterations did not converge")
        excess = lengths - self.length
        pulls = self.sign * self.stiffness * (excess / lengths)[:, None] * bonds
        gradient = np.zeros_like(positions)
        gradient[1:] += pulls
        gradient[:-1] -= pulls
        n, m = len(positions), len(charges)
        energy = 0.5 * self.stiffness * float((excess**2).sum())
        return QMOutput(energy, gradient, np.zeros((m, 3)), np.zeros(m), np.zeros(n), np.zeros(3))
