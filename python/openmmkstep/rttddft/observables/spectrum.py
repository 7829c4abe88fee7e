"""Absorption spectra from the dipole after a kick.

With the induced dipole ``mu(t) - mu(0)`` along direction i after a kick of strength k along j, the dynamic
polarisability is its Fourier transform, damped so that a finite trace gives smooth lines:

    alpha_ij(w) = (1/k) integral of [mu_i(t) - mu_i(0)] exp(i w t) damping(t) dt

and the dipole strength function ``S(w) = 2 w / (3 pi) Im Tr alpha(w)`` integrates to the number of electrons over all
frequencies (Thomas, Reiche, Kuhn). Atomic units throughout. Source: J. J. Goings, P. J. Lestrange, X. Li, WIREs Comput.
Mol. Sci. 8, e1341 (2018).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from openmmkstep.rttddft.arguments import finite_number
from openmmkstep.rttddft.errors import ElectronDynamicsError

RealArray = NDArray[np.float64]
ComplexArray = NDArray[np.complex128]

# Frequencies times times per piece of the Fourier sum, to bound memory.
_PIECE = 4 * 10**6
# Relative; smaller singular values of the Pade equations are noise of the propagation.
_PADE_CONDITION = 1e-9


def polarizability(
    time: ArrayLike, dipole: ArrayLike, kick_strength: float, frequencies: ArrayLike, line_width: float = 0.0
) -> ComplexArray:
    """Dynamic polarisability from the dipole after a kick.

    Args:
        time: equally spaced from zero [T].
        dipole: [T] or [T,m], of which the first row is taken as the static part.
        kick_strength: as of the kick, with its sign.
        frequencies: angular frequencies [W].
        line_width: standard deviation of the Gaussian that each line becomes, angular frequency. Zero takes the
            narrowest that the length of the trace allows: ``4 / time[-1]``, where the damping ends at ``exp(-8)``.

    Returns:
        [W] or [W,m].

    Raises:
        ElectronDynamicsError: shapes that do not fit, times that are not equally spaced, a kick of zero.
    """
    times, signal = _damped_response(time, dipole, kick_strength, line_width)
    wanted = np.atleast_1d(np.asarray(frequencies, dtype=np.float64))
    rows = max(1, _PIECE // len(times))
    pieces = [
        np.exp(1j * np.outer(wanted[start : start + rows], times)) @ signal for start in range(0, len(wanted), rows)
    ]
    return np.concatenate(pieces)


def pade_polarizability(
    time: ArrayLike, dipole: ArrayLike, kick_strength: float, frequencies: ArrayLike, line_width: float = 0.0
) -> ComplexArray:
    """As :func:`polarizability`, continued beyond the end of the trace by a Pade approximant.

    The Fourier sum is a power series in exp(i w dt), cut off where the trace ends. The quotient of polynomials with the
    same first terms has poles at the excitations and resolves lines that the sum does not. The damping of
    ``line_width`` is exponential here (half width at half maximum), because a Gaussian one has no poles.

    Source: A. Bruner, D. LaMaster, K. Lopata, J. Chem. Theory Comput. 12, 3741 (2016).

    Args:
        time, dipole, kick_strength, frequencies: see there; the dipole is [T].
        line_width: half width of the Lorentzian that each line becomes; zero for ``2 / time[-1]``.

    Returns:
        [W].

    Raises:
        ElectronDynamicsError: see :func:`polarizability`.
    """
    times, signal = _damped_response(time, dipole, kick_strength, line_width, exponential=True)
    if signal.ndim != 1:
        raise ElectronDynamicsError(f"the Pade approximant is of one component of the dipole, got {signal.ndim - 1}")
    order = (len(signal) - 1) // 2
    rows, columns = np.arange(1, order + 1)[:, None], np.arange(1, order + 1)
    denominator = np.ones(order + 1)
    # Least squares: with fewer excitations than the order, the equations depend on each other.
    denominator[1:] = np.linalg.lstsq(
        signal[order + rows - columns], -signal[order + 1 : 2 * order + 1], rcond=_PADE_CONDITION
    )[0]
    numerator = np.convolve(signal[: order + 1], denominator)[: order + 1]
    z = np.exp(1j * np.atleast_1d(np.asarray(frequencies, dtype=np.float64)) * (times[1] - times[0]))
    return np.polynomial.polynomial.polyval(z, numerator) / np.polynomial.polynomial.polyval(z, denominator)


def _damped_response(
    time: ArrayLike, dipole: ArrayLike, kick_strength: float, line_width: float, exponential: bool = False
) -> tuple[RealArray, RealArray]:
    """Times, and the terms of the Fourier sum without their phases."""
    times, dipoles = np.asarray(time, dtype=np.float64), np.asarray(dipole, dtype=np.float64)
    if times.ndim != 1 or len(times) < 3 or len(dipoles) != len(times):
        raise ElectronDynamicsError(
            f"a spectrum needs three or more times and as many dipoles, got shapes {times.shape} and {dipoles.shape}"
        )
    step = float(times[1] - times[0])
    if times[0] != 0.0 or step <= 0.0 or not np.allclose(np.diff(times), step, rtol=1e-6, atol=0.0):
        raise ElectronDynamicsError("times must start at zero, at the kick, and be equally spaced")
    strength = finite_number("kick strength", kick_strength)
    if strength == 0.0:
        raise ElectronDynamicsError("kick strength is zero: there is no response to divide by it")
    width = finite_number("line width", line_width) or (2.0 if exponential else 4.0) / float(times[-1])
    if width < 0.0:
        raise ElectronDynamicsError(f"line width must not be negative, got {line_width}")
    # Trapezoid rule; the first value of the induced dipole is zero.
    weights = np.full(len(times), step)
    if exponential:
        weights *= np.exp(-width * times)
    else:
        weights[-1] *= 0.5
        weights *= np.exp(-0.5 * (width * times) ** 2)
    return times, (dipoles - dipoles[0]) * weights.reshape(-1, *[1] * (dipoles.ndim - 1)) / strength


def dipole_strength(frequencies: ArrayLike, trace: ArrayLike) -> RealArray:
    """Dipole strength function ``2 w / (3 pi) Im Tr alpha`` [W] of the trace of the polarisability tensor [W]."""
    return 2.0 * np.asarray(frequencies, dtype=np.float64) / (3.0 * np.pi) * np.asarray(trace).imag


def peaks(frequencies: ArrayLike, spectrum: ArrayLike, threshold: float = 0.0) -> RealArray:
    """Places of the maxima of a spectrum, by a parabola through the three highest points of each.

    For excitation energies take the imaginary part of the polarisability: the factor w of the dipole strength moves the
    maximum of a line of width s up by s^2/w, several meV for traces of a few hundred atomic units.

    Args:
        frequencies: equally spaced [W].
        spectrum: [W].
        threshold: maxima below this fraction of the highest are left out.

    Returns:
        Frequencies, ascending.

    Raises:
        ElectronDynamicsError: shapes that do not fit.
    """
    places, values = np.asarray(frequencies, dtype=np.float64), np.asarray(spectrum, dtype=np.float64)
    if places.ndim != 1 or places.shape != values.shape or len(places) < 3:
        raise ElectronDynamicsError(
            f"peaks need three or more frequencies and as many values, got shapes {places.shape} and {values.shape}"
        )
    left, middle, right = values[:-2], values[1:-1], values[2:]
    found = np.flatnonzero((middle > left) & (middle >= right) & (middle > threshold * values.max()))
    curvature = left[found] - 2.0 * middle[found] + right[found]
    shift = 0.5 * (left[found] - right[found]) / curvature
    return places[found + 1] + shift * (places[1] - places[0])
