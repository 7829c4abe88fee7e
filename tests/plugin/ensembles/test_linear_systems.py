"""The bath across levels on coupled oscillators, where the averages of the scheme itself are known exactly."""

from __future__ import annotations

import numpy as np
import openmm
import pytest
from numpy.typing import NDArray
from scipy import stats

from tests.support.platforms import accuracy
from tests.support.qmmm.oscillators import KB, SLOW, STRETCH, SWING, Exact, Oscillators, Run, Spring, case, stiffness
from tests.support.qmmm.respa import Scheme

Array = NDArray[np.float64]
TEMPERATURE = 300.0
KT = KB * TEMPERATURE


# k and the period of the slow common forces: without, even, odd, shorter than k.
SCHEMES = [(1, 1), (4, 1), (4, 4), (3, 3), (8, 2)]


def assert_covariance(samples: Array, expected: Array, scale: Array) -> None:
    """Covariance of independent samples [4,M] about zero, within 5 standard deviations (16 numbers are compared)."""
    error = (samples @ samples.T / samples.shape[1] - expected) / scale
    width = np.sqrt((np.outer(np.diag(expected), np.diag(expected)) + expected**2) / samples.shape[1]) / scale
    assert np.abs(error).max() > 0
    assert (np.abs(error) <= 5 * width + 1e-12).all()


def thermal_scale(oscillators: Oscillators, scheme: Scheme) -> Array:
    sizes = np.sqrt(KT / np.concatenate([np.diag(oscillators.stiffness(scheme)), oscillators.masses]))
    return np.outer(sizes, sizes)


def assert_cold_step_is_the_matrix(oscillators: Oscillators, scheme: Scheme, platform: openmm.Platform) -> None:
    """At 0 K: states, heat and kinetic energies in the middle of the drifts, to round-off."""
    run = Run(oscillators, scheme, 20, platform, 0.0)
    sizes = np.sqrt(np.diag(thermal_scale(oscillators, scheme)))
    z = sizes[:, None] * np.random.default_rng(1).normal(size=(4, 60))
    run.start(z)
    run.integrator.step(1)
    matrix = Exact.of(oscillators, scheme, TEMPERATURE).step
    error = 1000 * accuracy(platform).state
    assert np.abs((run.states() - matrix @ z) / sizes[:, None]).max() < error
    motion = oscillators.propagate(scheme, z)
    statistics = run.integrator.getStatistics()
    assert statistics.heat == pytest.approx(motion.heat, rel=100 * error)
    light, heavy = np.mean([kinetic.sum(axis=1) for kinetic in motion.middles], axis=0)
    assert statistics.regionKineticEnergy == pytest.approx(light, rel=100 * error)
    assert statistics.restKineticEnergy == pytest.approx(heavy, rel=100 * error)


@pytest.mark.parametrize(("k", "slow"), SCHEMES)
def test_an_outer_step_in_a_cold_bath(platform: openmm.Platform, k: int, slow: int) -> None:
    assert_cold_step_is_the_matrix(*case(k, slow, 30.0, 0.9), platform)


@pytest.mark.parametrize(("k", "slow"), SCHEMES)
def test_noise_of_an_outer_step(platform: openmm.Platform, k: int, slow: int) -> None:
    oscillators, scheme = case(k, slow, 30.0, 0.9)
    run = Run(oscillators, scheme, 5000, platform, TEMPERATURE)
    run.start(np.zeros((4, 15_000)))
    run.integrator.step(1)
    noise = Exact.of(oscillators, scheme, TEMPERATURE).noise
    sizes = np.sqrt(np.diag(noise))
    assert_covariance(run.states(), noise, np.outer(sizes, sizes))


@pytest.mark.parametrize(("k", "slow"), [(1, 1), (4, 4), (3, 3)])
def test_heat_of_known_noise(platform: openmm.Platform, k: int, slow: int) -> None:
    """Where an outer step has no more random numbers than coordinates they follow from where it went.

    They are normal, and the heat is theirs by the formula: work on what velocities are ahead is left out.
    """
    oscillators, scheme = case(k, slow, 30.0, 0.9)
    exact = Exact.of(oscillators, scheme, TEMPERATURE)
    run = Run(oscillators, scheme, 500, platform, TEMPERATURE)
    z = np.linalg.cholesky(exact.covariance) @ np.random.default_rng(6).normal(size=(4, 1500))
    run.start(z)
    run.integrator.step(1)
    sizes = np.sqrt(np.diag(exact.noise))
    moved = (run.states() - exact.step @ z) / sizes[:, None]
    numbers, *_ = np.linalg.lstsq(exact.kicks / sizes[:, None], moved, rcond=None)
    np.testing.assert_allclose(exact.kicks / sizes[:, None] @ numbers, moved, atol=1e5 * accuracy(platform).state)
    assert stats.kstest(numbers.ravel(), "norm").pvalue > 0.05
    expected = oscillators.propagate(scheme, z, oscillators.thermal(numbers, TEMPERATURE)).heat
    assert run.integrator.getStatistics().heat == pytest.approx(expected, rel=1e6 * accuracy(platform).state)


