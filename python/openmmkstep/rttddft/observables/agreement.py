"""How close a trajectory and its spectrum are to the reference's."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from openmmkstep.rttddft.errors import ElectronDynamicsError

from .spectrum import peaks

RealArray = NDArray[np.float64]

# Lines of at least this fraction of the highest are called bright.
_BRIGHT = 0.1
# A line of the other spectrum that is fainter than this is none.
_VISIBLE = 0.02


def dipole_error(dipole: ArrayLike, reference: ArrayLike) -> float:
    """Norm of the difference of the induced dipoles over that of the reference's, over the whole trace.

    Args:
        dipole: [T,...]; its first row is taken as the static part.
        reference: of the same shape.

    Raises:
        ElectronDynamicsError: shapes that do not fit, or a reference that does not move.
    """
    own, other = _pair("dipoles", dipole, reference)
    own, other = own - own[0], other - other[0]
    size = float(np.linalg.norm(other))
    if size == 0.0:
        raise ElectronDynamicsError("the reference's dipole does not move: there is nothing to compare with")
    return float(np.linalg.norm(own - other)) / size


def spectral_overlap(spectrum: ArrayLike, reference: ArrayLike) -> float:
    """Cosine of two spectra [W]; 1 for the same up to a factor.

    Raises:
        ElectronDynamicsError: shapes that do not fit, or a spectrum of zeros.
    """
    own, other = _pair("spectra", spectrum, reference)
    size = float(np.linalg.norm(own) * np.linalg.norm(other))
    if size == 0.0:
        raise ElectronDynamicsError("a spectrum of zeros has no overlap with another")
    return float(np.sum(own * other)) / size


def peak_shift(frequencies: ArrayLike, spectrum: ArrayLike, reference: ArrayLike) -> float:
    """The largest distance from a bright line of the reference to the nearest line of the spectrum.

    Args:
        frequencies: equally spaced [W]; the shift is in their unit.
        spectrum: Im Tr alpha [W], for which lines are where they belong (see :func:`.spectrum.peaks`).
        reference: the same.

    Returns:
        Infinity where the spectrum has no line at all.

    Raises:
        ElectronDynamicsError: shapes that do not fit, or a reference without lines.
    """
    own, other = _pair("spectra", spectrum, reference)
    bright, found = peaks(frequencies, other, _BRIGHT), peaks(frequencies, own, _VISIBLE)
    if not len(bright):
        raise ElectronDynamicsError("the reference's spectrum has no line: compare over a wider range of frequencies")
    if not len(found):
        return float("inf")
    return float(np.abs(bright[:, None] - found).min(axis=1).max())


def _pair(name: str, own: ArrayLike, reference: ArrayLike) -> tuple[RealArray, RealArray]:
    first, second = np.asarray(own, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if first.shape != second.shape or first.size == 0:
        raise ElectronDynamicsError(
            f"{name} to compare must have the same shape, got {list(first.shape)} and {list(second.shape)}"
        )
    return first, second
