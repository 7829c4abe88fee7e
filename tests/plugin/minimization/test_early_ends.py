"""Minimisations that end early: by Ctrl-C, by a reporter, by an error."""

from __future__ import annotations

import signal
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app, unit

from openmmkstep import KStepIntegrator, minimize
from tests.support.qmmm.minimizing import (
    STRETCHED,
    context_of,
    energy_of,
    lengths,
    positions_of,
    qm_calls,
    root_mean_square_force,
    system_of,
)

pytestmark = pytest.mark.usefixtures("usual_handler")


class Watcher(openmm.MinimizationReporter):
    """Does something at one iteration."""

    def __init__(self, action: Any, at: int = 2) -> None:
        super().__init__()
        self.action, self.at, self.iterations = action, at, 0

    def report(self, iteration: int, x: Any, gradient: Any, values: Any) -> bool:
        self.iterations += 1
        if self.iterations == self.at:
            return bool(self.action())
        return False


@pytest.mark.parametrize("how", ["minimize", "Simulation"])
@pytest.mark.parametrize("surrogate", [None, {"length": 0.125}], ids=["alone", "with a surrogate"])
def test_interrupted_in_the_qm_level(reference, how, surrogate):
    """KeyboardInterrupt, and the best geometry so far."""
    settings = {"interrupt_at": 7}
    simulation = app.Simulation(
        app.Topology(), system_of(settings, surrogate), KStepIntegrator(0.0005, 4 if surrogate else 1), reference
    )
    simulation.context.setPositions(STRETCHED)
    before = energy_of(simulation.context)
    with pytest.raises(KeyboardInterrupt):
        if how == "minimize":
            minimize(simulation, 1e-3)
        else:
            simulation.minimizeEnergy(1e-3)
    assert qm_calls(simulation.context) == 7
    assert energy_of(simulation.context) < before
    assert lengths(positions_of(simulation.context)).max() < lengths(STRETCHED).max()
    simulation.minimizeEnergy(1e-3)
    np.testing.assert_allclose(lengths(positions_of(simulation.context)), 0.12, atol=1e-6)


@pytest.mark.parametrize("works", [True, False])
def test_interrupted_in_the_surrogate(reference, works):
    """Whether its geometry is better is known only where the QM level could not be calculated before."""
    qm = {} if works else {"fails_beyond": 0.15}
    context = context_of(system_of(qm, {"interrupt_at": 7, "length": 0.121}), reference)
    with pytest.raises(KeyboardInterrupt):
        minimize(context, 1e-3)
    assert qm_calls(context, 1) == 7
    if works:
        np.testing.assert_array_equal(positions_of(context), STRETCHED)
    else:
        assert lengths(positions_of(context)).max() < lengths(STRETCHED).max()
    assert context.getIntegrator().getIntegrationForceGroups() == 0b101


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_reporter_that_raises(reference, error):
    def raise_it() -> bool:
        if error is KeyboardInterrupt:
            signal.raise_signal(signal.SIGINT)
        raise error("from the reporter")

    context = context_of(system_of({}), reference)
    before = energy_of(context)
    caught = []
    try:
        minimize(context, 1e-3, reporter=Watcher(raise_it))
    except error as raised:
        caught.append(raised)
    # It comes once.
    sum(range(1000))
    assert len(caught) == 1
    assert energy_of(context) < before


def test_a_reporter_that_stops(reference):
    context = context_of(system_of({}, {"length": 0.125}), reference)
    watcher = Watcher(lambda: True)
    minimize(context, 1e-6, reporter=watcher)
    assert watcher.iterations == 2


def test_units(reference):
    force = 0.01 * unit.kilocalorie_per_mole / unit.angstrom
    context = context_of(system_of({}), reference)
    minimize(context, force)
    assert root_mean_square_force(context) < force.value_in_unit(unit.kilojoule_per_mole / unit.nanometer)


class NoNonsense:
    """A force of nothing that refuses to be asked at positions that are not finite."""

    def __call__(self, state: openmm.State) -> tuple[float, np.ndarray]:
        positions = state.getPositions(asNumpy=True)._value
        assert np.isfinite(positions).all()
        return 0.0, np.zeros_like(positions)


@pytest.mark.parametrize("surrogate", [None, {"length": 0.121}], ids=["alone", "with a surrogate"])
@pytest.mark.parametrize("fails_from", [1, 2, 3, 4, 6])
def test_calculations_that_fail_from_some_call_on(reference, surrogate, fails_from):
    """No force is ever asked at NaN, which can corrupt OpenMM's memory; the best geometry that was calculated stays."""
    system = system_of({"fails_from": fails_from}, surrogate)
    system.addForce(openmm.PythonForce(NoNonsense()))
    context = context_of(system, reference)
    # With a surrogate the second call is where that ended; where it fails, the third is at the start again.
    if fails_from <= (1 if surrogate is None else 2):
        with pytest.raises(openmm.OpenMMException, match=r"no geometry at which the QM level.*did not converge"):
            openmm.LocalEnergyMinimizer.minimize(context, 1e-3)
        np.testing.assert_array_equal(positions_of(context), STRETCHED)
    else:
        openmm.LocalEnergyMinimizer.minimize(context, 1e-3)
    assert qm_calls(context) >= fails_from
    assert np.isfinite(positions_of(context)).all()
    assert lengths(positions_of(context)).max() <= lengths(STRETCHED).max()
