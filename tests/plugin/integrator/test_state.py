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
