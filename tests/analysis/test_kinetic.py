"""Equipartition and distributions of kinetic energy, on velocities that are drawn or propagated exactly."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from kstep_models.units import BOLTZMANN
from openmmkstep.analysis.ensemble.correlation import statistical_inefficiency
from openmmkstep.analysis.ensemble.kinetic import equipartition, kinetic_distribution
from tests.support.referees.ensembles import p_value_of_kinetic_energies

KT = BOLTZMANN * 300.0


def walk(correlation: float, steps: int, components: int, seed: int) -> np.ndarray:
    """Stationary Gaussian processes of unit variance [T,c] whose autocorrelation is a power of ``correlation``."""
    generator = np.random.default_rng(seed)
    values = np.zeros((steps, components))
    values[0] = generator.normal(size=components)
    noise = np.sqrt(1 - correlation**2) * generator.normal(size=(steps, components))
    for t in range(1, steps):
        values[t] = correlation * values[t - 1] + noise[t]
    return values


def test_statistical_inefficiency_of_a_known_process() -> None:
    series = walk(0.9, 200_000, 1, seed=1)[:, 0]
    assert statistical_inefficiency(series) == pytest.approx(1.9 / 0.1, rel=0.1)
    # The square of a Gaussian process has the square of its autocorrelation.
    assert statistical_inefficiency(series**2) == pytest.approx(1.81 / 0.19, rel=0.1)
    assert statistical_inefficiency(np.random.default_rng(2).normal(size=10_000)) == pytest.approx(1, abs=0.1)
    assert statistical_inefficiency(np.full(10, 3.7)) == 1
    with pytest.raises(ValueError, match="at least two"):
        statistical_inefficiency([1.0])


def test_equipartition_and_its_error() -> None:
    """What is off is off by as many standard errors as it should be."""
    deviations = []
    for seed in range(60):
        result = equipartition(KT * np.sum(walk(0.8, 2000, 6, seed) ** 2, axis=1), 6, 300.0)
        deviations.append((result.ratio - 1) / result.error)
    assert 0.6 < np.std(deviations) < 1.3
    cold = equipartition(0.9 * KT * np.sum(walk(0.0, 20_000, 6, 1) ** 2, axis=1), 6, 300.0)
    assert cold.ratio == pytest.approx(0.9, abs=0.02) and cold.error == pytest.approx(
        0.9 * np.sqrt(2 / 6 / 20_000), rel=0.5
    )
    with pytest.raises(ValueError, match="degrees of freedom"):
        equipartition([1.0, 2.0], 0, 300.0)


@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_p_values_where_the_distribution_is_right(correlation: float) -> None:
    """At most as many below a bound as there should be, however correlated the series is."""
    values = []
    for seed in range(200):
        kinetic = 0.5 * KT * np.sum(walk(correlation, 2000, 9, seed) ** 2, axis=1)
        values.append(kinetic_distribution(kinetic, 9, 300.0).p_value)
    assert np.mean(np.array(values) < 0.05) < 0.09
    assert np.mean(np.array(values) < 0.5) < 0.6


def test_wrong_distributions_are_seen() -> None:
    kinetic = 0.5 * KT * np.sum(walk(0.5, 8000, 9, 3) ** 2, axis=1)
    right = kinetic_distribution(kinetic, 9, 300.0)
    assert right.p_value > 0.05 and right.variance_ratio == pytest.approx(1, abs=0.1)
    # A weak-coupling thermostat has the right mean, and too little variance.
    narrow = kinetic_distribution(kinetic.mean() + 0.7 * (kinetic - kinetic.mean()), 9, 300.0)
    assert narrow.p_value < 1e-3 and narrow.variance_ratio == pytest.approx(0.49, abs=0.05)
    assert kinetic_distribution(kinetic, 10, 300.0).p_value < 1e-3
    assert kinetic_distribution(kinetic, 9, 290.0).p_value < 1e-3


def test_against_physical_validation() -> None:
    """The same p-value of independent energies, at the right temperature and at a wrong one."""
    kinetic = 0.5 * KT * np.sum(walk(0.0, 4000, 9, 5) ** 2, axis=1)
    for temperature in (300.0, 301.0):
        ours = kinetic_distribution(kinetic, 9, temperature)
        theirs = p_value_of_kinetic_energies(kinetic, 3, temperature)
        # Their Boltzmann constant has eight digits.
        assert stats.kstwo.sf(ours.distance, len(kinetic)) == pytest.approx(theirs, rel=1e-4)
        # What it takes for correlation in independent values errs on the safe side.
        assert theirs <= ours.p_value < theirs + 0.2
