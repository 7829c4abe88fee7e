"""Weak kicks in closed form: the modes of linear response and the dipole as a function of time.

With the matrices A and B between density changes of linear response theory, W^2 are the eigenvalues of

    (A - B)^1/2 (A + B) (A - B)^1/2,

A + B being the sum without exchange and correlation plus twice the response <drho_r| f_xc |drho_s>. After a kick of
unit strength along y at t = 0 the dipole along x is sum_n d_xn d_yn / W_n sin(W_n t), which is what a real-time
propagation gives in the limit of a weak kick and small time steps. Real orbitals, closed shell.
Source: M. E. Casida, in Recent
Advances in Density Functional Methods, Part I (1995).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kstep_models.units import EV_PER_HARTREE

RealArray = NDArray[np.float64]


class UnstableResponseError(ValueError):
    """A response matrix has modes that grow instead of oscillating; it cannot be right."""


@dataclass(frozen=True)
class Modes:
    """Excitations.

    Attributes:
        frequencies: [K], hartree.
        dipoles: [3,K]; the oscillator strength of mode n is 2/3 sum_x dipoles_xn^2.
        changes: real part of the density change of each mode, in the density changes of the matrices [R,K]. After a
            kick of unit strength along x mode n moves as dipoles_xn / W_n sin(W_n t) times its column.
    """

    frequencies: RealArray
    dipoles: RealArray
    changes: RealArray

    def traces(self, times: RealArray) -> RealArray:
        """Dipole along x after a kick of unit strength along y: [3,3,T], atomic units."""
        phases = np.sin(np.outer(self.frequencies, times)) / self.frequencies[:, None]
        return np.einsum("xn,yn,nt->xyt", self.dipoles, self.dipoles, phases, optimize=True)

    def spectrum(self, frequencies: RealArray, broadening: float) -> RealArray:
        """Dipole strength with Lorentzian lines of half width ``broadening`` [W], atomic units."""
        strengths = 2.0 / 3.0 * np.sum(self.dipoles**2, axis=0)
        distance = frequencies[:, None] - self.frequencies
        return (broadening / np.pi / (distance**2 + broadening**2)) @ strengths


def modes(total: RealArray, difference: RealArray, dipole: RealArray, response: RealArray) -> Modes:
    """Modes of a molecule.

    Args:
        total: A + B without exchange and correlation [R,R].
        difference: A - B [R,R], positive.
        dipole: transition dipoles [3,R].
        response: of exchange and correlation [R,R], symmetric.

    Raises:
        UnstableResponseError: a squared frequency is not positive, or the response not finite.
    """
    if not np.all(np.isfinite(response)):
        raise UnstableResponseError("the response matrix has values that are not finite")
    values, vectors = np.linalg.eigh(difference)
    if values[0] <= 0:
        raise UnstableResponseError(f"A - B has the eigenvalue {values[0]:.2e}: the ground state is not stable")
    root = (vectors * np.sqrt(values)) @ vectors.T
    squares, states = np.linalg.eigh(root @ (total + 2.0 * response) @ root)
    if not squares[0] > 0:
        raise UnstableResponseError(f"a squared frequency is {squares[0]:.2e}: the response matrix is wrong")
    changes = root @ states
    return Modes(np.sqrt(squares), dipole @ changes, changes)


@dataclass(frozen=True)
class Agreement:
    """How far a trace and its spectrum are from the true ones.

    Attributes:
        dipole: norm of the difference of all dipole traces, relative.
        overlap: cosine between the spectra.
        peak: shift of the brightest line, eV.
    """

    dipole: float
    overlap: float
    peak: float


def agreement(true: Modes, other: Modes, duration: float = 200.0, highest: float = 25.0) -> Agreement:
    """Compare modes as real-time traces and spectra.

    Args:
        true: reference.
        other: approximation.
        duration: of the traces, atomic units; also decides the width of the lines.
        highest: end of the spectrum, eV; it begins at 3.
    """
    times = np.linspace(0.0, duration, 1001)
    expected, found = true.traces(times), other.traces(times)
    energies = np.arange(3.0, highest, 0.005) / EV_PER_HARTREE
    broadening = 4.0 / duration
    one, two = true.spectrum(energies, broadening), other.spectrum(energies, broadening)
    return Agreement(
        dipole=float(np.linalg.norm(found - expected) / np.linalg.norm(expected)),
        overlap=float(one @ two / np.linalg.norm(one) / np.linalg.norm(two)),
        peak=float(_shift(true, other, highest)),
    )


def _shift(true: Modes, other: Modes, highest: float) -> float:
    """Of the line with the largest oscillator strength, in eV; the partner is the most similar one nearby."""
    inside = true.frequencies < highest / EV_PER_HARTREE
    strengths = np.where(inside, np.sum(true.dipoles**2, axis=0), 0.0)
    line = int(np.argmax(strengths))
    # Alignment of the transition dipoles, less a penalty of one for every eV of distance.
    alignment = np.abs(true.dipoles[:, line] @ other.dipoles) / strengths[line]
    distance = np.abs(other.frequencies - true.frequencies[line]) * EV_PER_HARTREE
    return float(distance[np.argmax(alignment - distance)])
