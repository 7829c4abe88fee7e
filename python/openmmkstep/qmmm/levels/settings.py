"""How often each level is evaluated, checked in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass


class LevelError(ValueError):
    """Time steps and periods that do not fit each other or the system."""


@dataclass(frozen=True)
class LevelSettings:
    """The time step and the periods of the levels; periods are in inner steps and divide k.

    Attributes:
        k: Inner steps per QM call.
        inner_step: Length of an inner step, ps.
        surrogate_period: Inner steps between evaluations of the surrogate; more than 1 only with a base level below it.
        nonbonded_period: Inner steps between evaluations of nonbonded MM forces, where they have a group of their own.
        reciprocal_period: Inner steps between evaluations of the reciprocal space of PME or Ewald sums, where that has
            a group of its own; None for those of the other nonbonded forces.

    Raises:
        LevelError: A number that is not positive, or a period that does not divide k.
    """

    k: int
    inner_step: float
    surrogate_period: int = 1
    nonbonded_period: int = 1
    reciprocal_period: int | None = None

    def __post_init__(self) -> None:
        for name in ("k", "surrogate_period", "nonbonded_period", "reciprocal_period"):
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise LevelError(f"{name} must be a positive integer, got {value!r}")
            if self.k % value:
                raise LevelError(
                    f"{name} {value} must divide k = {self.k}, so that all levels meet where QM is called: choose one "
                    f"of {', '.join(str(n) for n in range(1, self.k + 1) if self.k % n == 0)}"
                )
        if not (math.isfinite(self.inner_step) and self.inner_step > 0):
            raise LevelError(f"inner_step must be a positive time, got {self.inner_step!r} ps")

    @property
    def splits_reciprocal(self) -> bool:
        """Whether the reciprocal space has a period that is not that of the other nonbonded forces."""
        return self.reciprocal_period not in (None, self.nonbonded_period)

    @property
    def outer_step(self) -> float:
        """Time from one QM call to the next, ps."""
        return self.k * self.inner_step
