"""Radial distribution functions of solvent around a solute."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def neighbour_counts(solute: Array, solvent: Array, box: Array, edges: Array) -> NDArray[np.int64]:
    """Solvent atoms at some distances from each solute atom.

    Args:
        solute: [n,3] nm.
        solvent: [s,3] nm.
        box: box vectors [3,3] in OpenMM's reduced form, nm; the largest distance is at most half the smallest width.
        edges: ascending [b+1], nm.

    Returns:
        [n,b].
    """
    difference = solvent[None] - solute[:, None]
    for axis in (2, 1, 0):
        difference = difference - np.round(difference[..., axis : axis + 1] / box[axis, axis]) * box[axis]
    distance = np.linalg.norm(difference, axis=2)
    return np.array([np.histogram(row, edges)[0] for row in distance])


def radial_distribution(counts: Array, edges: Array, density: float) -> Array:
    """g(r) from mean numbers of solvent atoms.

    Args:
        counts: mean number in each shell [...,b].
        edges: of the shells [b+1], nm.
        density: of the solvent, 1/nm^3.

    Returns:
        [...,b].
    """
    volumes = 4 / 3 * np.pi * np.diff(edges**3)
    return np.asarray(counts / (volumes * density))


@dataclass(frozen=True)
class RadialError:
    """Difference of two radial distribution functions.

    Attributes:
        l1: mean over all distances of the absolute difference.
        number_of_neighbours: difference of the mean number of solvent atoms up to the last distance.
    """

    l1: float
    number_of_neighbours: float


def compare_radial(first: Array, second: Array, edges: Array, density: float) -> RadialError:
    """Compare mean counts [b] of two runs; see :func:`radial_distribution`."""
    difference = radial_distribution(first, edges, density) - radial_distribution(second, edges, density)
    l1 = float(np.sum(np.abs(difference) * np.diff(edges)) / (edges[-1] - edges[0]))
    return RadialError(l1, float(first.sum() - second.sum()))
