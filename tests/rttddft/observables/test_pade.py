"""Pade approximants: what a Fourier sum of the same trace cannot tell apart."""

from __future__ import annotations

import numpy as np
import pytest

from openmmkstep.rttddft import ElectronDynamicsError, pade_polarizability, peaks, polarizability

TIMES = np.arange(801) * 0.25
FREQUENCIES = np.arange(0.05, 1.0, 5e-4)
LINES = {0.3: 0.2, 0.315: 0.1, 0.56: 0.1}


def dipole(strength: float) -> np.ndarray:
    """Oscillators of strengths f at w0 answer a kick k with k f sin(w0 t) / w0."""
    return 0.7 + strength * sum(f * np.sin(w * TIMES) / w for w, f in LINES.items())


def test_close_lines_are_resolved() -> None:
    """200 atomic units of time: the lines 0.015 apart are one in the Fourier sum and two in the approximant."""
    alpha = pade_polarizability(TIMES, dipole(1e-3), 1e-3, FREQUENCIES, line_width=2e-3)
    assert np.abs(peaks(FREQUENCIES, alpha.imag, 0.02) - list(LINES)).max() < 1e-4
    assert len(peaks(FREQUENCIES, polarizability(TIMES, dipole(1e-3), 1e-3, FREQUENCIES).imag, 0.02)) == 2


def test_lorentzians() -> None:
    """The whole line shape: alpha(w) of damped oscillators."""
    width = 0.01
    alpha = pade_polarizability(TIMES, dipole(1e-3), 1e-3, FREQUENCIES, line_width=width)
    expected = sum(f / (w**2 - (FREQUENCIES + 1j * width) ** 2) for w, f in LINES.items())
    # The step of time enters as dt^2 w^2 / 12.
    np.testing.assert_allclose(alpha, expected, atol=0.01 * np.abs(expected).max())


def test_one_component_at_a_time() -> None:
    with pytest.raises(ElectronDynamicsError, match="one component"):
        pade_polarizability(TIMES, np.stack([TIMES, TIMES], axis=1), 1e-3, FREQUENCIES)
