"""Calculators of ASE with a formula, that count their calculations and fail when they are told to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase.calculators.calculator import Calculator, all_changes


class Springs(Calculator):
    """All pairs of atoms: stiffness/2 (r - length)^2 + cubic (r - length)^3, in eV and A.

    Args:
        stiffness: eV/A^2.
        length: A.
        cubic: eV/A^3.
        fails_at: The calculation that fails, counted from 1; 0 for none.
        nan_at: The calculation whose forces are not numbers.
    """

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 (ASE's own type)

    def __init__(
        self, stiffness: float = 30.0, length: float = 1.0, cubic: float = 0.0, fails_at: int = 0, nan_at: int = 0
    ) -> None:
        super().__init__()
        self.stiffness, self.length, self.cubic = stiffness, length, cubic
        self.fails_at, self.nan_at, self.calls = fails_at, nan_at, 0

    def calculate(
        self, atoms: Any = None, properties: Sequence[str] = ("energy",), system_changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        if self.calls == self.fails_at:
            raise RuntimeError("the springs have no solution")
        x = self.atoms.positions
        first, second = np.triu_indices(len(x), 1)
        apart = x[first] - x[second]
        r = np.linalg.norm(apart, axis=1)
        excess = r - self.length
        slope = self.stiffness * excess + 3 * self.cubic * excess**2
        pulls = -(slope / r)[:, None] * apart
        forces = np.zeros_like(x)
        np.add.at(forces, first, pulls)
        np.add.at(forces, second, -pulls)
        if self.calls == self.nan_at:
            forces[0, 0] = np.nan
        energy = float((0.5 * self.stiffness * excess**2 + self.cubic * excess**3).sum())
        self.results = {"energy": energy, "forces": forces}


class Wells(Calculator):
    """Every atom in a harmonic well of its own about the origin, stiffness in eV/A^2."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 (ASE's own type)

    def __init__(self, stiffness: float) -> None:
        super().__init__()
        self.stiffness = stiffness

    def calculate(
        self, atoms: Any = None, properties: Sequence[str] = ("energy",), system_changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        x = self.atoms.positions
        self.results = {"energy": 0.5 * self.stiffness * float((x**2).sum()), "forces": -self.stiffness * x}
