"""Point charges around a calculator of ASE, in the manner of its EIQMMM."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


class PointCharges:
    """The charges that a calculator was embedded in.

    Attributes:
        charges: Charges [m], e.
        version: Counts what has been set, so that a calculator sees whether it has to calculate again.
    """

    def __init__(self, charges: ArrayLike) -> None:
        self.version = 0
        self._positions: Array | None = None
        self._forces: Array | None = None
        self.set_charges(charges)

    def set_charges(self, charges: ArrayLike) -> None:
        """Set the charges [m], e.

        Raises:
            ValueError: They are no row of finite numbers.
        """
        values = np.array(charges, dtype=np.float64)
        if values.ndim != 1 or not np.isfinite(values).all():
            raise ValueError(f"point charges must be one row of finite numbers, got the shape {list(values.shape)}")
        self.charges = values
        self._touched()

    def set_positions(self, positions: ArrayLike, com_pv: Any = None) -> None:
        """Set the positions [m,3] in A; the centres of their molecules, which ASE can give too, are not needed.

        Raises:
            ValueError: They have another shape, or are not finite.
        """
        places = np.array(positions, dtype=np.float64)
        if places.shape != (len(self.charges), 3) or not np.isfinite(places).all():
            raise ValueError(
                f"the positions of {len(self.charges)} point charges must be finite numbers of the shape "
                f"[{len(self.charges)}, 3], got the shape {list(places.shape)}"
            )
        self._positions = places
        self._touched()

    def places(self) -> Array:
        """Positions [m,3], A.

        Raises:
            ValueError: None were set since the charges were made, or there are other charges now.
        """
        if self._positions is None or len(self._positions) != len(self.charges):
            raise ValueError("the point charges have no positions: call set_positions() at what embed() returned")
        return self._positions

    def take_forces(self, forces: Array) -> None:
        """Keep what a calculation gave [m,3], eV/A."""
        self._forces = forces

    def get_forces(self, calc: Any) -> Array:
        """Forces on the charges [m,3], eV/A; calculated if they were not yet.

        Args:
            calc: The calculator that was embedded.
        """
        if self._forces is None:
            calc.get_property("forces", calc.atoms)
        if self._forces is None:
            raise ValueError("there are other point charges around this calculator: embed() was called again")
        return self._forces.copy()

    def _touched(self) -> None:
        self.version += 1
        self._forces = None
