"""Checkpoints continue exactly, wherever they are loaded; forces that are not those of the loaded state are refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app

from openmmkstep import KStepIntegrator
from tests.plugin.integrator.test_changed_parameters import anchors
from tests.plugin.integrator.test_with_qm import start, xtb_system
from tests.support.qmmm.chain import Chain, make_chain
from tests.support.qmmm.new_contexts import STEP, assert_goes_on_as_new, running_context, state_of

ROOT = Path(__file__).resolve().parents[3]


def assert_same_state(context: openmm.Context, other: openmm.Context) -> None:
    for mine, theirs in zip(state_of(context), state_of(other), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("friction", [0.0, 5.0])
@pytest.mark.parametrize("fresh", [True, False], ids=["fresh context", "same context"])
def test_checkpoint_restarts_exactly(platform, friction, fresh):
    chain = make_chain()

    def context_of() -> openmm.Context:
        integrator = KStepIntegrator(300, friction, STEP, 4)
        integrator.setRandomNumberSeed(5)
        return chain.context(integrator, platform)

    context = context_of()
    context.getIntegrator().step(20)
    checkpoint = context.createCheckpoint()
    context.getIntegrator().step(20)
    expected = context.getState(positions=True, velocities=True)
    calls = KStepIntegrator.cast(context.getIntegrator()).getStatistics().qmCalls
    again = context_of() if fresh else context
    again.loadCheckpoint(checkpoint)
    again.getIntegrator().step(20)
    state = again.getState(positions=True, velocities=True)
    np.testing.assert_array_equal(state.getPositions(asNumpy=True)._value, expected.getPositions(asNumpy=True)._value)
    np.testing.assert_array_equal(state.getVelocities(asNumpy=True)._value, expected.getVelocities(asNumpy=True)._value)
    statistics = KStepIntegrator.cast(again.getIntegrator()).getStatistics()
    assert statistics.qmCalls == calls == 41
    assert again.getStepCount() == 40


def test_checkpoint_of_other_levels_is_refused(reference):
    chain = make_chain({1: (1.8e5, 0.0), 2: (2e5, 0.0), 3: (1.5e5, 0.0)})
    three = chain.context(KStepIntegrator(STEP, 4, surrogateLevels={3: 1, 1: 4}), reference)
    three.getIntegrator().step(1)
    two = make_chain().context(KStepIntegrator(STEP, 4), reference)
    with pytest.raises(openmm.OpenMMException, match="2 surrogate levels"):
        two.loadCheckpoint(three.createCheckpoint())


# A plain script with a QM level


def dimer(platform: openmm.Platform, k: int = 4, friction: float = 2.0) -> openmm.Context:
    """GFN2-xTB over GFN1-xTB."""
    integrator = KStepIntegrator(300, friction, STEP, k)
    integrator.setRandomNumberSeed(4)
    return start(xtb_system(), integrator, platform)


@pytest.mark.parametrize("where", ["same context", "new context"])
def test_with_a_density_to_start_from(reference, where):
    """The QM level starts from the density before; that is no part of a checkpoint."""
    context = dimer(reference)
    context.getIntegrator().step(5)
    checkpoint = context.createCheckpoint()
    context.getIntegrator().step(10)
    expected = state_of(context)
    again = context if where == "same context" else dimer(reference)
    if again is not context:
        again.getIntegrator().step(3)
    again.loadCheckpoint(checkpoint)
    again.getIntegrator().step(10)
    for mine, theirs in zip(state_of(again), expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("changes", [(2, 2), (8, 1)])
def test_after_k_was_changed(platform, changes):
    before, after = changes
    chain = make_chain()
    context = running_context(chain, platform)
    integrator = KStepIntegrator.cast(context.getIntegrator())
    integrator.setK(before)
    integrator.step(2)
    checkpoint = context.createCheckpoint()
    integrator.setK(after)
    integrator.step(3)
    again = chain.context(KStepIntegrator(STEP, after), platform)
    again.loadCheckpoint(checkpoint)
    again.getIntegrator().step(3)
    assert_same_state(context, again)
    assert KStepIntegrator.cast(again.getIntegrator()).getStatistics().qmCalls == integrator.getStatistics().qmCalls


@pytest.mark.parametrize("friction", [0.0, 5.0])
def test_with_all_kinds_of_levels(platform, friction):
    """Two surrogates and common forces of two periods, between whose impulses the thermostat acts."""
    chain = make_chain({1: (1.8e5, 0.0), 2: (2e5, -4e5), 3: (1.5e5, 0.0)})
    slow = openmm.CustomExternalForce("50*(x^2+y^2+z^2)")
    for i in range(5):
        slow.addParticle(i, [])
    slow.setForceGroup(4)
    chain.system.addForce(slow)

    def new() -> openmm.Context:
        options: dict[str, Any] = {"commonGroups": {0: 1, 4: 4}, "surrogateLevels": {3: 1, 1: 4}}
        integrator = KStepIntegrator(300, friction, STEP, 8, **options)
        integrator.setRandomNumberSeed(3)
        return chain.context(integrator, platform)

    context, again = new(), new()
    context.getIntegrator().step(7)
    again.loadCheckpoint(context.createCheckpoint())
    for each in (context, again):
        each.getIntegrator().step(9)
    assert_same_state(context, again)
    mine, theirs = (KStepIntegrator.cast(each.getIntegrator()).getStatistics() for each in (again, context))
    for name in ("qmCalls", "surrogateCalls", "heat", "cumulativeEnergyError", "meanCorrectionRMS", "totalEnergy"):
        assert getattr(mine, name) == getattr(theirs, name)


SCRIPT = """
import sys
import openmm, openmmkstep
from openmm import app
from tests.plugin.integrator.test_checkpoints import simulation, text_of

