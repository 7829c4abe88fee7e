"""How a QM region lies in the periodic box: the QM method sees one copy of it, in one piece."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit

from openmmkstep.qmmm.region import RegionError
from openmmkstep.units import value_in

from .molecular_system import MolecularSystem

Array = NDArray[np.float64]

MIN_IMAGE_DISTANCE = 0.5
"""nm; atoms that are nearer than this feel each other by more than their charges, and a region does not feel itself."""


class RegionExtentWarning(UserWarning):
    """A region that may come near its own periodic images."""


@dataclass(frozen=True)
class RegionExtent:
    """Sizes of a region in one piece.

    Attributes:
        length: Largest distance between two of its atoms, nm.
        half_box: Half the smallest width of the periodic box, nm; None without one.
        image_distance: Smallest distance between one of its atoms and a periodic image of one, nm; None without a box.
    """

    length: float
    half_box: float | None = None
    image_distance: float | None = None

    @classmethod
    def of(cls, molecules: MolecularSystem, particles: Sequence[int]) -> RegionExtent:
        """The extent that some particles have in the positions of a system."""
        places = molecules.positions[list(particles)]
        box = periodic_box(molecules.system)
        if box is None:
            return cls(_length(places))
        places = in_one_piece(places, box)
        return cls(_length(places), float(box.diagonal().min()) / 2, _image_distance(places, box))

    @property
    def refusal(self) -> str | None:
        """Why no calculation can be made with this region; None if there is no reason."""
        if self.image_distance is None or self.image_distance >= MIN_IMAGE_DISTANCE:
            return None
        return (
            f"the QM region reaches around the periodic box: its atoms are {self.image_distance:.2f} nm from its own "
            "images, which it does not feel; use a larger box or a smaller region"
        )

    @property
    def doubt(self) -> str | None:
        """What may become wrong with it; None if there is nothing."""
        if self.half_box is None or self.length <= self.half_box or self.refusal is not None:
            return None
        return (
            f"the region is {self.length:.2f} nm long, more than half the box ({self.half_box:.2f} nm); it is "
            f"{self.image_distance:.2f} nm from its own images and may come nearer"
        )

    def check(self) -> None:
        """Warn of what may become wrong.

        Raises:
            RegionError: The region is too large for the box.
        """
        if self.refusal:
            raise RegionError(self.refusal)
        if self.doubt:
            warnings.warn(self.doubt, RegionExtentWarning, stacklevel=2)


def periodic_box(system: openmm.System) -> Array | None:
    """The box vectors [3,3] of a system, nm; None if it is not periodic."""
    if not system.usesPeriodicBoundaryConditions():
        return None
    vectors = system.getDefaultPeriodicBoxVectors()
    return np.array([[value_in(vector[axis], unit.nanometer) for axis in range(3)] for vector in vectors])


def nearest_images(delta: Array, box: Array) -> Array:
    """Differences of positions [n,3], nm, between those images that OpenMM takes for the nearest."""
    for axis in (2, 1, 0):
        delta = delta - np.round(delta[:, axis, None] / box[axis, axis]) * box[axis]
    return delta


def in_one_piece(places: Array, box: Array) -> Array:
    """The images of atoms [n,3] that are near each other, as the QM level chooses them.

    The atom nearest to those already placed comes next, at its image beside its nearest neighbour.
    """
    placed = places.copy()
    distances = np.full(len(places), np.inf)
    left = np.ones(len(places), dtype=bool)
    last = 0
    for _ in range(1, len(places)):
        left[last] = False
        delta = nearest_images(places - placed[last], box)
        squares = np.einsum("ij,ij->i", delta, delta)
        closer = left & (squares < distances)
        distances[closer] = squares[closer]
        placed[closer] = placed[last] + delta[closer]
        last = int(np.argmin(np.where(left, distances, np.inf)))
    return placed


def _length(places: Array) -> float:
    return float(max((np.linalg.norm(places - place, axis=1).max() for place in places), default=0.0))


def _image_distance(places: Array, box: Array) -> float:
    cells = np.array([cell for cell in np.ndindex(3, 3, 3) if cell != (1, 1, 1)]) - 1
    images = (places + (cells @ box)[:, None]).reshape(-1, 3)
    return float(min(np.linalg.norm(images - place, axis=1).min() for place in places))
