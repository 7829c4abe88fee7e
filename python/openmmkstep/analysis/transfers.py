"""An atom that goes from one partner to another and back: proton transfers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Transfers:
    """How often a coordinate changed sides.

    Attributes:
        count: changes from beyond the margin on one side to beyond it on the other.
        crossings: changes of sign, those included that turned back within the margin.
        frames: indices of the first frames beyond the margin on the new side [count].
        on_first: share of the frames below zero.
    """

    count: int
    crossings: int
    frames: NDArray[np.intp]
    on_first: float


def distance_difference(positions: NDArray[np.floating], moving: int, first: int, second: int) -> NDArray[np.float64]:
    """Distance of an atom to one partner less that to another: negative near the first.

    Args:
        positions: [T,N,3], without periodic images between the three atoms.
        moving: the atom.
        first: one partner.
        second: the other.

    Returns:
        [T], in the unit of the positions.
    """
    places = np.asarray(positions, dtype=np.float64)
    to_first = np.linalg.norm(places[:, moving] - places[:, first], axis=1)
    to_second = np.linalg.norm(places[:, moving] - places[:, second], axis=1)
    difference: NDArray[np.float64] = to_first - to_second
    return difference


def find_transfers(coordinate: ArrayLike, margin: float) -> Transfers:
    """Transfers along a coordinate that is zero half way, with a hysteresis.

    A coordinate that only touches the other side, and comes back before it is beyond the margin there, has not changed
    sides. Frames within the margin belong to neither side until the next one beyond it.

    Args:
        coordinate: values over time [T].
        margin: distance from zero at which a side is reached, in the unit of the coordinate; 0 counts every crossing.

    Raises:
        ValueError: no values, values that are not numbers, or a negative margin.
    """
    values = np.asarray(coordinate, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.all(np.isfinite(values)):
        raise ValueError("transfers are found in a series [T] of at least one number")
    if not margin >= 0:
        raise ValueError(f"the margin must not be negative, got {margin!r}")
    outside = np.flatnonzero(np.abs(values) > margin)
    sides = values[outside] > 0
    frames = outside[1:][sides[1:] != sides[:-1]]
    signs = values[values != 0] > 0
    crossings = int(np.count_nonzero(signs[1:] != signs[:-1]))
    return Transfers(len(frames), crossings, frames, float(np.mean(values < 0)))
