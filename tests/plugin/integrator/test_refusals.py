"""What KStepIntegrator refuses, when, and what it says."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import unit

from openmmkstep import KStepIntegrator
from tests.support.qmmm.chain import make_chain

STEP = 0.0005


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((STEP, 0), "k, the number of inner steps per QM call, must be at least 1, not 0"),
        ((STEP, -8), "not -8"),
        ((0.0, 8), "inner step size must be positive"),
        ((-STEP, 8), "inner step size must be positive"),
        ((float("nan"), 8), "inner step size must be positive"),
        ((-1.0, 1.0, STEP, 8), "temperature must be finite and not negative"),
        ((300.0, -1.0, STEP, 8), "friction must be finite and not negative"),
    ],
)
def test_bad_numbers(arguments, message):
    with pytest.raises(openmm.OpenMMException, match=message):
        KStepIntegrator(*arguments)


def test_wrong_number_of_arguments():
    with pytest.raises(TypeError, match="innerStepSize, k"):
        KStepIntegrator(STEP)


@pytest.mark.parametrize(
    ("k", "options", "message"),
    [
        (4, {"surrogateLevels": {1: 1, 2: 2}}, "group 2 is named twice, as the QM group and as a surrogate level"),
        (4, {"commonGroups": {1: 1}, "surrogateLevels": {1: 1}}, "group 1 is named twice"),
        (4, {"surrogateLevels": {7: 1}}, "group 7, named as a surrogate level, is empty"),
        (4, {"qmGroup": 9}, "group 9, named as the QM group, is empty"),
        (4, {"commonGroups": {8: 1}}, "group 8, named as a common group, is empty"),
        (
            4,
            {"commonGroups": {0: 3}, "surrogateLevels": {3: 1, 1: 1}},
            "period 3 of common group 0 does not divide k = 4",
        ),
        (
            6,
            {"commonGroups": {0: 1}, "surrogateLevels": {3: 1, 1: 4}},
            "period 4 of surrogate group 1 does not divide k = 6",
        ),
        (4, {"surrogateLevels": {1: 1}}, r"CustomBondForce \(force \d+\) is in force group 3, which is neither"),
    ],
)
def test_bad_groups(reference, k, options, message):
    chain = make_chain({1: (1.8e5, 0.0), 2: (2e5, 0.0), 3: (1.5e5, 0.0)})
    with pytest.raises(openmm.OpenMMException, match=message):
        openmm.Context(chain.system, KStepIntegrator(STEP, k, **options), reference)


@pytest.mark.parametrize(
    ("levels", "message"),
    [({1: 2}, "its period must be 1, not 2"), ({3: 1, 1: 0}, "at least one inner step"), ({40: 1}, "between 0 and 31")],
)
def test_bad_levels(levels, message):
    with pytest.raises(openmm.OpenMMException, match=message):
        KStepIntegrator(STEP, 8, surrogateLevels=levels)


def test_periods_must_nest():
    with pytest.raises(openmm.OpenMMException, match="period 3 of force group 4 is not a multiple of the period 2"):
        KStepIntegrator(STEP, 12, surrogateLevels={3: 1, 1: 2, 4: 3})


def test_k_above_one_needs_a_surrogate(reference):
    chain = make_chain({2: (2e5, 0.0)})
    with pytest.raises(openmm.OpenMMException, match="k = 4 needs a surrogate"):
        openmm.Context(chain.system, KStepIntegrator(STEP, 4), reference)


def test_unknown_correction_particle(reference):
    chain = make_chain()
    with pytest.raises(openmm.OpenMMException, match="particle 77 does not exist"):
        openmm.Context(chain.system, KStepIntegrator(STEP, 4, monitoredParticles=[77]), reference)


def test_statistics_need_a_context():
    with pytest.raises(openmm.OpenMMException, match="bound to a Context"):
        KStepIntegrator(STEP, 4).getStatistics()


# Numbers that make no sense


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, -1.0])
@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("Temperature", "the temperature must be finite and not negative"),
        ("Friction", "the friction must be finite and not negative"),
        ("InnerStepSize", "the inner step size must be positive and finite"),
        ("StepSize", "the step size must be positive and finite"),
        ("MaxCorrection", "the bound of the correction must be finite and not negative"),
        ("MaxEnergyError", "the bound of the energy error must be finite and not negative"),
    ],
)
def test_numbers(what: str, name: str, value: float) -> None:
    integrator = KStepIntegrator(300, 1, STEP, 4)
    before = getattr(integrator, f"get{what}")()
    with pytest.raises(openmm.OpenMMException, match=name):
        getattr(integrator, f"set{what}")(value)
    assert getattr(integrator, f"get{what}")() == before


@pytest.mark.parametrize("value", [math.inf * unit.kelvin, math.nan * unit.kelvin, -3 * unit.kelvin])
def test_temperatures_with_units_at_creation(value: unit.Quantity) -> None:
    with pytest.raises(openmm.OpenMMException, match="temperature must be finite and not negative"):
        KStepIntegrator(value, 1, STEP, 4)


@pytest.mark.parametrize(
    "value", [4.7, 4.0, True, False, np.True_, np.float64(4), "4", None, [4], 4 * unit.dimensionless, 1j]
)
@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("k", lambda value: KStepIntegrator(STEP, value)),
        ("k", lambda value: KStepIntegrator(STEP, 4).setK(value)),
        ("the number of steps", lambda value: KStepIntegrator(STEP, 4).step(value)),
        ("a force group", lambda value: KStepIntegrator(STEP, 4).addCommonGroup(value)),
        ("the period of a force group", lambda value: KStepIntegrator(STEP, 4).addCommonGroup(3, value)),
        ("a force group", lambda value: KStepIntegrator(STEP, 4).addSurrogateLevel(value)),
        ("the period of a force group", lambda value: KStepIntegrator(STEP, 4, surrogateLevels={1: value})),
        ("a force group", lambda value: KStepIntegrator(STEP, 4, qmGroup=value)),
        ("the seed", lambda value: KStepIntegrator(STEP, 4).setRandomNumberSeed(value)),
        ("a particle", lambda value: KStepIntegrator(STEP, 4, monitoredParticles=[value])),
        ("the number of fallbacks", lambda value: KStepIntegrator(STEP, 4).setMaxConsecutiveFallbacks(value)),
    ],
)
def test_numbers_that_are_not_whole(name: str, use: Callable[[Any], object], value: Any) -> None:
    with pytest.raises(TypeError, match=f"KStepIntegrator: {name} must be a whole number, not "):
        use(value)


def test_whole_numbers_of_numpy() -> None:
    integrator = KStepIntegrator(STEP, np.int64(4), commonGroups={np.uint8(0): np.int16(2)})
    assert (integrator.getK(), integrator.getCommonGroups()) == (4, {0: 2})


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, 2**40, 10**30])
def test_whole_numbers_that_are_too_large(value: int) -> None:
    for use in (lambda: KStepIntegrator(STEP, value), lambda: KStepIntegrator(STEP, 4).setRandomNumberSeed(value)):
        with pytest.raises(ValueError, match="must be a number of 32 bits"):
            use()


@pytest.mark.parametrize("seed", [-1, -7, -(2**31), 2**31 - 1])
def test_all_seeds_of_32_bits_fix_the_noise(reference: openmm.Platform, seed: int) -> None:
    """As those of OpenMM's own integrators do."""

    def final(number: int) -> np.ndarray:
        integrator = KStepIntegrator(300, 5, STEP, 4)
        integrator.setRandomNumberSeed(number)
        copy = openmm.XmlSerializer.clone(integrator)
        assert KStepIntegrator.cast(copy).getRandomNumberSeed() == number
        context = make_chain().context(copy, reference)
        copy.step(5)
        return context.getState(positions=True).getPositions(asNumpy=True)._value

    np.testing.assert_array_equal(final(seed), final(seed))
    assert abs(final(seed) - final(abs(seed) % 1000 + 1)).max() > 1e-5


