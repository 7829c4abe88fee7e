"""Distances, angles and their distributions beside those of a reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from openmmkstep.analysis.averages import block_average

Array = NDArray[np.float64]


def distances(positions: Array, pairs: ArrayLike) -> Array:
    """Distances [T,p] of pairs [p,2] of atoms from positions [T,n,3], in their unit."""
    first, second = np.asarray(pairs, dtype=np.int64).reshape(-1, 2).T
    return np.asarray(np.linalg.norm(positions[:, first] - positions[:, second], axis=2))


def angles(positions: Array, triples: ArrayLike) -> Array:
    """Angles [T,p] in degrees at the middle atoms of triples [p,3], from positions [T,n,3]."""
    a, b, c = np.asarray(triples, dtype=np.int64).reshape(-1, 3).T
    first, second = positions[:, a] - positions[:, b], positions[:, c] - positions[:, b]
    sine = np.linalg.norm(np.cross(first, second), axis=2)
    return np.asarray(np.degrees(np.arctan2(sine, np.sum(first * second, axis=2))))


def jensen_shannon(first: ArrayLike, second: ArrayLike) -> float:
    """Jensen-Shannon divergence of two histograms, in bits: 0 for the same distribution, 1 for disjoint ones.

    Histograms of few values differ by chance: about (bins - 1) / (8 ln 2) (1/N + 1/N') for N and N' of them.

    Args:
        first: counts [b], not normalised.
        second: counts of the same bins [b].

    Raises:
        ValueError: an empty histogram.
    """
    p, q = (np.asarray(counts, dtype=np.float64) for counts in (first, second))
    if p.sum() <= 0 or q.sum() <= 0:
        raise ValueError("an empty histogram has no distribution")
    p, q = p / p.sum(), q / q.sum()
    middle = 0.5 * (p + q)

    def relative_entropy(x: Array) -> float:
        present = x > 0
        return float(np.sum(x[present] * np.log2(x[present] / middle[present])))

    return max(0.0, 0.5 * (relative_entropy(p) + relative_entropy(q)))


@dataclass(frozen=True)
class DistributionErrors:
    """Distributions of some coordinates beside those of a reference, in the unit of the coordinates.

    Attributes:
        shifts: of the mean of each coordinate [c].
        shift_errors: their standard errors, by block averaging of both series [c].
        divergences: Jensen-Shannon divergence of each coordinate, bits [c].
    """

    shifts: Array
    shift_errors: Array
    divergences: Array

    @property
    def rmse(self) -> float:
        """Root mean square of the shifts over all coordinates."""
        return float(np.sqrt(np.mean(self.shifts**2)))

    @property
    def expected_rmse(self) -> float:
        """What noise alone would make of it."""
        return float(np.sqrt(np.mean(self.shift_errors**2)))

    @property
    def divergence(self) -> float:
        """Mean over all coordinates, bits."""
        return float(np.mean(self.divergences))


def compare_distributions(samples: Array, reference: Array, bins: int = 40) -> DistributionErrors:
    """Compare coordinates that do not wrap.

    Args:
        samples: [T,c].
        reference: [T',c].
        bins: of the histograms, over the range of the reference.

    Raises:
        ValueError: no coordinates, not the same ones, or fewer than two values.
    """
    _check(samples, reference)
    shifts, errors, divergences = [], [], []
    for own, other in zip(samples.T, reference.T, strict=True):
        here, there = block_average(own), block_average(other)
        shifts.append(here.mean - there.mean)
        errors.append(float(np.hypot(here.error, there.error)))
        # The outermost bins are open.
        edges = np.linspace(other.min(), other.max(), bins + 1)
        divergences.append(
            jensen_shannon(*(np.histogram(np.clip(x, edges[0], edges[-1]), edges)[0] for x in (own, other)))
        )
    return DistributionErrors(np.array(shifts), np.array(errors), np.array(divergences))


def compare_torsions(samples: Array, reference: Array, bins: int = 36) -> Array:
    """Jensen-Shannon divergences [c], bits, of angles [T,c] and [T',c] in degrees, on the full circle."""
    _check(samples, reference)
    edges = np.linspace(-180, 180, bins + 1)
    return np.array(
        [
            jensen_shannon(*(np.histogram((x + 180) % 360 - 180, edges)[0] for x in pair))
            for pair in zip(samples.T, reference.T, strict=True)
        ]
    )


def _check(samples: Array, reference: Array) -> None:
    if samples.ndim != 2 or samples.shape[1:] != reference.shape[1:] or samples.shape[1] == 0:
        raise ValueError(
            f"distributions of the same coordinates are compared, [T,c] and [T',c], not {samples.shape} and "
            f"{reference.shape}"
        )
