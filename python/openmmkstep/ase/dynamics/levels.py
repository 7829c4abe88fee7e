"""The two levels of a `KStepDynamics`, asked for forces and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from openmmkstep.engines.ase.conversion import energy_of_the_forces

from .statistics import KStepDynamicsStatistics

Array = NDArray[np.float64]


@dataclass(frozen=True)
class StepEnd:
    """Both levels where outer steps begin and end.

    Attributes:
        top: Forces of the top level [n,3], eV/A.
        energy: Its energy, eV.
        surrogate: Forces of the surrogate [n,3], eV/A; None if there is none, or it failed.
        rms: Root mean square, per coordinate, of the difference over the monitored atoms; None without a surrogate.
        largest: Largest difference on one of them.
        rejection: Why steps with the surrogate may not begin or end here; None if they may.
    """

    top: Array
    energy: float
    surrogate: Array | None = None
    rms: float | None = None
    largest: float | None = None
    rejection: str | None = None


class Levels:
    """Calculators of both levels, for one `Atoms`.

    Args:
        atoms: The atoms, with the calculator of the top level.
        surrogate: Calculator of the surrogate; None for none.
        monitored: Atoms over which the two are compared; None for all.
        max_correction: Bound of their difference on one atom, eV/A.
        statistics: Where calls are counted.
    """

    def __init__(
        self,
        atoms: Atoms,
        surrogate: Any,
        monitored: Sequence[int] | None,
        max_correction: float,
        statistics: KStepDynamicsStatistics,
    ) -> None:
        self._atoms, self._surrogate, self._statistics = atoms, surrogate, statistics
        self._monitored = slice(None) if monitored is None else list(monitored)
        self._max_correction = max_correction
        self._seen: dict[str, Array] = {}

    @property
    def has_surrogate(self) -> bool:
        """Whether there is one."""
        return self._surrogate is not None

    def top_forces(self) -> Array:
        """Forces of the top level here [n,3], eV/A, with those of constraints that have an energy."""
        self._count("top_calls")
        return np.asarray(self._atoms.get_forces(md=True))

    def surrogate_forces(self) -> Array:
        """Forces of the surrogate here, likewise.

        Raises:
            ValueError: They are not finite.
        """
        self._count("surrogate_calls")
        top, self._atoms.calc = self._atoms.calc, self._surrogate
        try:
            forces = np.asarray(self._atoms.get_forces(md=True))
        finally:
            self._atoms.calc = top
        if not np.isfinite(forces).all():
            raise ValueError("the forces of the surrogate are not finite")
        return forces

    def measure(self) -> StepEnd:
        """Both levels here.

        Raises:
            Exception: What the calculator of the top level raises; a surrogate that fails is told in the answer.
            ValueError: The top level's energy or forces are not finite.
        """
        top = self.top_forces()
        energy = energy_of_the_forces(self._atoms)
        if not (np.isfinite(top).all() and np.isfinite(energy)):
            raise ValueError("energy or forces of the top level are not finite")
        if self._surrogate is None:
            return StepEnd(top, energy)
        try:
            surrogate = self.surrogate_forces()
        except Exception as error:
            # Whatever a calculator raises at a geometry that it does not know.
            return StepEnd(top, energy, rejection=f"the surrogate failed: {type(error).__name__}: {error}")
        difference = (top - surrogate)[self._monitored]
        largest = float(np.linalg.norm(difference, axis=1).max(initial=0.0))
        rms = float(np.sqrt((difference**2).mean())) if difference.size else 0.0
        rejection = None
        if largest > self._max_correction:
            rejection = f"a correction of {largest:g} eV/A on one atom exceeds the bound of {self._max_correction:g}"
        return StepEnd(top, energy, surrogate, rms, largest, rejection)

    def _count(self, name: str) -> None:
        """A geometry that a level was asked for before costs nothing."""
        positions, seen = self._atoms.positions, self._seen.get(name)
        if seen is None or not np.array_equal(seen, positions):
            setattr(self._statistics, name, getattr(self._statistics, name) + 1)
            self._seen[name] = positions.copy()
