"""ESPRIT: the frequencies in the beginning of a signal from the shift invariance of its subspace.

Source: R. Roy, T. Kailath, IEEE Trans. Acoust. Speech Signal Process. 37, 984 (1989).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openmmkstep.rttddft.errors import ElectronDynamicsError

from .oscillations import continued

RealArray = NDArray[np.float64]

# Length of the beginning, atomic units of time.
TRAINING_TIME = 100.0
# Relative singular values of the signal's Hankel matrix that still carry motion; chosen as for dynamic modes.
_KEPT = 1e-5


def esprit_dipole(dipole: RealArray, frames: int) -> RealArray:
    """A dipole continued from its beginning alone.

    Args:
        dipole: the beginning [T,m]; all components share their frequencies.
        frames: of the result.

    Returns:
        [frames,m].

    Raises:
        ElectronDynamicsError: less than eight frames.
    """
    if len(dipole) < 8:
        raise ElectronDynamicsError(f"ESPRIT needs eight or more frames, got {len(dipole)}")
    induced = dipole - dipole[0]
    window = len(induced) // 2
    columns = len(induced) - window + 1
    hankel = np.concatenate(
        [np.stack([component[start : start + window] for start in range(columns)], axis=1) for component in induced.T],
        axis=1,
    )
    vectors, sizes, _ = np.linalg.svd(hankel, full_matrices=False)
    rank = min(int(np.sum(sizes > _KEPT * sizes[0])), window - 1)
    kept = vectors[:, :rank]
    step = np.linalg.pinv(kept[:-1]) @ kept[1:]
    return dipole[0] + continued(np.linalg.eigvals(step), induced, frames)