@pytest.mark.parametrize(("k", "slow"), SCHEMES)
def test_stationary_distribution(reference: openmm.Platform, k: int, slow: int) -> None:
    """Drawn from the exact distribution, states keep it; temperatures in the drifts and the lost heat are as computed.

    With a surrogate a tenth too soft and a strong bath, so that errors of the scheme itself stand out.
    """
    oscillators, scheme = case(k, slow, 100.0, 0.9)
    exact = Exact.of(oscillators, scheme, TEMPERATURE)
    run = Run(oscillators, scheme, 500, reference, TEMPERATURE)
    run.start(np.linalg.cholesky(exact.covariance) @ np.random.default_rng(2).normal(size=(4, 1500)))
    errors, middles = [0.0], []
    # Of 24 fs, in which a velocity loses all but a tenth of its memory.
    block = 48 // k
    for _ in range(60):
        run.integrator.step(block)
        statistics = run.integrator.getStatistics()
        errors.append(statistics.cumulativeEnergyError / 1500)
        middles.append(np.array([statistics.regionKineticEnergy, statistics.restKineticEnergy]) / 1500)
    assert_covariance(run.states(), exact.covariance, thermal_scale(oscillators, scheme))
    for found, expected in ((np.diff(errors) / block, -exact.heat), (np.array(middles), exact.middle)):
        deviation = found.std(axis=0) / np.sqrt(len(found))
        assert (np.abs(found.mean(axis=0) - expected) < 3.5 * deviation).all()


@pytest.mark.parametrize(("k", "slow"), SCHEMES)
def test_temperatures_at_recommended_settings(reference: openmm.Platform, k: int, slow: int) -> None:
    """Friction of 1/ps, and a surrogate whose frequency is off by 1 %: what the scheme itself does to temperatures."""
    oscillators, scheme = case(k, slow, 1.0, 0.98)
    assert_cold_step_is_the_matrix(oscillators, scheme, reference)
    exact = Exact.of(oscillators, scheme, TEMPERATURE)
    frequencies, modes = oscillators.modes(scheme)
    weighted = modes.T * np.sqrt(oscillators.masses)
    of_modes = np.diag(weighted @ exact.covariance[:2, :2] @ weighted.T) * frequencies**2 / KT
    assert np.abs(exact.middle / (0.5 * KT) - 1).max() < 0.01
    assert np.abs(of_modes - 1).max() < 0.05
    # Per degree of freedom of a region of 9 atoms.
    assert abs(exact.heat) / (2 * k * scheme.inner_step) < 0.05 / 27


def test_temperatures_with_two_slow_periods(reference: openmm.Platform) -> None:
    """As with direct space every 2 fs and reciprocal space every 4 fs."""
    springs = {
        0: Spring(heavy=0.1 * SLOW),
        4: Spring(between=SWING),
        5: Spring(heavy=0.9 * SLOW),
        1: Spring(light=STRETCH),
        2: Spring(light=STRETCH),
    }
    oscillators, scheme = Oscillators(springs), Scheme(0.0005, 8, {0: 1, 4: 4, 5: 8}, {1: 1}, friction=1.0)
    assert_cold_step_is_the_matrix(oscillators, scheme, reference)
    exact = Exact.of(oscillators, scheme, TEMPERATURE)
    assert np.abs(exact.middle / (0.5 * KT) - 1).max() < 0.01
    assert abs(exact.heat) / (2 * scheme.k * scheme.inner_step) < 0.05 / 27


def test_heat_of_flexible_water(reference: openmm.Platform) -> None:
    """Librations under forces that act every 2 fs: less than 0.5 kJ/mol/ps in a box of 1,600 atoms."""
    water = {
        0: Spring(light=stiffness(3700, 1)),
        4: Spring(heavy=SLOW, between=SWING),
        1: Spring(light=0.001 * STRETCH),
        2: Spring(light=0.001 * STRETCH),
    }
    oscillators, scheme = Oscillators(water), Scheme(0.0005, 4, {0: 1, 4: 4}, {1: 1}, friction=1.0)
    assert_cold_step_is_the_matrix(oscillators, scheme, reference)
    exact = Exact.of(oscillators, scheme, TEMPERATURE)
    assert abs(exact.heat) / (2 * 4 * scheme.inner_step) < 0.5 / 4800
