"""`FarFieldForce`, what leaves a force field the far field of a QM region, as OpenMM scripts use it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import openmm
from openmm import unit

from openmmkstep import _openmmkstep
from openmmkstep.units import value_in

from .embedding_charges import EmbeddingCharges
from .region import LinkAtom, RegionForce, nativeRegion


class FarFieldForce(RegionForce, openmm.Force):
    """Takes out of a force field the Coulomb energy that the QM level describes instead.

    The energy is - sum_(i<k) q_i q_k / (4 pi epsilon_0 r_ik) - sum_ij s_j q_i q_j / (4 pi epsilon_0 r_ij) over the
    force-field charges q_i of the region and the embedding charges q_j, at the images where the QM level has them and
    with the switching factors s_j of `EmbeddingCharges`. Beside a NonbondedForce in which the region keeps its charges,
    what is left is the far field: charges beyond the embedding cut-off, periodic images and the neutralising background
    act on the region's force-field charges. The NonbondedForce must count every pair in full, also those within the
    region (exceptions have the products of the charges, and use periodic boundary conditions in a box): without a
    cut-off, or by Ewald summation (Ewald, PME, LJPME).

    `QMMMPotential.createMixedSystem` adds this force where it is needed. The force is the exact derivative of the
    energy, through the switching of charges too.

    Args:
        particles: Indices of the QM atoms, as the QMMMForce beside it has them.
        atomicNumbers: Their atomic numbers.
        embeddingCharges: What the region sees of its environment, as the QMMMForce beside it has it; without charges,
            and maybe periodic, for mechanical embedding.
        regionCharges: The force field's charges of the region by particle, e or Quantities. Virtual sites that QM atoms
            define may carry some.
        linkAtoms: Atoms that saturate cut bonds.
        bonds: Pairs of particles within the region that are bonded, so that barostats and wrapping keep them together.

    Raises:
        ValueError: There are not as many atomic numbers as particles.
        openmm.OpenMMException: When a Context is created: a charge on a particle that is neither in the region nor
            defined by it; a NonbondedForce that does not count every pair in full, or has other charges of the region;
            and what EmbeddingCharges and QMMMForce refuse.

    Example:
        >>> charges = EmbeddingCharges(others, mmCharges, groups, cutoff=0.85, periodic=True)
        >>> system.addForce(QMMMForce(range(3), [8, 1, 1], embeddingCharges=charges))
        >>> system.addForce(FarFieldForce(range(3), [8, 1, 1], charges, {0: -0.834, 1: 0.417, 2: 0.417}))
    """

    _is_instance = staticmethod(_openmmkstep.FarFieldForce_isInstance)

    def __init__(
        self,
        particles: Sequence[int],
        atomicNumbers: Sequence[int],
        embeddingCharges: EmbeddingCharges,
        regionCharges: Mapping[int, Any],
        linkAtoms: Iterable[LinkAtom] = (),
        bonds: Iterable[tuple[int, int]] | None = None,
    ) -> None:
        region = nativeRegion(particles, atomicNumbers, 0, 1, linkAtoms, bonds)
        charges = [value_in(charge, unit.elementary_charge) for charge in regionCharges.values()]
        xml = _openmmkstep.FarFieldForce_create(region, embeddingCharges, [int(i) for i in regionCharges], charges)
        self.this = openmm.XmlSerializer._deserializeForce(xml).this

    def _region(self) -> _openmmkstep.QMRegion:
        return _openmmkstep.FarFieldForce_getRegion(self)

    def getEmbeddingCharges(self) -> EmbeddingCharges:
        """A copy of the embedding charges."""
        return EmbeddingCharges._from_native(_openmmkstep.FarFieldForce_getEmbeddingCharges(self))

    def getRegionCharges(self) -> dict[int, float]:
        """The force field's charges of the region by particle, e."""
        particles, charges = _openmmkstep.FarFieldForce_getRegionCharges(self)
        return dict(zip(particles.tolist(), charges.tolist(), strict=True))