# What cannot be changed any more


IN_A_CONTEXT: dict[str, Callable[[KStepIntegrator], object]] = {
    "common groups": lambda integrator: integrator.addCommonGroup(4, 2),
    "surrogate levels": lambda integrator: integrator.addSurrogateLevel(3, 1),
    "the QM group": lambda integrator: integrator.setQMGroup(2),
    "monitored particles": lambda integrator: integrator.setMonitoredParticles([1]),
}


@pytest.mark.parametrize("what", IN_A_CONTEXT)
@pytest.mark.parametrize("steps", [0, 2])
def test_after_a_context_was_created(reference: openmm.Platform, what: str, steps: int) -> None:
    chain = make_chain()
    integrator = KStepIntegrator(STEP, 4)
    context = chain.context(integrator, reference)
    integrator.step(steps)
    before = openmm.XmlSerializer.serialize(integrator)
    with pytest.raises(openmm.OpenMMException, match=f"{what} cannot be changed while the integrator is bound"):
        IN_A_CONTEXT[what](integrator)
    assert openmm.XmlSerializer.serialize(integrator) == before
    integrator.step(1)
    assert context.getStepCount() == steps + 1


@pytest.mark.parametrize("what", IN_A_CONTEXT)
def test_inside_a_compound_integrator_and_after_its_context(reference: openmm.Platform, what: str) -> None:
    compound = openmm.CompoundIntegrator()
    compound.addIntegrator(KStepIntegrator(STEP, 4))
    context = make_chain().context(compound, reference)
    integrator = KStepIntegrator.cast(compound.getIntegrator(0))
    with pytest.raises(openmm.OpenMMException, match="cannot be changed while the integrator is bound"):
        IN_A_CONTEXT[what](integrator)
    del context
    # Nothing is bound any more.
    IN_A_CONTEXT[what](integrator)


