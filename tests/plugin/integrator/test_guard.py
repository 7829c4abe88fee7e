"""The guard: what it catches, how it recovers, when it gives up, and what it never lets out."""

from __future__ import annotations

import numpy as np
import openmm
import pytest

from openmmkstep import KStepIntegrator
from tests.support.qmmm.chain import BondsInPython, Chain, make_chain, respa

STEP = 0.0005


class Source(BondsInPython):
    """A force for PythonForce that can be told to fail, or to return nonsense, at one call."""

    def __init__(self, chain: Chain, fault: str | None, at_call: int | range) -> None:
        super().__init__(chain.system.getNumParticles())
        self.fault = fault
        self.at_calls = range(at_call, at_call + 1) if isinstance(at_call, int) else at_call

    def __call__(self, state: openmm.State) -> tuple[float, np.ndarray]:
        energy, forces = self.energy_and_forces(state)
        if self.calls in self.at_calls:
            if self.fault == "raise":
                raise ValueError("the model is out of its depth")
            if self.fault == "assert":
                # An exception whose message is empty.
                raise AssertionError
            if self.fault == "nan":
                forces[0] = np.nan
            if self.fault == "huge":
                forces[0] += 1e7
        return energy, forces


def chain_with_faulty_surrogate(fault: str, at_call: int | range) -> tuple[Chain, Source]:
    chain = make_chain({2: (200_000.0, -4e5)})
    source = Source(chain, fault, at_call)
    force = openmm.PythonForce(source)
    force.setForceGroup(1)
    chain.system.addForce(force)
    return chain, source


@pytest.mark.parametrize("fault", ["raise", "assert", "nan", "huge"])
@pytest.mark.parametrize("at_call", [6, 9, 11])
def test_a_failing_surrogate_falls_back_once(reference, fault, at_call):
    """A fault at an inner step or at the boundary (call 9 with k = 4) costs one fallback; the state stays finite."""
    chain, _ = chain_with_faulty_surrogate(fault, at_call)
    integrator = KStepIntegrator(STEP, 4)
    context = chain.context(integrator, reference)
    integrator.step(10)
    statistics = integrator.getStatistics()
    assert statistics.fallbacks == 1
    assert statistics.consecutiveFallbacks == 0
    assert statistics.outerSteps == 10
    assert np.isfinite(context.getState(positions=True).getPositions(asNumpy=True)._value).all()
    if fault == "raise":
        assert "out of its depth" in statistics.lastFallbackReason
    if fault == "assert":
        assert "without a message" in statistics.lastFallbackReason


def test_the_redone_step_is_plain_qm(reference):
    """After a fault in the second outer step the trajectory is one step on all levels, one plain step, and so on."""
    chain, _ = chain_with_faulty_surrogate("raise", 7)
    integrator = KStepIntegrator(STEP, 4)
    context = chain.context(integrator, reference)
    integrator.step(2)
    healthy = make_chain({1: (180_000.0, 0.0), 2: (200_000.0, -4e5)})
    x, v = respa(healthy, STEP, 4, 1, {0: 1}, {1: 1})
    x, _ = respa(Chain(healthy.system, x, v), STEP, 1, 4, {0: 1}, {})
    np.testing.assert_allclose(context.getState(positions=True).getPositions(asNumpy=True)._value, x, atol=1e-12)


def test_correction_bound(reference):
    chain = make_chain()
    integrator = KStepIntegrator(STEP, 4)
    chain_context = chain.context(integrator, reference)
    integrator.step(20)
    largest = integrator.getStatistics().maxCorrection
    assert largest > integrator.getStatistics().correctionRMS > 0
    integrator.setMaxCorrection(0.01 * largest)
    integrator.step(3)
    assert integrator.getStatistics().fallbacks > 0
    assert chain_context.getStepCount() == 23


def test_energy_bound(reference):
    chain = make_chain()
    integrator = KStepIntegrator(STEP, 4)
    context = chain.context(integrator, reference)
    integrator.setMaxEnergyError(1e-9)
    integrator.step(3)
    assert integrator.getStatistics().fallbacks == 3
    assert "energy error" in integrator.getStatistics().lastFallbackReason
    assert context.getStepCount() == 3


def test_gives_up_with_the_last_good_state(reference):
    chain = make_chain()
    integrator = KStepIntegrator(STEP, 4)
    integrator.setMaxCorrection(0)
    integrator.setMaxConsecutiveFallbacks(3)
    context = chain.context(integrator, reference)
    with pytest.raises(openmm.OpenMMException, match="3 outer steps in a row fell back"):
        integrator.step(10)
    assert context.getStepCount() == 3
    np.testing.assert_allclose(
        context.getState(positions=True).getPositions(asNumpy=True)._value,
        respa(chain, STEP, 1, 12, {0: 1}, {})[0],
        atol=1e-13,
    )


