"""The outer step against its definition: r-RESPA, plain Verlet; what it costs, and what is changed on the way."""

from __future__ import annotations

import numpy as np
import openmm
import pytest

from openmmkstep import KStepIntegrator
from tests.support.qmmm.chain import Chain, make_chain, respa

STEP = 0.0005
THREE_LEVELS = {1: (180_000.0, 0.0), 2: (200_000.0, -4e5), 3: (150_000.0, 0.0)}


def final_state(context: openmm.Context) -> tuple[np.ndarray, np.ndarray]:
    state = context.getState(positions=True, velocities=True)
    return state.getPositions(asNumpy=True)._value, state.getVelocities(asNumpy=True)._value


def add_slow_group(chain: Chain) -> None:
    force = openmm.CustomExternalForce("50*(x^2+y^2+z^2)")
    for i in range(chain.system.getNumParticles()):
        force.addParticle(i, [])
    force.setForceGroup(4)
    chain.system.addForce(force)


@pytest.mark.parametrize(
    ("k", "commons", "surrogates"),
    [(4, {0: 1}, {1: 1}), (8, {0: 2}, {3: 1, 1: 4}), (6, {0: 3}, {3: 1, 1: 1}), (4, {0: 4}, {3: 1, 1: 4})],
)
def test_equals_nested_respa(reference, k, commons, surrogates):
    chain = make_chain({group: THREE_LEVELS[group] for group in [2, *surrogates]})
    integrator = KStepIntegrator(STEP, k, commonGroups=commons, surrogateLevels=surrogates)
    context = chain.context(integrator, reference)
    integrator.step(20)
    x, v = final_state(context)
    x_expected, v_expected = respa(chain, STEP, k, 20, commons, surrogates)
    np.testing.assert_allclose(x, x_expected, atol=1e-12)
    np.testing.assert_allclose(v, v_expected, atol=1e-10)


def test_several_common_groups(reference):
    chain = make_chain()
    add_slow_group(chain)
    integrator = KStepIntegrator(STEP, 4, commonGroups={0: 1, 4: 2})
    context = chain.context(integrator, reference)
    integrator.step(20)
    np.testing.assert_allclose(final_state(context)[0], respa(chain, STEP, 4, 20, {0: 1, 4: 2}, {1: 1})[0], atol=1e-12)


@pytest.mark.parametrize("surrogate", [True, False])
def test_k1_is_verlet(reference, surrogate):
    chain = make_chain(THREE_LEVELS if surrogate else {2: THREE_LEVELS[2]})
    levels = {3: 1, 1: 1} if surrogate else {}
    integrator = KStepIntegrator(STEP, 1, surrogateLevels=levels)
    context = chain.context(integrator, reference)
    integrator.step(100)
    x, _ = final_state(context)
    np.testing.assert_allclose(x, respa(chain, STEP, 1, 100, {0: 1}, {})[0], atol=1e-13)
    assert integrator.getStatistics().qmCalls == 101


def test_forced_fallback_is_verlet(reference):
    chain = make_chain()
    integrator = KStepIntegrator(STEP, 5)
    integrator.setMaxCorrection(0)
    integrator.setMaxConsecutiveFallbacks(1000)
    context = chain.context(integrator, reference)
    integrator.step(20)
    np.testing.assert_allclose(final_state(context)[0], respa(chain, STEP, 1, 100, {0: 1}, {})[0], atol=1e-13)
    statistics = integrator.getStatistics()
    assert statistics.fallbacks == 20
    assert statistics.qmCalls == 101
    assert "correction" in statistics.lastFallbackReason


def test_one_qm_call_per_outer_step(platform):
    chain = make_chain()
    integrator = KStepIntegrator(STEP, 8)
    context = chain.context(integrator, platform)
    integrator.step(50)
    assert context.getTime()._value == pytest.approx(50 * 8 * STEP)
    statistics = integrator.getStatistics()
    assert (statistics.qmCalls, statistics.outerSteps, statistics.innerSteps) == (51, 50, 400)
    assert statistics.surrogateCalls == [401]
    assert statistics.fallbacks == 0


