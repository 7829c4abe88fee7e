"""Scores of trajectories and spectra, on signals whose scores are known."""

from __future__ import annotations

import numpy as np
import pytest

from openmmkstep.rttddft import ElectronDynamicsError
from openmmkstep.rttddft.observables.agreement import dipole_error, peak_shift, spectral_overlap

FREQUENCIES = np.linspace(0.0, 1.0, 2001)


def lines(*places: tuple[float, float]) -> np.ndarray:
    return sum(height * np.exp(-0.5 * ((FREQUENCIES - place) / 0.01) ** 2) for place, height in places)


def test_dipole_error() -> None:
    times = np.linspace(0.0, 2.0 * np.pi * 20.0, 4001)
    reference = np.stack([np.sin(times), 1.0 + np.zeros_like(times)], axis=1)
    assert dipole_error(reference, reference) == 0.0
    # Static parts do not count, a factor does. Of a phase d there remains d (cos(t) - 1).
    assert dipole_error(1.02 * reference + 5.0, reference) == pytest.approx(0.02)
    assert dipole_error(np.sin(times + 0.01), np.sin(times)) == pytest.approx(0.01 * np.sqrt(3.0), rel=1e-2)
    assert dipole_error(0.0 * reference, reference) == 1.0


def test_overlap_is_a_cosine() -> None:
    first, second = lines((0.3, 1.0)), lines((0.7, 2.0))
    assert spectral_overlap(5.0 * first, first) == pytest.approx(1.0)
    assert spectral_overlap(second, first) == pytest.approx(0.0, abs=1e-12)
    assert spectral_overlap(first + second, first) == pytest.approx(1.0 / np.sqrt(5.0))
    # Two equal Gaussians of width s at a distance d: exp(-d^2/4s^2).
    assert spectral_overlap(lines((0.31, 1.0)), first) == pytest.approx(np.exp(-0.25), rel=1e-6)


def test_peak_shift_is_that_of_the_bright_line_that_moved_most() -> None:
    reference = lines((0.3, 1.0), (0.5, 0.2), (0.8, 0.05))
    assert peak_shift(FREQUENCIES, reference, reference) == pytest.approx(0.0, abs=1e-12)
    # The line at 0.8 is too faint to count.
    moved = lines((0.302, 1.0), (0.507, 0.2), (0.85, 0.05))
    assert peak_shift(FREQUENCIES, moved, reference) == pytest.approx(0.007, abs=1e-5)
    assert peak_shift(FREQUENCIES, lines((0.3, 1.0)), reference) == pytest.approx(0.2, abs=1e-4)
    assert peak_shift(FREQUENCIES, np.linspace(0.0, 1.0, 2001), reference) == np.inf


def test_what_cannot_be_compared() -> None:
    with pytest.raises(ElectronDynamicsError, match="same shape"):
        dipole_error(np.zeros((3, 3)), np.zeros((4, 3)))
    with pytest.raises(ElectronDynamicsError, match="does not move"):
        dipole_error(np.zeros((3, 3)), np.ones((3, 3)))
    with pytest.raises(ElectronDynamicsError, match="no overlap"):
        spectral_overlap(np.zeros(5), np.ones(5))
    with pytest.raises(ElectronDynamicsError, match="no line"):
        peak_shift(FREQUENCIES, lines((0.3, 1.0)), np.zeros(2001))
