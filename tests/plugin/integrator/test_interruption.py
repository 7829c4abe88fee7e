"""Ctrl-C ends a run after the last complete outer step, wherever it arrives, and is never taken for a failure."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import numpy as np
import openmm
import pytest

from openmmkstep import KStepIntegrator, QMMMForce
from openmmkstep.engines import registry
from openmmkstep.engines.protocol import QMOutput
from tests.support.qmmm.chain import BondsInPython, Chain, make_chain
from tests.support.qmmm.new_contexts import STEP, assert_goes_on_as_new, state_of

pytestmark = pytest.mark.usefixtures("usual_handler")

LONG = 2_000_000_000
"""Outer steps that nobody would wait for."""


class Springs(BondsInPython):
    """The bonds of a chain in Python, which do something at one of their calls."""

    def __init__(self, at_call: int, action: Callable[[], object]) -> None:
        super().__init__()
        self.at_call, self.action = at_call, action

    def __call__(self, state: openmm.State) -> tuple[float, np.ndarray]:
        answer = self.energy_and_forces(state)
        if self.calls == self.at_call:
            self.action()
        return answer


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def send_after_ten_steps(context: openmm.Context, number: int) -> None:
    while context.getStepCount() < 10:
        pass
    os.kill(os.getpid(), number)


def chain_with(springs: Springs, group: int) -> Chain:
    levels = {1: (180_000.0, 0.0), 2: (200_000.0, -4e5)}
    levels.pop(group, None)
    chain = make_chain(levels)
    force = openmm.PythonForce(springs)
    force.setForceGroup(group)
    chain.system.addForce(force)
    return chain


@pytest.mark.parametrize("group", [0, 1, 2], ids=["common", "surrogate", "QM"])
@pytest.mark.parametrize("at_call", [1, 2, 5, 7])
@pytest.mark.parametrize("alone", [True, False], ids=["alone", "compound"])
def test_inside_a_force_in_python(reference, group, at_call, alone):
    """OpenMM makes an error of it that has no message; the surrogate has not failed."""
    springs = Springs(at_call, interrupt)
    kstep = KStepIntegrator(STEP, 4)
    integrator = kstep
    if not alone:
        integrator = openmm.CompoundIntegrator()
        integrator.addIntegrator(kstep)
    context = chain_with(springs, group).context(integrator, reference)
    with pytest.raises(KeyboardInterrupt):
        integrator.step(LONG)
    statistics = KStepIntegrator.cast(kstep if alone else integrator.getIntegrator(0)).getStatistics()
    assert statistics.fallbacks == 0
    assert context.getStepCount() == statistics.outerSteps <= 7
    assert context.getTime()._value == pytest.approx(statistics.outerSteps * 4 * STEP)
    if alone:
        assert_goes_on_as_new(context)
    else:
        integrator.step(2)
        assert context.getStepCount() == statistics.outerSteps + 2


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "compound"])
def test_while_nothing_runs_in_python(platform, alone):
    """The signal comes from another thread while C++ steps."""
    kstep = KStepIntegrator(STEP, 4)
    integrator = kstep
    if not alone:
        integrator = openmm.CompoundIntegrator()
        integrator.addIntegrator(kstep)
    context = make_chain().context(integrator, platform)

    other = threading.Thread(target=send_after_ten_steps, args=(context, signal.SIGINT))
    other.start()
    with pytest.raises(KeyboardInterrupt):
        integrator.step(LONG)
    other.join()
    assert 10 <= context.getStepCount() < LONG
    assert np.isfinite(state_of(context)[0]).all()
    if alone:
        assert_goes_on_as_new(context)


def test_at_the_last_call_of_a_run(reference):
    springs = Springs(9, interrupt)
    integrator = KStepIntegrator(STEP, 4)
    context = chain_with(springs, 1).context(integrator, reference)
    with pytest.raises(KeyboardInterrupt):
        integrator.step(2)
    assert context.getStepCount() == 1


def test_a_handler_that_raises_nothing_is_no_interruption(reference):
    """Scripts that note the signal and end at a place of their own go on until there."""
    noted = []
    signal.signal(signal.SIGINT, lambda number, frame: noted.append(number))
    integrator = KStepIntegrator(STEP, 4)
    context = chain_with(Springs(6, interrupt), 1).context(integrator, reference)
    integrator.step(5)
    assert noted == [signal.SIGINT]
    assert context.getStepCount() == 5
    signal.signal(signal.SIGINT, signal.default_int_handler)


class EndOfTime(ValueError):
    """What a script raises when its time is up."""


def raise_end_of_time(number: int, frame: object) -> None:
    raise EndOfTime("time is up")


@pytest.mark.parametrize("error", [EndOfTime, SystemExit])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_errors_of_other_handlers_come_through(platform, error, number):
    """As of a script that ends when a queueing system sends SIGTERM."""

    def handle(number: int, frame: object) -> None:
        raise error("time is up")

    before = signal.signal(number, handle)
    integrator = KStepIntegrator(STEP, 4)
    context = make_chain().context(integrator, platform)

    other = threading.Thread(target=send_after_ten_steps, args=(context, number))
    other.start()
    try:
        with pytest.raises(error, match="time is up"):
            integrator.step(LONG)
    finally:
        other.join()
        signal.signal(number, before if number == signal.SIGTERM else signal.default_int_handler)


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_sigterm_where_sigint_is_not_python(platform, handler):
    """As in a job in the background, whose Ctrl-C is switched off."""
    signal.signal(signal.SIGINT, handler)
    before = signal.signal(signal.SIGTERM, raise_end_of_time)
    integrator = KStepIntegrator(STEP, 4)
    context = make_chain().context(integrator, platform)
    other = threading.Thread(target=send_after_ten_steps, args=(context, signal.SIGTERM))
    other.start()
    try:
        with pytest.raises(EndOfTime, match="time is up"):
            integrator.step(LONG)
    finally:
        other.join()
        signal.signal(signal.SIGTERM, before)
    assert signal.getsignal(signal.SIGINT) == handler
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_handlers_that_are_not_python_are_left_alone(reference, handler):
    signal.signal(signal.SIGINT, handler)
    integrator = KStepIntegrator(STEP, 4)
    action = interrupt if handler == signal.SIG_IGN else (lambda: None)
    context = chain_with(Springs(6, action), 1).context(integrator, reference)
    integrator.step(3)
    assert context.getStepCount() == 3
    assert signal.getsignal(signal.SIGINT) == handler
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_in_another_thread_nothing_is_changed(reference):
    integrator = KStepIntegrator(STEP, 4)
    context = make_chain().context(integrator, reference)
    other = threading.Thread(target=integrator.step, args=(5,))
    other.start()
    other.join()
    assert context.getStepCount() == 5


class Interrupted:
    """A QM engine that is interrupted at one of its calls."""

    def __init__(self, at_call: int = 3, error: str = "KeyboardInterrupt") -> None:
        self.at_call, self.error, self.calls = at_call, error, 0

    def check(self, numbers, charge, multiplicity):
        pass

    def describe(self):
        return {}

    def reset(self):
        pass

    def compute(self, positions, charge_positions, charges, needs_potential):
        self.calls += 1
        if self.calls == self.at_call:
            if self.error == "KeyboardInterrupt":
                interrupt()
            raise SystemExit(3)
        n, m = len(positions), len(charges)
        gradient = 1e4 * positions
        energy = 0.5 * float((positions * gradient).sum())
        return QMOutput(energy, gradient, np.zeros((m, 3)), np.zeros(m), np.zeros(n), np.zeros(3))


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    registry.register("interrupted", Interrupted)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("group", [1, 2], ids=["surrogate", "QM"])
@pytest.mark.parametrize("at_call", [1, 6])
def test_inside_an_engine_in_python(reference, error, group, at_call):
    system = openmm.System()
    system.addParticle(4.0)
    settings = {"at_call": at_call, "error": error.__name__}
    for level in (1, 2):
        name, options = ("interrupted", settings) if level == group else ("test-analytic", {})
        force = QMMMForce([0], [2], name, settings=options)
        force.setForceGroup(level)
        system.addForce(force)
    integrator = KStepIntegrator(STEP, 4)
    # The two levels have nothing to do with each other.
    integrator.setMaxCorrection(1e9)
    integrator.setMaxEnergyError(1e9)
    context = openmm.Context(system, integrator, reference)
    context.setPositions([[0.01, 0, 0]])
    with pytest.raises(error):
        integrator.step(LONG)
    assert integrator.getStatistics().fallbacks == 0
    assert context.getStepCount() == integrator.getStatistics().outerSteps
    integrator.step(1)


@pytest.mark.usefixtures("engine")
def test_outside_of_a_run(reference):
    """A question for the energy, too."""
    system = openmm.System()
    system.addParticle(4.0)
    system.addForce(QMMMForce([0], [2], "interrupted", settings={"at_call": 1}))
    context = openmm.Context(system, openmm.VerletIntegrator(STEP), reference)
    context.setPositions([[0.01, 0, 0]])
    with pytest.raises(KeyboardInterrupt):
        try:
            context.getState(energy=True)
        except openmm.OpenMMException:
            pytest.fail("the interruption is taken for an error of OpenMM")
    assert context.getState(energy=True).getPotentialEnergy()._value == pytest.approx(0.5)