def test_energies_reported_are_those_of_the_hamiltonian(platform):
    chain = make_chain()
    integrator = KStepIntegrator(STEP, 4)
    context = chain.context(integrator, platform)
    integrator.step(7)
    state = context.getState(energy=True, groups=integrator.getIntegrationForceGroups())
    total = (state.getPotentialEnergy() + state.getKineticEnergy())._value
    assert integrator.getIntegrationForceGroups() == 0b101
    assert integrator.getStatistics().totalEnergy == pytest.approx(total, rel=1e-6)


def test_a_surrogate_in_group_0_is_none_of_the_hamiltonian(platform):
    """Group 0 is common by default only if nothing else is there."""
    chain = make_chain()
    for force in chain.system.getForces():
        force.setForceGroup({0: 5, 1: 0}.get(force.getForceGroup(), 2))
    chain.system.removeForce(0)
    integrator = KStepIntegrator(STEP, 4, surrogateLevels={0: 1})
    assert integrator.getIntegrationForceGroups() == 0b100
    copy = openmm.XmlSerializer.clone(integrator)
    context = chain.context(copy, platform)
    copy.step(3)
    state = context.getState(energy=True, groups=copy.getIntegrationForceGroups())
    total = (state.getPotentialEnergy() + state.getKineticEnergy())._value
    assert KStepIntegrator.cast(copy).getStatistics().totalEnergy == pytest.approx(total, rel=1e-6)


def test_user_changes_are_seen(reference):
    """Positions, parameters or the box that a user changes invalidate the stored forces; velocities do not."""
    chain = make_chain()
    integrator = KStepIntegrator(STEP, 4)
    context = chain.context(integrator, reference)
    integrator.step(3)
    shifted = chain.positions + 0.001 * np.arange(15).reshape(5, 3)
    context.setPositions(shifted)
    context.setVelocities(chain.velocities)
    integrator.step(2)
    moved = Chain(chain.system, shifted, chain.velocities)
    np.testing.assert_allclose(final_state(context)[0], respa(moved, STEP, 4, 2, {0: 1}, {1: 1})[0], atol=1e-12)
    calls = integrator.getStatistics().qmCalls
    assert calls == 1 + 3 + 1 + 2
    context.setVelocities(chain.velocities)
    integrator.step(1)
    assert integrator.getStatistics().qmCalls == calls + 1


def test_changing_k_on_the_way(reference):
    chain = make_chain()
    integrator = KStepIntegrator(STEP, 4)
    context = chain.context(integrator, reference)
    integrator.step(5)
    integrator.setK(2)
    middle = Chain(chain.system, *final_state(context))
    integrator.step(5)
    np.testing.assert_allclose(final_state(context)[0], respa(middle, STEP, 2, 5, {0: 1}, {1: 1})[0], atol=1e-12)
    assert integrator.getStepSize()._value == pytest.approx(2 * STEP)


def test_empty_common_groups_cost_nothing(reference):
    """A CMMotionRemover, all that the common group of an isolated QM region has, is no force to evaluate."""
    system = openmm.System()
    for _ in range(2):
        system.addParticle(12.0)
    system.addForce(openmm.CMMotionRemover())
    spring = openmm.HarmonicBondForce()
    spring.addBond(0, 1, 0.1, 1000.0)
    spring.setForceGroup(2)
    system.addForce(spring)
    integrator = KStepIntegrator(0.001, 1, commonGroups={0: 1})
    context = openmm.Context(system, integrator, reference)
    context.setPositions([[0, 0, 0], [0.11, 0, 0]])
    integrator.step(3)
    assert integrator.getStatistics().commonCalls == 0
    assert integrator.getStatistics().qmCalls == 4
