"""The test of two temperatures on harmonic oscillators, whose energies are known to be gamma distributed."""

from __future__ import annotations

import numpy as np
import pytest

from kstep_models.units import BOLTZMANN
from openmmkstep.analysis.ensemble.two_temperatures import compare_temperatures, good_second_temperature
from tests.support.referees.ensembles import deviation_of_two_temperatures


def energies(temperature: float, freedom: int, number: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).gamma(freedom / 2, BOLTZMANN * temperature, number)


def test_oscillators_have_the_slope_of_their_temperatures() -> None:
    deviations = []
    for seed in range(60):
        low, high = energies(300, 30, 800, seed), energies(360, 30, 800, 1000 + seed)
        result = compare_temperatures(low, high, (300, 360))
        assert result.expected == pytest.approx((1 / 300 - 1 / 360) / BOLTZMANN)
        deviations.append(result.deviation)
    assert abs(np.mean(deviations)) < 0.4
    assert 0.75 < np.std(deviations) < 1.25


def test_another_hamiltonian_at_one_of_them_is_seen() -> None:
    """Sampling at 345 K what should be 360 K, and a constant offset, which is no error."""
    low, high = energies(300, 30, 20_000, 1), energies(360, 30, 20_000, 2)
    assert abs(compare_temperatures(low - 7e4, high - 7e4, (300, 360)).deviation) < 3
    assert compare_temperatures(low, energies(345, 30, 20_000, 3), (300, 360)).deviation < -5


def test_correlated_energies_count_for_less() -> None:
    low, high = energies(300, 30, 1000, 1), energies(360, 30, 1000, 2)
    single = compare_temperatures(low, high, (300, 360))
    repeated = compare_temperatures(np.repeat(low, 10), np.repeat(high, 10), (300, 360))
    assert repeated.slope == pytest.approx(single.slope, rel=0.05)
    assert repeated.error == pytest.approx(single.error, rel=0.15)
    assert sum(repeated.effective_samples) == pytest.approx(2000, rel=0.2)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="two temperatures that differ"):
        compare_temperatures([1.0, 2.0], [1.0, 2.0], (300, 300))
    with pytest.raises(ValueError, match="do not overlap"):
        compare_temperatures([1.0, 2.0], [3.0, 4.0], (300, 900))


def test_good_second_temperature() -> None:
    """Two standard deviations of the energy above the first."""
    second = good_second_temperature(300, 60)
    kt = BOLTZMANN * 300
    assert 30 * BOLTZMANN * (second - 300) == pytest.approx(2 * kt * np.sqrt(30))


def test_against_physical_validation() -> None:
    """Deviations in standard errors, from maximum likelihood there too."""
    series = [energies(300, 30, 2000, 11), energies(345, 30, 2000, 12)]
    ours = compare_temperatures(*series, (300, 360)).deviation
    assert abs(ours) == pytest.approx(deviation_of_two_temperatures(series, (300, 360)), rel=0.1)
