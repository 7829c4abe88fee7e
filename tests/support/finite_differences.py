"""Derivatives by central differences, for comparison with analytic ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_STENCILS = {2: ((1, 1 / 2),), 4: ((1, 2 / 3), (2, -1 / 12))}


def derivative(
    function: Callable[[NDArray[np.float64]], Any],
    start: NDArray[np.float64],
    step: ArrayLike,
    rows: Sequence[int] | None = None,
    order: int = 4,
) -> NDArray[np.float64]:
    """Derivative of a function of an array.

    Args:
        function: Takes an array like ``start`` and returns a number or an array of any one shape.
        start: Where [n, ...].
        step: Displacement of every entry, or one for all.
        rows: The entries of the first axis with respect to which to differentiate; all by default.
        order: Order of the error in the step, 2 or 4.

    Returns:
        The derivatives [len(rows), ..., *shape of the value].
    """
    steps = np.broadcast_to(np.asarray(step, dtype=float), start.shape)
    rows = range(len(start)) if rows is None else rows
    result: NDArray[np.float64] | None = None
    for place, row in enumerate(rows):
        for rest in np.ndindex(*start.shape[1:]):
            index = (row, *rest)
            slope: Any = 0.0
            for distance, weight in _STENCILS[order]:
                values = []
                for sign in (1, -1):
                    moved = start.copy()
                    moved[index] += sign * distance * steps[index]
                    values.append(np.asarray(function(moved), dtype=float))
                slope = slope + weight * (values[0] - values[1]) / steps[index]
            if result is None:
                result = np.zeros((len(rows), *start.shape[1:], *np.shape(slope)))
            result[(place, *rest)] = slope
    assert result is not None, "nothing to differentiate with respect to"
    return result


def assert_close_vectors(
    actual: NDArray[np.float64],
    expected: NDArray[np.float64],
    relative: float,
    noise: float,
    names: Sequence[int] | None = None,
) -> None:
    """Vectors [n,3] that agree to a part of their length, plus what differences cannot resolve."""
    error = np.linalg.norm(actual - expected, axis=1)
    allowed = relative * np.linalg.norm(expected, axis=1) + noise
    worst = int(np.argmax(error / allowed))
    name = worst if names is None else names[worst]
    assert np.all(error <= allowed), f"particle {name}: {actual[worst]} instead of {expected[worst]}"
