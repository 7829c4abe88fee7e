"""Engines in Python as C++ calls them: what they are given and asked, their errors, their threads, and their lives."""

from __future__ import annotations

import gc
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import openmm
import pytest
from numpy.typing import NDArray

from openmmkstep import KStepIntegrator, LinkAtom, QMMMForce
from openmmkstep.engines.protocol import EngineError
from tests.support.engines.spy import (
    FADING,
    POSITIONS,
    Spy,
    context_of,
    energy_of,
    engine,
    raising,
    system_of,
)

pytestmark = pytest.mark.usefixtures("spy")


def test_what_it_is_given(force_platform: openmm.Platform) -> None:
    """The molecule once, with its link atoms; then geometries in nm, in double precision, and arrays of its own."""
    context = context_of(force_platform, charge=1, multiplicity=3, linkAtoms=[LinkAtom(1, 2, 0.2, 9)], **FADING)
    energy = energy_of(context)
    asked = engine()
    assert asked.molecule == ([1, 1, 9], 1, 3)
    assert asked.asked == ["check", "compute"]
    positions, places, values, needed = asked.arguments
    link = POSITIONS[1] + 0.2 * (POSITIONS[2] - POSITIONS[1])
    np.testing.assert_allclose(positions, np.array([*POSITIONS[:2], link]), atol=1e-7)
    np.testing.assert_allclose(places, POSITIONS[2:], atol=1e-7)
    assert [array.dtype for array in (positions, places, values)] == [np.float64] * 3
    # Charges that fade out ask for the potential; those near enough are there in full, and do not.
    assert needed.dtype == np.bool_ and needed.tolist() == [True, True]
    assert np.all(np.abs(values) < [0.3, 0.2]) and np.all(values * [1, -1] > 0)
    for array in (positions, places, values):
        array[...] = np.nan
    QMMMForce.cast(context.getSystem().getForce(0)).reset(context)
    assert energy_of(context) == energy
    assert asked.asked == ["check", "compute", "reset", "compute"]


