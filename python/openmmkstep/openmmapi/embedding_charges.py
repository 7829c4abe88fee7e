"""`EmbeddingCharges`, the point charges that a QM region sees, for `QMMMForce` and `TorchScriptForce`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from openmm import unit

from openmmkstep import _openmmkstep


def _length(value: Any) -> float:
    return float(value.value_in_unit(unit.nanometer) if unit.is_quantity(value) else value)


class EmbeddingCharges(_openmmkstep.EmbeddingCharges):
    """The point charges of the environment that a QM region sees.

    With a cut-off, the charges of a group (a molecule, or a residue of a large one) are switched together as a function
    of the mean position c of the group's charges: the effective charge is s q, s = 1 - prod_i (1 - S(abs(x_i - c))),
    where i runs over the atoms of the region and S goes from 1 at the switching distance to 0 at the cut-off by a
    quintic with two continuous derivatives. In a periodic box a group is seen at every image within the cut-off; the
    box must be at least twice the cut-off wide.

    Parameters
    ----------
    particles : sequence of int
        Indices of the particles; virtual sites may carry charges.
    charges : sequence of float
        Charges in e, or a Quantity.
    groups : sequence of int, optional
        Group of each charge, from 0. Default: every charge is a group of its own, which is wrong for molecules when
        there is a cut-off.
    cutoff : float or Quantity, optional
        nm. Default: none, every charge is seen in full.
    switchingDistance : float or Quantity, optional
        nm, below the cut-off. Default: 80 % of the cut-off.
    periodic : bool
        Whether images are seen. Needs a cut-off.

    Raises
    ------
    ValueError
        If the sequences are of different lengths.
    openmm.OpenMMException
        If a distance is negative or not a finite number.
    """

    def __init__(
        self,
        particles: Sequence[int] = (),
        charges: Any = (),
        groups: Sequence[int] | None = None,
        cutoff: Any = None,
        switchingDistance: Any = None,
        periodic: bool = False,
    ) -> None:
        if unit.is_quantity(charges):
            charges = charges.value_in_unit(unit.elementary_charge)
        indices = [int(particle) for particle in particles]
        reach = 0.0 if cutoff is None else _length(cutoff)
        begin = 0.8 * reach if switchingDistance is None else _length(switchingDistance)
        super().__init__(
            indices,
            [float(charge) for charge in charges],
            list(range(len(indices))) if groups is None else [int(group) for group in groups],
            reach,
            begin,
            bool(periodic),
        )

    @classmethod
    def _from_native(cls, native: _openmmkstep.EmbeddingCharges) -> EmbeddingCharges:
        particles, charges, groups = native.getCharges()
        return cls(
            particles,
            charges,
            groups,
            native.getCutoffDistance(),
            native.getSwitchingDistance(),
            native.usesPeriodicBoundaryConditions(),
        )

    def getCharges(self) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.int32]]:
        """Particles [n], charges [n] in e, and groups [n]."""
        return super().getCharges()

    def __reduce__(self) -> tuple[Any, ...]:
        return (
            type(self),
            (
                *self.getCharges(),
                self.getCutoffDistance(),
                self.getSwitchingDistance(),
                self.usesPeriodicBoundaryConditions(),
            ),
        )