def test_qm_failure_restores_the_start(reference):
    """Where plain QM fails too there is nothing to fall back to: an error, and the state before the outer step."""
    chain = make_chain({1: (180_000.0, 0.0)})
    source = Source(chain, "raise", 4)
    force = openmm.PythonForce(source)
    force.setForceGroup(2)
    chain.system.addForce(force)
    # The bonds of the QM source equal those of the surrogate, so only a zero energy bound is sure to be broken.
    integrator = KStepIntegrator(STEP, 4)
    integrator.setMaxEnergyError(0)
    context = chain.context(integrator, reference)
    with pytest.raises(openmm.OpenMMException, match="out of its depth"):
        integrator.step(5)
    np.testing.assert_array_equal(context.getState(positions=True).getPositions(asNumpy=True)._value, chain.positions)


@pytest.mark.parametrize("fault", ["raise", "assert"])
def test_a_surrogate_that_always_fails(reference, fault):
    """Plain QM steps as long as they are allowed, and then the error; no step without forces."""
    chain, _ = chain_with_faulty_surrogate(fault, range(1, 10**9))
    integrator = KStepIntegrator(STEP, 4)
    context = chain.context(integrator, reference)
    with pytest.raises(openmm.OpenMMException, match="10 outer steps in a row fell back"):
        integrator.step(50)
    assert context.getStepCount() == integrator.getStatistics().fallbacks == 10
    healthy = make_chain({2: (200_000.0, -4e5)})
    np.testing.assert_allclose(
        context.getState(positions=True).getPositions(asNumpy=True)._value,
        respa(healthy, STEP, 1, 40, {0: 1}, {})[0],
        atol=1e-13,
    )


def chain_with_faulty_qm(fault: str, at_call: int | range, surrogate: bool) -> Chain:
    chain = make_chain({1: (180_000.0, 0.0)} if surrogate else {0: (1.0, 0.0)})
    force = openmm.PythonForce(Source(chain, fault, at_call))
    force.setForceGroup(2)
    chain.system.addForce(force)
    return chain


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("fault", ["raise", "assert", "nan"])
@pytest.mark.parametrize("at_call", [1, 2, 4])
def test_a_qm_level_that_fails_once(reference, k, fault, at_call):
    """An error, the state before the step, and the next attempt asks again: nothing of the failure is stored."""
    chain = chain_with_faulty_qm(fault, at_call, surrogate=k > 1)
    integrator = KStepIntegrator(STEP, k)
    context = chain.context(integrator, reference)
    failures = 0
    for _ in range(12):
        before = context.getState(positions=True, velocities=True)
        steps = context.getStepCount()
        try:
            integrator.step(1)
        except openmm.OpenMMException as error:
            failures += 1
            message = {"raise": "out of its depth", "assert": "without a message", "nan": "not finite"}[fault]
            assert message in str(error)
            after = context.getState(positions=True, velocities=True)
            for one, two in (
                (before.getPositions(asNumpy=True), after.getPositions(asNumpy=True)),
                (before.getVelocities(asNumpy=True), after.getVelocities(asNumpy=True)),
            ):
                np.testing.assert_array_equal(one._value, two._value)
            assert context.getStepCount() == steps
    # With a surrogate, the step is redone with plain QM steps, which succeed.
    assert failures == (0 if k > 1 and at_call > 1 else 1)
    assert context.getStepCount() == 12 - failures
    assert np.isfinite(context.getState(positions=True).getPositions(asNumpy=True)._value).all()


@pytest.mark.parametrize("what", ["positions", "velocities"])
def test_nan_at_the_start(reference, what):
    chain = make_chain()
    bad = chain.positions.copy()
    bad[1, 2] = np.nan
    integrator = KStepIntegrator(STEP, 4)
    context = chain.context(integrator, reference)
    (context.setPositions if what == "positions" else context.setVelocities)(bad)
    with pytest.raises(openmm.OpenMMException, match="not finite"):
        integrator.step(1)
    assert integrator.getStatistics().qmCalls == 0


def test_out_of_distribution_start_finishes(reference):
    """A bond stretched by half falls back and goes on without NaN."""
    chain = make_chain({1: (180_000.0, 0.0), 2: (200_000.0, 4e6)})
    chain.positions[-1] += 0.5 * (chain.positions[-1] - chain.positions[-2])
    integrator = KStepIntegrator(STEP, 4)
    integrator.setMaxConsecutiveFallbacks(1000)
    context = chain.context(integrator, reference)
    integrator.step(50)
    assert integrator.getStatistics().fallbacks > 0
    assert np.isfinite(context.getState(positions=True).getPositions(asNumpy=True)._value).all()