@pytest.mark.parametrize("k", [3, 6, 1])
def test_k_that_the_periods_do_not_divide(reference: openmm.Platform, k: int) -> None:
    """k may be changed between steps, to one that fits; the state is as it was."""
    chain = make_chain()
    integrator = KStepIntegrator(STEP, 4, commonGroups={0: 4}, surrogateLevels={1: 1})
    context = chain.context(integrator, reference)
    integrator.step(2)
    before = context.getState(positions=True).getPositions(asNumpy=True)._value
    integrator.setK(k)
    with pytest.raises(openmm.OpenMMException, match=f"the period 4 of common group 0 does not divide k = {k}"):
        integrator.step(1)
    np.testing.assert_array_equal(context.getState(positions=True).getPositions(asNumpy=True)._value, before)
    integrator.setK(8)
    integrator.step(1)
    assert context.getStepCount() == 3


def test_more_inner_steps_without_a_surrogate(reference: openmm.Platform) -> None:
    integrator = KStepIntegrator(STEP, 1)
    make_context = make_chain({2: (2e5, 0.0)}).context(integrator, reference)
    integrator.step(1)
    integrator.setK(4)
    with pytest.raises(openmm.OpenMMException, match="k = 4 needs a surrogate"):
        integrator.step(1)
    integrator.setK(1)
    integrator.step(1)
    assert make_context.getStepCount() == 2


@pytest.mark.parametrize("groups", [{0}, {2}, {0, 1, 2}, set(range(32)), {0, 2, 5}])
@pytest.mark.parametrize("bound", [True, False])
def test_integration_groups_follow_from_the_levels(reference: openmm.Platform, groups: set[int], bound: bool) -> None:
    integrator = KStepIntegrator(STEP, 4)
    context = make_chain().context(integrator, reference) if bound else None
    with pytest.raises(openmm.OpenMMException, match="the integration force groups follow from addCommonGroup"):
        integrator.setIntegrationForceGroups(groups)
    integrator.setIntegrationForceGroups({0, 2})
    assert integrator.getIntegrationForceGroups() == 0b101
    assert (context is not None) == bound


def test_integration_groups_through_a_compound_integrator(reference: openmm.Platform) -> None:
    compound = openmm.CompoundIntegrator()
    compound.addIntegrator(KStepIntegrator(STEP, 4))
    with pytest.raises(openmm.OpenMMException, match="the integration force groups follow"):
        compound.setIntegrationForceGroups(0b111)
