"""Parameters, serialization and bad input of KStepIntegrator."""

from __future__ import annotations

import copy
import pickle

import openmm
import pytest
from openmm import unit

import openmmkstep
from openmmkstep import KStepIntegrator
from tests.support.qmmm.chain import make_chain

STEP = 0.0005


def configured() -> KStepIntegrator:
    integrator = KStepIntegrator(
        310 * unit.kelvin,
        2 / unit.picosecond,
        0.25 * unit.femtosecond,
        8,
        commonGroups={0: 1, 4: 4},
        surrogateLevels={3: 1, 1: 4},
        qmGroup=5,
        monitoredParticles=range(3),
    )
    integrator.setRandomNumberSeed(11)
    integrator.setMaxCorrection(1234 * unit.kilojoule_per_mole / unit.nanometer)
    integrator.setMaxEnergyError(12 * unit.kilojoule_per_mole)
    integrator.setMaxConsecutiveFallbacks(4)
    integrator.setConstraintTolerance(1e-7)
    return integrator


def settings(integrator: KStepIntegrator) -> tuple:
    return (
        integrator.getTemperature(),
        integrator.getFriction(),
        integrator.getInnerStepSize(),
        integrator.getK(),
        integrator.getCommonGroups(),
        list(integrator.getSurrogateLevels().items()),
        integrator.getQMGroup(),
        integrator.getMonitoredParticles(),
        integrator.getRandomNumberSeed(),
        integrator.getMaxCorrection(),
        integrator.getMaxEnergyError(),
        integrator.getMaxConsecutiveFallbacks(),
        integrator.getConstraintTolerance(),
        integrator.getIntegrationForceGroups(),
    )


def test_plugin_loaded():
    assert openmmkstep.pluginLoadFailures == {}


def test_units_and_step_size():
    integrator = configured()
    assert integrator.getStepSize().value_in_unit(unit.femtosecond) == pytest.approx(2.0)
    integrator.setStepSize(4 * unit.femtosecond)
    assert integrator.getInnerStepSize().value_in_unit(unit.femtosecond) == pytest.approx(0.5)
    assert integrator.getTemperature() == 310 * unit.kelvin
    assert integrator.getIntegrationForceGroups() == (1 << 0) | (1 << 4) | (1 << 5)


@pytest.mark.parametrize(
    "round_trip",
    [
        lambda i: KStepIntegrator.cast(openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(i))),
        lambda i: pickle.loads(pickle.dumps(i)),
        copy.copy,
        copy.deepcopy,
    ],
    ids=["xml", "pickle", "copy", "deepcopy"],
)
def test_round_trip(round_trip):
    integrator = configured()
    again = round_trip(integrator)
    assert isinstance(again, KStepIntegrator)
    assert settings(again) == settings(integrator)


def test_cast_refuses_other_integrators():
    with pytest.raises(TypeError, match="KStepIntegrator"):
        KStepIntegrator.cast(openmm.VerletIntegrator(0.001))


def test_ownership():
    """Objects handed over are freed once, whether or not a Context took them."""
    chain = make_chain()
    for _ in range(300):
        KStepIntegrator(STEP, 4)
        chain.context(KStepIntegrator(STEP, 4), openmm.Platform.getPlatformByName("Reference"))


def test_compound_integrator(reference):
    chain = make_chain()
    compound = openmm.CompoundIntegrator()
    compound.addIntegrator(KStepIntegrator(STEP, 4))
    compound.addIntegrator(openmm.VerletIntegrator(STEP))
    context = chain.context(compound, reference)
    compound.step(3)
    compound.setCurrentIntegrator(1)
    compound.step(3)
    compound.setCurrentIntegrator(0)
    compound.step(3)
    assert context.getStepCount() == 9
    assert context.getTime()._value == pytest.approx(6 * 4 * STEP + 3 * STEP)


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
