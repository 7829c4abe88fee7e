"""`EmbeddingCharges`, the point charges that a QM region sees, for `QMMMForce` and `TorchScriptForce`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from openmm import unit

from openmmkstep import _openmmkstep
from openmmkstep.units import value_in

BondCharge = tuple[int, int, float, float, int]


class EmbeddingCharges(_openmmkstep.EmbeddingCharges):
    """The point charges of the environment that a QM region sees.

    With a cut-off, the charges of a group (a small molecule, or a part of a large one) are switched together: the
    effective charge is s q, s = 1 - prod_ij (1 - S(abs(x_i - x_j))), where i runs over the atoms of the region, j over
    the charges of the group, and S goes from 1 at the switching distance to 0 at the cut-off by a quintic with two
    continuous derivatives. So a group is seen as soon as any of its charges is near any atom of the region. For groups
    of up to three charges (ions, most models of water) their mean position stands for all x_j. In a periodic box a
    group is seen at every image within the cut-off; the box must be at least twice the cut-off wide.

    Args:
        particles: Indices of the particles; virtual sites may carry charges.
        charges: Charges in e, or a Quantity.
        groups: Group of each charge, from 0. Default: every charge is a group of its own, which is wrong for molecules
            when there is a cut-off.
        cutoff: nm or a Quantity. Default: none, every charge is seen in full.
        switchingDistance: nm or a Quantity, below the cut-off. Default: 80 % of the cut-off.
        periodic: Whether images are seen. Needs a cut-off.
        bondCharges: Charges on the lines through pairs of bonded particles, which take the place of the charge at the
            MM end of a cut bond. Each is (particle1, particle2, weight, charge in e, group): a charge at
            x1 + weight (x2 - x1), switched with those of its group. particle1 has a charge of the same group, which may
            be 0; distances are not measured from bond charges.

    Raises:
        ValueError: The sequences are of different lengths.
        openmm.OpenMMException: A distance is negative or not a finite number.
    """

    def __init__(
        self,
        particles: Sequence[int] = (),
        charges: Any = (),
        groups: Sequence[int] | None = None,
        cutoff: Any = None,
        switchingDistance: Any = None,
        periodic: bool = False,
        bondCharges: Iterable[BondCharge] = (),
    ) -> None:
        if unit.is_quantity(charges):
            charges = charges.value_in_unit(unit.elementary_charge)
        indices = [int(particle) for particle in particles]
        reach = 0.0 if cutoff is None else value_in(cutoff, unit.nanometer)
        begin = 0.8 * reach if switchingDistance is None else value_in(switchingDistance, unit.nanometer)
        super().__init__(
            indices,
            [float(charge) for charge in charges],
            list(range(len(indices))) if groups is None else [int(group) for group in groups],
            reach,
            begin,
            bool(periodic),
            [(int(i), int(j), float(weight), float(q), int(group)) for i, j, weight, q, group in bondCharges],
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
            native.getBondCharges(),
        )

    def getCharges(self) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.int32]]:
        """Particles [n], charges [n] in e, and groups [n]."""
        return super().getCharges()

    def getBondCharges(self) -> list[BondCharge]:
        """The bond charges as (particle1, particle2, weight, charge in e, group)."""
        return super().getBondCharges()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _openmmkstep.EmbeddingCharges) and self.equals(other)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[Any, ...]:
        return (
            type(self),
            (
                *self.getCharges(),
                self.getCutoffDistance(),
                self.getSwitchingDistance(),
                self.usesPeriodicBoundaryConditions(),
                self.getBondCharges(),
            ),
        )