running = simulation()
running.loadCheckpoint(sys.argv[1])
running.step(6)
print(text_of(running))
"""


def simulation() -> app.Simulation:
    system = xtb_system()
    topology = app.Topology()
    for residue in range(2):
        waters = topology.addResidue("HOH", topology.addChain())
        for symbol in "OHH":
            topology.addAtom(f"{symbol}{residue}", app.Element.getBySymbol(symbol), waters)
    integrator = KStepIntegrator(300, 2.0, STEP, 4)
    integrator.setRandomNumberSeed(4)
    made = app.Simulation(topology, system, integrator, openmm.Platform.getPlatformByName("Reference"))
    made.context.setPositions(
        start(system, openmm.VerletIntegrator(1), made.context.getPlatform()).getState(positions=True).getPositions()
    )
    made.context.setVelocitiesToTemperature(300, 1)
    return made


def text_of(running: app.Simulation) -> str:
    """All digits of a state, and how it came about."""
    x, v = state_of(running.context)
    statistics = KStepIntegrator.cast(running.integrator).getStatistics()
    counts = (running.currentStep, statistics.outerSteps, statistics.qmCalls, statistics.fallbacks)
    return f"{x.tobytes().hex()} {v.tobytes().hex()} {counts}"


def test_a_script_in_another_process(tmp_path):
    running = simulation()
    running.step(4)
    running.saveCheckpoint(str(tmp_path / "checkpoint.bin"))
    running.step(6)
    command = [sys.executable, "-c", SCRIPT, tmp_path / "checkpoint.bin"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == text_of(running)
    assert text_of(running).endswith("(10, 10, 11, 0)")


def test_states_hold_positions_velocities_and_time_only(tmp_path):
    """`saveState` knows nothing of integrators: no noise, no forces, no statistics. One QM call begins anew."""
    first, second = simulation(), simulation()
    first.step(4)
    first.saveState(str(tmp_path / "state.xml"))
    second.loadState(str(tmp_path / "state.xml"))
    assert_same_state(first.context, second.context)
    assert (second.context.getTime(), second.currentStep) == (first.context.getTime(), 4)
    statistics = KStepIntegrator.cast(second.integrator).getStatistics()
    assert (statistics.outerSteps, statistics.qmCalls) == (0, 0)
    for each in (first, second):
        KStepIntegrator.cast(each.integrator).setFriction(0)
        each.step(2)
    # GFN2-xTB repeated from scratch differs at its convergence threshold, 1e-3 kJ/mol/nm in forces.
    for mine, theirs in zip(state_of(first.context), state_of(second.context), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)
    assert KStepIntegrator.cast(second.integrator).getStatistics().qmCalls == 3


# Forces that do not belong to the state


def chain_with_anchor(x0: float = 0.1) -> Chain:
    force, _ = anchors()
    force.setParticleParameters(0, 1, [x0])
    chain = make_chain()
    chain.system.addForce(force)
    return chain


@pytest.mark.parametrize("x0", [0.1, 0.2, 0.10000000000000002])
def test_system_that_was_changed(platform, x0):
    """A checkpoint of one System in a Context of another: its forces are those of the other."""
    checkpoint = running_context(chain_with_anchor(), platform).createCheckpoint()
    context = chain_with_anchor(x0).context(KStepIntegrator(STEP, 4), platform)
    context.loadCheckpoint(checkpoint)
    assert_goes_on_as_new(context)
    # Three steps before, two after: a call more where the forces had to be computed anew.
    calls = KStepIntegrator.cast(context.getIntegrator()).getStatistics().qmCalls
    assert calls == (6 if x0 == 0.1 else 7)


@pytest.mark.parametrize("when", ["before", "after", "elsewhere", "before, elsewhere too"])
def test_parameters_that_were_updated(platform, when):
    chain = chain_with_anchor()
    context = running_context(chain, platform)
    force = chain.system.getForce(chain.system.getNumForces() - 1)

    def update(x0: float, where: openmm.Context) -> None:
        force.setParticleParameters(0, 1, [x0])
        force.updateParametersInContext(where)

    if when.startswith("before"):
        update(0.3, context)
    checkpoint = context.createCheckpoint()
    if when == "after":
        update(0.3, context)
    elif "elsewhere" in when:
        force.setParticleParameters(0, 1, [0.1])
        context = running_context(chain, platform)
        update(0.2, context)
    context.loadCheckpoint(checkpoint)
    assert_goes_on_as_new(context)


def test_other_groups(reference):
    """The same System, but the forces of what is a level here were those of another level there."""
    levels = {1: (1.8e5, 0.0), 2: (2e5, -4e5), 3: (1.9e5, 0.0)}
    chain = make_chain(levels)
    first = chain.context(KStepIntegrator(STEP, 4, surrogateLevels={1: 1, 3: 4}), reference)
    first.getIntegrator().step(2)
    options: dict[str, Any] = {"surrogateLevels": {2: 1, 3: 4}, "qmGroup": 1}
    second, third = (chain.context(KStepIntegrator(STEP, 4, **options), reference) for _ in range(2))
    second.loadCheckpoint(first.createCheckpoint())
    x, v = state_of(first)
    third.setPositions(x)
    third.setVelocities(v)
    for context in (second, third):
        context.getIntegrator().step(2)
    assert_same_state(second, third)


def test_a_function_that_has_no_file_form(reference):
    """A force in Python that cannot be pickled: exact in its own Context, computed anew in another."""
    calls = []

    def spring(state: openmm.State) -> tuple[float, np.ndarray]:
        calls.append(1)
        x = state.getPositions(asNumpy=True)._value
        return 0.5 * 1e5 * float((x**2).sum()), -1e5 * x

    force = openmm.PythonForce(spring)
    force.setForceGroup(2)
    system = openmm.System()
    system.addParticle(12.0)
    system.addForce(force)
    context, other = (openmm.Context(system, KStepIntegrator(STEP, 1), reference) for _ in range(2))
    context.setPositions([[0.01, 0, 0]])
    context.getIntegrator().step(2)
    checkpoint = context.createCheckpoint()
    for again, extra in ((context, 0), (other, 1)):
        again.loadCheckpoint(checkpoint)
        before = len(calls)
        again.getIntegrator().step(2)
        assert len(calls) - before == 2 + extra
    assert_same_state(context, other)


def test_another_integrator_of_a_compound_had_moved(reference):
    def compound() -> openmm.CompoundIntegrator:
        made = openmm.CompoundIntegrator()
        made.addIntegrator(KStepIntegrator(STEP, 4))
        made.addIntegrator(openmm.VerletIntegrator(STEP))
        return made

    context, again = (make_chain().context(compound(), reference) for _ in range(2))
    for integrator, steps in ((0, 2), (1, 30)):
        context.getIntegrator().setCurrentIntegrator(integrator)
        context.getIntegrator().step(steps)
    again.loadCheckpoint(context.createCheckpoint())
    assert again.getIntegrator().getCurrentIntegrator() == 1
    for each in (context, again):
        each.getIntegrator().setCurrentIntegrator(0)
    assert_goes_on_as_new(again, 1)
    context.getIntegrator().step(1)
    assert_same_state(context, again)


# Damage


def test_damage(reference):
    """Cut off anywhere in the integrator's part; and what comes after a refusal is still noticed."""
    chain = chain_with_anchor()
    context = running_context(chain, reference)
    whole = context.createCheckpoint()
    plain = len(chain.context(openmm.VerletIntegrator(STEP), reference).createCheckpoint())
    force = chain.system.getForce(chain.system.getNumForces() - 1)
    for length in range(plain, len(whole), 7):
        with pytest.raises(openmm.OpenMMException, match="checkpoint"):
            context.loadCheckpoint(whole[:length])
    for length in (len(whole) - 1, len(whole) - 100, plain + 3):
        with pytest.raises(openmm.OpenMMException, match="the checkpoint is damaged, or was made with another system"):
            context.loadCheckpoint(whole[:length])
        context.getIntegrator().step(1)
        force.setParticleParameters(0, 1, [0.001 * length])
        force.updateParametersInContext(context)
        assert_goes_on_as_new(context)


def test_lengths_that_are_damaged(reference):
    """Every byte of every length set to 255 in turn: an error of OpenMM, or forces that are computed anew."""
    context = running_context(make_chain(), reference)
    whole = context.createCheckpoint()
    plain = len(make_chain().context(openmm.VerletIntegrator(STEP), reference).createCheckpoint())
    refused = 0
    for place in range(plain, len(whole)):
        damaged = bytearray(whole)
        damaged[place] = 255
        try:
            context.loadCheckpoint(bytes(damaged))
        except openmm.OpenMMException as error:
            assert "checkpoint" in str(error)
            refused += 1
    # The lengths of two arrays of statistics, a text, the forces, their groups and three levels' forces.
    assert refused >= 8 * 8
