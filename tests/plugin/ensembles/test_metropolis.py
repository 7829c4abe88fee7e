"""Metropolis makes averages exact that the scheme itself, with a bad surrogate and large steps, gets measurably wrong.

Exact numbers are by quadrature, or of the harmonic oscillator. Standard errors are of 40 blocks. Seeds are fixed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import openmm
import pytest
from numpy.typing import NDArray

from openmmkstep import KStepIntegrator, KStepStatistics
from tests.support.qmmm.oscillators import KB, Exact, Oscillators, Run, case
from tests.support.qmmm.respa import Scheme

Array = NDArray[np.float64]
TEMPERATURE = 300.0
KT = KB * TEMPERATURE
BLOCKS = 40

WAYS = [
    pytest.param("full", 1, True, id="full"),
    pytest.param("correction", 1, True, id="correction"),
    pytest.param("full", 5, True, id="full, few flips"),
    pytest.param("full", 5, False, id="full, all flips"),
    pytest.param("correction", 5, True, id="correction, few flips"),
]
"""Mode, thermostat's interval, reduced flips."""


def mean_and_error(samples: Array) -> tuple[Array, Array]:
    """Of samples [number,...]."""
    blocks = samples[: len(samples) // BLOCKS * BLOCKS].reshape(BLOCKS, -1, *samples.shape[1:]).mean(axis=1)
    return samples.mean(axis=0), blocks.std(axis=0, ddof=1) / np.sqrt(BLOCKS)


# A double well

STIFFNESS, BARRIER, WIDTH, TILT = 5000.0, 10.0, 0.03, 40.0
"""Of U(x) = STIFFNESS x^2 / 2 + BARRIER exp(-x^2 / 2 WIDTH^2) + TILT x; kJ/mol and nm."""
COPIES = 16


def free_energy_of_the_double_well() -> float:
    """Of the right well less that of the left one, by quadrature (kJ/mol): 2.7695."""
    x = np.linspace(-0.2, 0.2, 40_001)
    weight = np.exp(-(0.5 * STIFFNESS * x**2 + BARRIER * np.exp(-0.5 * (x / WIDTH) ** 2) + TILT * x) / KT)
    return float(KT * np.log(weight[x < 0].sum() / weight[x > 0].sum()))


def sample_double_well(
    mode: str, interval: int, reduced: bool, reference: openmm.Platform
) -> tuple[float, float, KStepStatistics]:
    """Free energy, its standard error, and statistics of a run whose surrogate has neither barrier nor tilt."""
    system = openmm.System()
    for _ in range(COPIES):
        system.addParticle(2.0)
    harmonic = f"0.5*{STIFFNESS}*x^2+1000*(y^2+z^2)"
    for group, energy in ((1, harmonic), (2, f"{harmonic}+{BARRIER}*exp(-0.5*(x/{WIDTH})^2)+{TILT}*x")):
        force = openmm.CustomExternalForce(energy)
        for particle in range(COPIES):
            force.addParticle(particle, [])
        force.setForceGroup(group)
        system.addForce(force)
    integrator = KStepIntegrator(TEMPERATURE, 10.0, 0.001, 16)
    integrator.setRandomNumberSeed(3)
    integrator.setMetropolis(mode)
    integrator.setThermostatInterval(interval)
    integrator.setReducedFlips(reduced)
    context = openmm.Context(system, integrator, reference)
    context.setPositions([[0.05 * (-1) ** copy, 0, 0] for copy in range(COPIES)])
    context.setVelocitiesToTemperature(TEMPERATURE, 1)
    integrator.step(200)
    right = np.empty(40_000)
    for sample in range(len(right)):
        integrator.step(4)
        right[sample] = (context.getState(positions=True).getPositions(asNumpy=True)._value[:, 0] > 0).mean()
    share, error = mean_and_error(right)
    free_energy = KT * np.log((1 - share) / share)
    return float(free_energy), float(KT * error / (share * (1 - share))), integrator.getStatistics()


@pytest.mark.parametrize(("mode", "interval", "reduced"), WAYS)
def test_free_energy_of_a_double_well(
    reference: openmm.Platform, mode: str, interval: int, reduced: bool, record_property: pytest.RecordProperty
) -> None:
    """Within 2 standard errors of the right one, which are of 1 % each."""
    found, error, statistics = sample_double_well(mode, interval, reduced, reference)
    exact = free_energy_of_the_double_well()
    record_property("double well", [exact, found, error, statistics.acceptance])
    assert error < 0.0125 * exact
    assert abs(found - exact) < 2 * error
    assert statistics.acceptance is not None
    assert 0.5 < statistics.acceptance < 0.7
    assert statistics.meanAcceptanceProbability == pytest.approx(statistics.acceptance, abs=0.01)
    assert statistics.guardRejections == statistics.fallbacks == 0
    assert statistics.qmCalls == statistics.outerSteps + 1
    if reduced and interval > 1:
        assert 0.5 * statistics.rejectedSteps < statistics.flips < 0.9 * statistics.rejectedSteps
    else:
        assert statistics.flips == statistics.rejectedSteps


def test_free_energy_without_metropolis_is_wrong(reference: openmm.Platform) -> None:
    """The control: 6 % off, more than 8 standard errors."""
    found, error, _ = sample_double_well("off", 1, True, reference)
    exact = free_energy_of_the_double_well()
    assert found < 0.96 * exact
    assert abs(found - exact) > 8 * error


# Two modes, one of them a bond to hydrogen


def sample_modes(
    oscillators: Oscillators, scheme: Scheme, mode: str, interval: int, reduced: bool, reference: openmm.Platform
) -> tuple[Array, Array, KStepStatistics]:
    """Potential energies [2] of slow and fast mode in units of kT/2, their standard errors [2], and statistics."""
    run = Run(oscillators, scheme, 6, reference, TEMPERATURE)
    run.integrator.setMetropolis(mode)
    run.integrator.setThermostatInterval(interval)
    run.integrator.setReducedFlips(reduced)
    run.integrator.setMaxCorrection(1e9)
    run.start(np.zeros((4, 18)))
    run.integrator.step(500)
    frequencies, modes = oscillators.modes(scheme)
    to_modes = modes.T * np.sqrt(oscillators.masses)
    energies = np.empty((40_000, 2))
    for sample in range(len(energies)):
        run.integrator.step(3)
        energies[sample] = ((frequencies[:, None] * (to_modes @ run.states()[:2])) ** 2).mean(axis=1) / KT
    return *mean_and_error(energies), run.integrator.getStatistics()


def fast_mode_of_the_scheme(oscillators: Oscillators, scheme: Scheme) -> float:
    """Potential energy of the fast mode in units of kT/2, as the scheme has it without Metropolis; exact."""
    frequencies, modes = oscillators.modes(scheme)
    covariance = Exact.of(oscillators, scheme, TEMPERATURE).covariance[:2, :2]
    to_mode = modes[:, 1] * np.sqrt(oscillators.masses)
    return float(frequencies[1] ** 2 * to_mode @ covariance @ to_mode / KT)


@pytest.mark.parametrize(("mode", "interval", "reduced"), WAYS)
def test_two_modes(
    reference: openmm.Platform, mode: str, interval: int, reduced: bool, record_property: pytest.RecordProperty
) -> None:
    """A bond whose surrogate has 0.6 of its stiffness: equipartition to 1 % of kT/2, where the scheme is 7 % off.

    At an inner step of 0.25 fs, because what the inner steps get wrong is not mode "correction"'s to mend: at 0.5 fs,
    with this surrogate, that would be 1.4 %.
    """
    oscillators, scheme = case(8, 1, 40.0, 0.6)
    scheme = replace(scheme, inner_step=0.00025)
    assert fast_mode_of_the_scheme(oscillators, scheme) > 1.07
    found, error, statistics = sample_modes(oscillators, scheme, mode, interval, reduced, reference)
    record_property("modes", [*found, *error, statistics.acceptance])
    assert (error < [0.02, 0.006]).all()
    assert (np.abs(found - 1) < 2.5 * error).all()
    # Per degree of freedom, in units of kT: -1/2 ln of the ratio of variances.
    assert abs(np.log(found[1]) / 2) < 0.01


@pytest.mark.parametrize(
    ("k", "slow", "quality"), [(4, 4, 0.6), (3, 3, 0.6), (8, 2, 0.9), (1, 1, 1.0)], ids=lambda value: str(value)
)
def test_slow_common_forces(reference: openmm.Platform, k: int, slow: int, quality: float) -> None:
    """In mode "full" the bath may act between the impulses of slow forces; with k = 1 there is no surrogate."""
    oscillators, scheme = case(k, slow, 40.0, quality)
    if k > 1:
        assert fast_mode_of_the_scheme(oscillators, scheme) > 1.01
    found, error, statistics = sample_modes(oscillators, scheme, "full", 1, True, reference)
    assert (error < [0.025, 0.012]).all()
    assert (np.abs(found - 1) < 2.5 * error).all()
    assert statistics.acceptance is not None
    assert 0.6 < statistics.acceptance < 1
