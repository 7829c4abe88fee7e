"""Dynamic mode decomposition: a linear map from each density to the next, fitted to the beginning of a trajectory.

Source: P. J. Schmid, J. Fluid Mech. 656, 5 (2010).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openmmkstep.rttddft.errors import ElectronDynamicsError

from .oscillations import continued

RealArray = NDArray[np.float64]

# Length of the beginning, atomic units of time.
TRAINING_TIME = 80.0
# Relative singular values of the snapshots that still carry motion rather than the step tolerance: the best power of
# ten over water, ammonia and ethene, symmetric and not. With more of them, oscillations of almost one frequency nearly
# cancel each other in the beginning, and no longer do later.
_KEPT = 1e-4
_CONDITION = 1e-9


def dynamic_modes_dipole(snapshots: RealArray, dipole: RealArray, frames: int) -> RealArray:
    """The dipole of a trajectory continued by the modes of its beginning.

    Args:
        snapshots: deviations of the density from the ground state, real and imaginary parts side by side [T,m].
        dipole: of the same frames [T,3]; it decides how strong each mode is.
        frames: of the result, equally spaced as the snapshots are.

    Returns:
        [frames,3].

    Raises:
        ElectronDynamicsError: less than four snapshots.
    """
    if len(snapshots) < 4 or len(dipole) != len(snapshots):
        raise ElectronDynamicsError(
            f"dynamic modes need four or more snapshots and as many dipoles, got {len(snapshots)} and {len(dipole)}"
        )
    vectors, sizes, _ = np.linalg.svd(snapshots.T, full_matrices=False)
    rank = min(int(np.sum(sizes > _KEPT * sizes[0])), len(snapshots) - 2)
    reduced = vectors[:, :rank].T @ snapshots.T
    step = reduced[:, 1:] @ np.linalg.pinv(reduced[:, :-1], rcond=_CONDITION)
    induced = dipole - dipole[0]
    return dipole[0] + continued(np.linalg.eigvals(step), induced, frames)
