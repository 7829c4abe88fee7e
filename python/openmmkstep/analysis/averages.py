"""Averages of correlated series, with honest errors, and drifts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_FEWEST_BLOCKS = 16
_SEGMENTS = 8


@dataclass(frozen=True)
class Average:
    """A mean and its standard error, in the unit of the series."""

    mean: float
    error: float


def block_average(series: ArrayLike) -> Average:
    """Mean of a correlated series with its standard error by block averaging.

    Blocks are doubled in length as long as there are at least 16 of them; the largest error found is taken (Flyvbjerg
    and Petersen, J. Chem. Phys. 91, 461 (1989)), which errs on the safe side where there is no plateau.

    Args:
        series: values at equal intervals [T].

    Raises:
        ValueError: fewer than two values.
    """
    values = np.asarray(series, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError("an average with an error needs a series of at least two values")
    errors = []
    blocks: NDArray[np.float64] = values
    while True:
        errors.append(float(blocks.std(ddof=1) / np.sqrt(len(blocks))))
        if len(blocks) // 2 < _FEWEST_BLOCKS:
            break
        blocks = blocks[: len(blocks) // 2 * 2].reshape(-1, 2).mean(axis=1)
    return Average(float(values.mean()), max(errors))


@dataclass(frozen=True)
class Drift:
    """A straight line through a series.

    Attributes:
        slope: per unit of time.
        error: standard error of the slope, from those of eight segments one after the other; NaN if there are too few
            values for that. It is that of a random walk, whose segments drift independently of each other, and errs on
            the safe side for a series whose noise is bounded.
        residual_rms: root mean square deviation from the line.
        rms: root mean square deviation from the mean.
    """

    slope: float
    error: float
    residual_rms: float
    rms: float


def drift(time: ArrayLike, series: ArrayLike) -> Drift:
    """Least-squares drift of a series.

    Raises:
        ValueError: fewer than three values, or not as many times.
    """
    x, y = np.asarray(time, dtype=np.float64), np.asarray(series, dtype=np.float64)
    if x.shape != y.shape or len(x) < 3:
        raise ValueError("a drift needs at least three values, each with its time")
    slope, offset = _line(x, y)
    residual = y - (slope * (x - x.mean()) + offset)
    error = math.nan
    if len(x) >= 3 * _SEGMENTS:
        segments = zip(np.array_split(x, _SEGMENTS), np.array_split(y, _SEGMENTS), strict=True)
        error = float(np.std([_line(*segment)[0] for segment in segments], ddof=1) / math.sqrt(_SEGMENTS))
    return Drift(slope, error, float(np.sqrt(np.mean(residual**2))), float(y.std()))


def _line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Slope of the straight line through some points, and its value at their mean."""
    slope, middle = np.polyfit(x - x.mean(), y, 1)
    return float(slope), float(middle)
