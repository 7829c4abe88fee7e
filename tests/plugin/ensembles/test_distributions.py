"""What the integrator samples: temperatures, distributions of energies, and frequencies, on coupled oscillators.

Seeds are fixed, and so results are. Other random numbers (a new generator, another order of calls) may bring a p-value
below 0.05 by chance, once in twenty; whether it was chance, more samples tell.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import openmm
import pytest
from numpy.typing import NDArray
from scipy import stats

from tests.support.qmmm.oscillators import KB, WAVENUMBER, Oscillators, Run, case
from tests.support.qmmm.respa import Scheme

Array = NDArray[np.float64]
KS = [1, 4]
COPIES = 1000
FRICTION = 40.0
INDEPENDENT = 3
"""Blocks after which nothing is left of an energy but exp(-6)."""


class Sample:
    """States [blocks,4,3 copies] 0.05 ps apart, twice the bath's time of decay, and kinetic energies in the drifts."""

    def __init__(self, k: int, temperature: float) -> None:
        self.oscillators, self.scheme = setup(k)
        self.kt = KB * temperature
        reference = openmm.Platform.getPlatformByName("Reference")
        run = Run(self.oscillators, self.scheme, COPIES, reference, temperature)
        # From rest: nothing of the right answer is put in.
        run.start(np.zeros((4, 3 * COPIES)))
        run.integrator.step(1000 // k)
        states, middles = [], []
        for _ in range(60):
            run.integrator.step(100 // k)
            states.append(run.states())
            statistics = run.integrator.getStatistics()
            middles.append([statistics.regionKineticEnergy, statistics.restKineticEnergy])
        self.states = np.array(states)
        self.middles = np.array(middles)
        assert run.integrator.getStatistics().fallbacks == 0

    def potential_energies(self) -> Array:
        """Of each pair of oscillators [blocks * copies], its three directions together."""
        stiffness = self.oscillators.stiffness(self.scheme)
        energies = 0.5 * np.einsum("tin,ij,tjn->tn", self.states[:, :2], stiffness, self.states[:, :2])
        return energies.reshape(len(energies), COPIES, 3).sum(axis=2).ravel()


def setup(k: int) -> tuple[Oscillators, Scheme]:
    """A surrogate whose frequency is off by 1 %."""
    return case(k, 1, FRICTION, 0.98)


@cache
def sample(k: int, temperature: float) -> Sample:
    return Sample(k, temperature)


def assert_temperature(energies: Array, expected: float, error: float) -> None:
    """The mean of energies [blocks], within a relative error that the sample can tell from none (2 sigma)."""
    deviation = energies.std() / np.sqrt(len(energies)) / expected
    assert 2 * deviation < error
    assert energies.mean() == pytest.approx(expected, rel=error)


@pytest.mark.parametrize("k", KS)
@pytest.mark.parametrize("atom", [0, 1], ids=["light", "heavy"])
def test_temperature_of_an_element(k: int, atom: int) -> None:
    found = sample(k, 300.0)
    assert_temperature(found.middles[:, atom] / (3 * COPIES), 0.5 * found.kt, 0.01)


@pytest.mark.parametrize("k", KS)
@pytest.mark.parametrize("mode", [0, 1], ids=["slow", "fast"])
def test_equipartition_among_normal_modes(k: int, mode: int) -> None:
    """Potential energies: how far out the modes swing."""
    found = sample(k, 300.0)
    frequencies, modes = found.oscillators.modes(found.scheme)
    coordinate = np.einsum("i,tin->tn", modes[:, mode] * np.sqrt(found.oscillators.masses), found.states[:, :2])
    assert_temperature(0.5 * frequencies[mode] ** 2 * (coordinate**2).mean(axis=1), 0.5 * found.kt, 0.01)


@pytest.mark.parametrize("k", KS)
def test_distribution_of_kinetic_energies(k: int) -> None:
    """Of the heavy atoms, at the ends of steps; light ones are too cold there by the square of a stretch's step."""
    found = sample(k, 300.0)
    velocities = found.states[::INDEPENDENT, 3].reshape(-1, COPIES, 3)
    energies = 0.5 * found.oscillators.masses[1] * (velocities**2).sum(axis=2).ravel()
    assert stats.kstest(energies, stats.gamma(1.5, scale=found.kt).cdf).pvalue > 0.05


@pytest.mark.parametrize("k", KS)
def test_distribution_of_potential_energies(k: int) -> None:
    """Of each pair, with six degrees of freedom."""
    found = sample(k, 300.0)
    energies = found.potential_energies().reshape(-1, COPIES)[::INDEPENDENT].ravel()
    assert stats.kstest(energies, stats.gamma(3.0, scale=found.kt).cdf).pvalue > 0.05


@pytest.mark.parametrize("k", KS)
def test_two_temperatures(k: int) -> None:
    """ln of the ratio of the energies' distributions at two temperatures is linear, with slope 1/kT1 - 1/kT2.

    By maximum likelihood of which sample an energy is from; Shirts, J. Chem. Theory Comput. 9, 909 (2013).
    """
    cold, warm = sample(k, 300.0), sample(k, 400.0)
    energies = np.concatenate([cold.potential_energies(), warm.potential_energies()])
    is_warm = np.repeat([0.0, 1.0], len(energies) // 2)
    variables = np.stack([np.ones_like(energies), energies])
    parameters = np.zeros(2)
    for _ in range(20):
        chance = 1 / (1 + np.exp(-parameters @ variables))
        information = (variables * chance * (1 - chance)) @ variables.T
        parameters += np.linalg.solve(information, variables @ (is_warm - chance))
    deviation = np.sqrt(np.linalg.inv(information)[1, 1])
    slope = 1 / cold.kt - 1 / warm.kt
    assert deviation < 0.02 * slope
    assert abs(parameters[1] - slope) < 2 * deviation


@pytest.mark.parametrize("k", KS)
def test_peaks_of_the_velocity_spectrum(reference: openmm.Platform, k: int) -> None:
    """5 cm-1 below 2000 cm-1 and 10 cm-1 for a bond to hydrogen, of 10 ps at constant energy."""
    oscillators, scheme = setup(k)
    conserving = replace(scheme, friction=0.0)
    run = Run(oscillators, conserving, 1, reference, 0.0)
    random = np.random.default_rng(4)
    run.start(0.003 * random.normal(size=(4, 3)) * np.array([[1], [1], [500], [500]]))
    count = 20_000 // k
    velocities = np.empty((count, 2))
    for index in range(count):
        run.integrator.step(1)
        velocities[index] = run.states()[2:, 0]
    window = np.hanning(count)[:, None]
    spectrum = np.log(np.abs(np.fft.rfft(window * velocities * np.sqrt(oscillators.masses), axis=0)).sum(axis=1))
    unit = 2 * np.pi / (count * k * scheme.inner_step) / WAVENUMBER
    frequencies = oscillators.modes(scheme)[0] / WAVENUMBER
    # Of the steps themselves: the angles by which their matrix turns.
    stepped = np.angle(np.linalg.eigvals(oscillators.matrix(conserving))) / (k * scheme.inner_step) / WAVENUMBER
    for expected, error in zip(frequencies, (5.0, 10.0), strict=True):
        near = slice(round((expected - 50) / unit), round((expected + 50) / unit))
        top = near.start + int(np.argmax(spectrum[near]))
        left, middle, right = spectrum[top - 1 : top + 2]
        # The top of the parabola through three points.
        peak = (top + 0.5 * (left - right) / (left - 2 * middle + right)) * unit
        assert abs(peak - expected) < error
        # A tenth of what 10 ps resolve.
        assert np.abs(peak - stepped).min() < 0.3
