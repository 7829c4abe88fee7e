"""Units, ownership, company and counts of KStepIntegrator."""

from __future__ import annotations

import openmm
import pytest
from openmm import unit

import openmmkstep
from openmmkstep import KStepIntegrator
from tests.support.qmmm.chain import make_chain

STEP = 0.0005


def test_plugin_loaded():
    assert openmmkstep.pluginLoadFailures == {}


def test_units_and_step_size():
    integrator = KStepIntegrator(310 * unit.kelvin, 2 / unit.picosecond, 0.25 * unit.femtosecond, 8, qmGroup=5)
    assert integrator.getStepSize().value_in_unit(unit.femtosecond) == pytest.approx(2.0)
    integrator.setStepSize(4 * unit.femtosecond)
    assert integrator.getInnerStepSize().value_in_unit(unit.femtosecond) == pytest.approx(0.5)
    assert integrator.getTemperature() == 310 * unit.kelvin
    assert integrator.getIntegrationForceGroups() == (1 << 0) | (1 << 5)


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


def test_checkpoint_keeps_what_was_counted(platform):
    context = make_chain().context(KStepIntegrator(STEP, 4), platform)
    context.getIntegrator().step(20)
    checkpoint = context.createCheckpoint()
    context.getIntegrator().step(7)
    again = make_chain().context(KStepIntegrator(STEP, 4), platform)
    for each in (context, again):
        each.loadCheckpoint(checkpoint)
        each.getIntegrator().step(20)
        assert KStepIntegrator.cast(each.getIntegrator()).getStatistics().qmCalls == 41
