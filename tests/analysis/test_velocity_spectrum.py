"""Spectra of velocities with known lines."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kstep_models.units import BOLTZMANN
from openmmkstep.analysis.ensemble.normal_modes import SPEED_OF_LIGHT
from openmmkstep.analysis.ensemble.velocity_spectrum import peak_shifts, peaks, velocity_spectrum

INTERVAL = 0.001
KT = BOLTZMANN * 300


def oscillators(wave_numbers: list[float], time: float, seed: int, friction: float = 2.0) -> np.ndarray:
    """Velocities of unit masses on springs in a heat bath, propagated exactly [T,n,3]."""
    rng = np.random.default_rng(seed)
    omega = np.repeat(2 * math.pi * SPEED_OF_LIGHT * np.array(wave_numbers), 3)
    reduced = np.sqrt(omega**2 - friction**2 / 4)
    # Complex amplitudes that decay and are kicked: x'' = -omega^2 x - friction x' + noise, for weak friction.
    decay = np.exp((1j * reduced - friction / 2) * INTERVAL)
    width = np.sqrt(KT * (1 - np.abs(decay) ** 2))
    steps = round(time / INTERVAL)
    noise = rng.normal(size=(steps, len(omega))) + 1j * rng.normal(size=(steps, len(omega)))
    amplitude = np.sqrt(KT) * (rng.normal(size=len(omega)) + 1j * rng.normal(size=len(omega)))
    velocities = np.zeros((steps, len(omega)))
    for t in range(steps):
        amplitude = amplitude * decay + width * noise[t]
        velocities[t] = amplitude.real
    return velocities.reshape(steps, -1, 3)


def test_integral_is_the_kinetic_energy() -> None:
    velocities = oscillators([500.0, 1700.0], 40, seed=1)
    spectrum = velocity_spectrum(velocities, np.array([2.0, 3.0]), INTERVAL)
    doubled = float(np.mean(np.sum([[2.0], [3.0]] * velocities**2, axis=(1, 2))))
    assert np.trapezoid(spectrum.mean, spectrum.wave_numbers) == pytest.approx(doubled, rel=0.02)


def test_peaks_and_their_shifts() -> None:
    lines = [600.0, 1650.0, 3300.0]
    reference = velocity_spectrum(oscillators(lines, 60, seed=2), np.ones(3), INTERVAL)
    found = peaks(reference)
    assert found == pytest.approx(lines, abs=4)
    moved = velocity_spectrum(oscillators([600.0, 1650.0, 3280.0], 60, seed=3), np.ones(3), INTERVAL)
    shifts = peak_shifts(moved, reference, found)
    for shift, expected in zip(shifts, (0.0, 0.0, -20.0), strict=True):
        assert shift.shift is not None and shift.error is not None
        assert abs(shift.shift - expected) < 4 * shift.error < 15
    far = velocity_spectrum(oscillators([600.0, 1650.0, 2900.0], 60, seed=4), np.ones(3), INTERVAL)
    assert peak_shifts(far, reference, [3300.0], reach=30)[0].shift is None or (
        abs(peak_shifts(far, reference, [3300.0], reach=30)[0].shift) <= 30
    )


def test_errors_of_shifts_are_those_that_occur() -> None:
    """The scatter of shifts between pairs of runs of one molecule."""
    spectra = [velocity_spectrum(oscillators([1200.0], 24, seed), np.ones(1), INTERVAL) for seed in range(24)]
    shifts = [peak_shifts(a, b, [1200.0])[0] for a, b in zip(spectra[::2], spectra[1::2], strict=True)]
    scatter = np.sqrt(np.mean([shift.shift**2 for shift in shifts]))
    assert np.sqrt(np.mean([shift.error**2 for shift in shifts])) == pytest.approx(scatter, rel=0.6)


def test_short_runs_have_no_spectrum() -> None:
    with pytest.raises(ValueError, match="sample longer, or shorten the segments"):
        velocity_spectrum(np.zeros((1000, 2, 3)), np.ones(2), INTERVAL)