def test_settings_travel_in_files(reference: openmm.Platform) -> None:
    system = system_of(settings={"stiffness": 9e4})
    again = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(system))
    context = openmm.Context(again, openmm.VerletIntegrator(0.001), reference)
    context.setPositions(POSITIONS)
    assert energy_of(context) == pytest.approx(0.5 * 9e4 * 0.01**2, rel=1e-10)
    assert engine().describe() == {"stiffness": 9e4}


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("no density"), r"the region: engine 'spy': ValueError: no density"),
        (ValueError(), r"the region: engine 'spy': ValueError without a message"),
        (EngineError("no density"), r"the region: engine 'spy': no density"),
        (EngineError(), r"the region: engine 'spy': EngineError without a message"),
        (MemoryError(), r"the region: engine 'spy': MemoryError without a message"),
    ],
)
def test_its_exceptions_are_errors_with_its_name(
    force_platform: openmm.Platform, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    context = context_of(force_platform)
    monkeypatch.setattr(Spy, "act", raising(error))
    for _ in range(2):
        with pytest.raises(openmm.OpenMMException, match=message):
            energy_of(context)
    monkeypatch.setattr(Spy, "act", None)
    assert energy_of(context) == pytest.approx(2.0, rel=1e-6)


def test_what_it_refuses_is_refused_with_the_context(reference: openmm.Platform) -> None:
    system = openmm.System()
    system.addParticle(131.3)
    system.addForce(QMMMForce([0], [54], "spy"))
    with pytest.raises(openmm.OpenMMException, match=r"QMMMForce: .*spy: xenon is beyond this engine"):
        openmm.Context(system, openmm.VerletIntegrator(0.001), reference)


def test_a_failure_falls_back_and_is_told(platform: openmm.Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """As surrogate: once is no reason to stop."""
    integrator = KStepIntegrator(0.0005, 2)
    system = system_of()
    surrogate = QMMMForce([0, 1], [1, 1], "spy", settings={"stiffness": 3.9e4})
    surrogate.setForceGroup(1)
    system.addForce(surrogate)
    system.addForce(openmm.CMMotionRemover())
    context = openmm.Context(system, integrator, platform)
    context.setPositions(POSITIONS)

    def act(asked: Spy) -> None:
        if asked.stiffness == 3.9e4 and asked.asked.count("compute") == 4:
            raise ValueError("lost")

    monkeypatch.setattr(Spy, "act", act)
    integrator.step(5)
    assert integrator.getStatistics().fallbacks == 1
    assert "engine 'spy': ValueError: lost" in integrator.getStatistics().lastFallbackReason


@pytest.mark.usefixtures("usual_handler")
@pytest.mark.parametrize("by_signal", [True, False], ids=["Ctrl-C", "raised"])
def test_an_interruption_ends_the_run(
    platform: openmm.Platform, monkeypatch: pytest.MonkeyPatch, by_signal: bool
) -> None:
    """It is no failure: nothing is redone. The state is that before the step, and the run can go on."""
    integrator = KStepIntegrator(0.0005, 1)
    context = context_of(platform, integrator)
    integrator.step(3)
    before = context.getState(positions=True).getPositions(asNumpy=True)._value

    def act(_: Spy) -> None:
        if not by_signal:
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Spy, "act", act)
    calls = engine().asked.count("compute")
    with pytest.raises(KeyboardInterrupt):
        integrator.step(5)
    assert engine().asked.count("compute") == calls + 1
    np.testing.assert_array_equal(context.getState(positions=True).getPositions(asNumpy=True)._value, before)
    monkeypatch.setattr(Spy, "act", None)
    integrator.step(2)
    assert context.getStepCount() == 5 and integrator.getStatistics().fallbacks == 0


def test_an_interruption_elsewhere_does_not_end_a_later_run(
    reference: openmm.Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    integrator = KStepIntegrator(0.0005, 1)
    context = context_of(reference, integrator)
    monkeypatch.setattr(Spy, "act", raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        try:
            energy_of(context)
        except openmm.OpenMMException as error:
            # Python raises what is pending with the next call.
            assert "interrupted by the user" in str(error)
    monkeypatch.setattr(Spy, "act", None)
    integrator.step(2)
    assert context.getStepCount() == 2


@pytest.mark.parametrize("stepping", [True, False], ids=["steps", "states"])
def test_contexts_of_several_threads_calculate_at_once(
    platform: openmm.Platform, monkeypatch: pytest.MonkeyPatch, stepping: bool
) -> None:
    """Each of them waits inside the engine until all are there, which no lock around C++ would let happen."""
    count, steps = 3, 5
    integrators = [KStepIntegrator(0.0005, 1) for _ in range(count)]
    contexts = [context_of(platform, integrator) for integrator in integrators]
    together = threading.Barrier(count, timeout=60)
    threads = set()

    def act(_: Spy) -> None:
        threads.add(threading.get_ident())
        together.wait()

    monkeypatch.setattr(Spy, "act", act)

    def work(index: int) -> NDArray[np.float64]:
        if stepping:
            integrators[index].step(steps)
        state = contexts[index].getState(positions=True, forces=True)
        return np.concatenate([state.getPositions(asNumpy=True)._value, state.getForces(asNumpy=True)._value])

    with ThreadPoolExecutor(count) as pool:
        first, *others = pool.map(work, range(count))
    assert len(threads) == count
    for other in others:
        np.testing.assert_array_equal(other, first)


def test_python_goes_on_while_cpp_calculates(reference: openmm.Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step in one thread lets another one start, do its work in Python, and end, before the engine answers."""
    context = context_of(reference)
    entered, finished = threading.Event(), threading.Event()

    def other() -> None:
        assert entered.wait(60)
        gc.collect()
        finished.set()

    def act(_: Spy) -> None:
        entered.set()
        assert finished.wait(60)

    monkeypatch.setattr(Spy, "act", act)
    thread = threading.Thread(target=other)
    thread.start()
    assert energy_of(context) > 0
    thread.join()


def test_every_context_has_its_own_and_takes_it_along(platform: openmm.Platform) -> None:
    contexts = [context_of(platform) for _ in range(2)]
    for context in contexts:
        energy_of(context)
    assert len(Spy.made) == 2 and engine(0) is not engine(1)
    del contexts[0], context
    gc.collect()
    assert Spy.made[0]() is None and engine(1).asked == ["check", "compute"]
    contexts[0].reinitialize(preserveState=True)
    energy_of(contexts[0])
    gc.collect()
    assert len(Spy.made) == 3 and Spy.made[1]() is None
    contexts.clear()
    gc.collect()
    assert [each() for each in Spy.made] == [None] * 3


def test_a_context_that_cannot_be_made_keeps_no_engine(reference: openmm.Platform) -> None:
    system = openmm.System()
    system.addParticle(131.3)
    system.addForce(QMMMForce([0], [54], "spy"))
    with pytest.raises(openmm.OpenMMException, match="xenon") as caught:
        openmm.Context(system, openmm.VerletIntegrator(0.001), reference)
    del caught
    gc.collect()
    assert [each() for each in Spy.made] == [None]


def test_it_is_reset_when_asked(reference: openmm.Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    context = context_of(reference)
    force = QMMMForce.cast(context.getSystem().getForce(0))
    energy_of(context)
    force.reset(context)
    energy_of(context)
    assert engine().asked == ["check", "compute", "reset", "compute"]
    monkeypatch.setattr(Spy, "act", raising(RuntimeError("cannot reset")))
    with pytest.raises(openmm.OpenMMException, match="engine 'spy': RuntimeError: cannot reset"):
        force.reset(context)


def test_it_is_reset_by_a_checkpoint(platform: openmm.Platform) -> None:
    """What follows a checkpoint must not depend on what came before it."""
    integrator = KStepIntegrator(0.0005, 1)
    context = context_of(platform, integrator)
    integrator.step(2)
    checkpoint = context.createCheckpoint()
    asked = len(engine().asked)
    integrator.step(2)
    context.loadCheckpoint(checkpoint)
    integrator.step(1)
    assert "reset" in engine().asked[asked:]
