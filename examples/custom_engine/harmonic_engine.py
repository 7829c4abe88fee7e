"""A QM engine in Python: harmonic bonds and fixed charges stand for a QM program.

Import this file in a script, and `QMMMPotential("harmonic", bonds=[[0, 1, 4e5, 0.1]], charges=[0.2, -0.2])` uses it. A
package offers an engine without an import, by the entry point `harmonic = "module:HarmonicEngine"` of the group
`openmmkstep.engines` in its pyproject.toml.
"""

from __future__ import annotations

import numpy as np

from kstep_models.units import COULOMB
from openmmkstep.engines.protocol import EngineError, QMOutput
from openmmkstep.engines.registry import register


class HarmonicEngine:
    """Settings: bonds as rows [i, j, k in kJ/mol/nm^2, length in nm], and one charge in e for each atom."""

    def __init__(self, bonds: list[list[float]], charges: list[float]) -> None:
        self.bonds = np.reshape(np.asarray(bonds, dtype=float), (-1, 4))
        self.first, self.second = self.bonds[:, :2].astype(int).T
        self.stiffness, self.length = self.bonds[:, 2:].T
        self.charges = np.asarray(charges, dtype=float)

    def check(self, numbers, charge, multiplicity):
        if len(self.charges) != len(numbers) or not set(self.bonds[:, :2].flat) <= set(range(len(numbers))):
            raise EngineError(f"bonds and charges do not fit a molecule of {len(numbers)} atoms")

    def describe(self):
        return {"bonds": self.bonds.tolist(), "charges": self.charges.tolist()}

    def reset(self):
        """Nothing is kept between calculations."""

    def compute(self, positions, charge_positions, charges, needs_potential):
        bonds = positions[self.first] - positions[self.second]
        lengths = np.linalg.norm(bonds, axis=1)
        stretch = lengths - self.length
        slopes = (self.stiffness * stretch / lengths)[:, None] * bonds
        gradient = np.zeros_like(positions)
        np.add.at(gradient, self.first, slopes)
        np.add.at(gradient, self.second, -slopes)
        apart = positions[:, None] - charge_positions[None]  # [atoms, charges, 3]
        inverse = 1 / np.linalg.norm(apart, axis=2)
        potential = COULOMB * self.charges @ inverse
        pulls = -(COULOMB * np.outer(self.charges, charges) * inverse**3)[:, :, None] * apart
        return QMOutput(
            energy=0.5 * self.stiffness @ stretch**2 + charges @ potential,
            gradient=gradient + pulls.sum(axis=1),
            charge_gradient=-pulls.sum(axis=0),
            potential_at_charges=potential,
            atomic_charges=self.charges.copy(),
            dipole=self.charges @ positions,
        )


register("harmonic", HarmonicEngine)
