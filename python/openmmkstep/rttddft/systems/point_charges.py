"""Charges around a molecule, in whose field its electrons move."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openmmkstep.rttddft.errors import ElectronDynamicsError

from .molecule import Molecule

# Bohr; a charge nearer to a nucleus is one of the molecule's own atoms, or an overlap.
_CLOSEST = 0.5


@dataclass(frozen=True)
class PointCharges:
    """Fixed point charges, such as those of a QM/MM environment.

    Attributes:
        positions: [m,3], bohr.
        charges: [m], e.

    Raises:
        ElectronDynamicsError: shapes that do not fit, or numbers that are not finite.
    """

    positions: NDArray[np.float64]
    charges: NDArray[np.float64]

    def __post_init__(self) -> None:
        store = object.__setattr__
        positions = np.array(self.positions, dtype=np.float64)
        charges = np.array(self.charges, dtype=np.float64)
        if charges.ndim != 1 or positions.shape != (len(charges), 3):
            raise ElectronDynamicsError(
                f"point charges need positions [m,3] and charges [m], got {positions.shape} and {charges.shape}"
            )
        if not (np.all(np.isfinite(positions)) and np.all(np.isfinite(charges))):
            raise ElectronDynamicsError("positions and values of point charges must be finite numbers")
        store(self, "positions", positions)
        store(self, "charges", charges)

    def __len__(self) -> int:
        return len(self.charges)

    def check(self, molecule: Molecule) -> None:
        """Refuse charges on top of nuclei.

        Raises:
            ElectronDynamicsError: names the charge and the atom.
        """
        if not len(self):
            return
        distances = np.linalg.norm(self.positions[:, None] - molecule.positions[None], axis=2)
        charge, atom = (int(index) for index in np.unravel_index(np.argmin(distances), distances.shape))
        if distances[charge, atom] < _CLOSEST:
            raise ElectronDynamicsError(
                f"point charge {charge} is {distances[charge, atom]:.3g} bohr from atom {atom}: leave the charges of "
                "the molecule's own atoms out, and check the units (bohr)"
            )
