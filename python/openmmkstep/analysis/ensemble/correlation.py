"""How many independent values a correlated series is worth."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def statistical_inefficiency(series: ArrayLike) -> float:
    """Values of a series that are worth one independent value, 1 + 2 sum of its autocorrelation.

    The sum ends before the first pair of neighbouring lags whose sum is not positive (initial positive sequence: Geyer,
    Statist. Sci. 7, 473 (1992)). Of an oscillating series it ends in the first period, which errs on the safe side.

    Args:
        series: values at equal intervals [T].

    Returns:
        At least 1, at most T; 1 for a constant.

    Raises:
        ValueError: fewer than two values.
    """
    values = np.asarray(series, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError("a correlation time needs a series of at least two values")
    number = len(values)
    values = values - values.mean()
    variance = float(np.mean(values**2))
    if variance <= 1e-28 * float(np.max(np.abs(series)) ** 2):
        return 1.0
    transformed = np.fft.rfft(values, 2 * number)
    # Divided by the number of values, not of pairs: lags near the length of the series are noise.
    correlation = np.fft.irfft(np.abs(transformed) ** 2)[:number] / (number * variance)
    pairs = correlation[: number // 2 * 2].reshape(-1, 2).sum(axis=1)
    negative = np.flatnonzero(pairs <= 0)
    last = int(negative[0]) if len(negative) else len(pairs)
    return float(np.clip(2 * pairs[:last].sum() - 1, 1.0, number))
