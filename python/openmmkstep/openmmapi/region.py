"""The atoms that the forces of a QM region act on: link atoms, and what all these forces tell of their region."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openmmkstep import _openmmkstep

from .wrapped import Wrapped


@dataclass(frozen=True)
class LinkAtom:
    """An atom that saturates a bond cut between region and environment, at x_Q + ratio (x_M - x_Q).

    Attributes:
        qmParticle: The particle Q of the cut bond.
        mmParticle: The particle M of the cut bond.
        ratio: Between 0 and 1: the length of the bond to the link atom over the length of the cut bond.
        atomicNumber: Hydrogen by default.
    """

    qmParticle: int
    mmParticle: int
    ratio: float
    atomicNumber: int = 1


class RegionForce(Wrapped):
    """What forces on a region have in common."""

    def _region(self) -> _openmmkstep.QMRegion:
        # Abstract, as in Wrapped.
        raise NotImplementedError

    def getParticles(self) -> NDArray[np.int32]:
        """Indices of the QM atoms [n]."""
        return self._region().getParticles()

    def getAtomicNumbers(self) -> NDArray[np.int32]:
        """Atomic numbers of the QM atoms [n]."""
        return self._region().getAtomicNumbers()

    def getLinkAtoms(self) -> list[LinkAtom]:
        """The link atoms."""
        return [LinkAtom(*link) for link in self._region().getLinkAtoms()]

    def getBonds(self) -> list[tuple[int, int]] | None:
        """The bonds within the region, as pairs of particles, or None if nobody named any."""
        return self._region().getBonds()


def nativeRegion(
    particles: Sequence[int],
    atomicNumbers: Sequence[int],
    charge: int,
    multiplicity: int,
    linkAtoms: Iterable[LinkAtom],
    bonds: Iterable[tuple[int, int]] | None,
) -> _openmmkstep.QMRegion:
    """The C++ description of a region, for the forces that take one; the arguments are those of `QMMMForce`."""
    return _openmmkstep.QMRegion(
        [int(particle) for particle in particles],
        [int(number) for number in atomicNumbers],
        int(charge),
        int(multiplicity),
        [(link.qmParticle, link.mmParticle, link.ratio, link.atomicNumber) for link in linkAtoms],
        None if bonds is None else [(int(first), int(second)) for first, second in bonds],
    )
