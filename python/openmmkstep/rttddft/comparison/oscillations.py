"""A sum of undamped oscillations through the beginning of a series, and its continuation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

RealArray = NDArray[np.float64]


def continued(multipliers: NDArray[Any], series: RealArray, frames: int) -> RealArray:
    """Continue a series by a least-squares fit of its beginning.

    Args:
        multipliers: of each oscillation from one frame to the next; scaled to modulus one, so that nothing decays or
            blows up.
        series: the beginning, equally spaced [T,m].
        frames: of the result.

    Returns:
        [frames,m]; the fitted part is the fit's.
    """
    phases = np.angle(multipliers)
    rows = np.exp(1j * np.outer(np.arange(len(series)), phases))
    amplitudes = np.linalg.lstsq(rows, series.astype(np.complex128), rcond=None)[0]
    return (np.exp(1j * np.outer(np.arange(frames), phases)) @ amplitudes).real
