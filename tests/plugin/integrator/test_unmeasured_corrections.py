"""A correction that was not measured is neither 0 nor NaN: it is missing, in steps, means, checkpoints and files."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import app

from openmmkstep import KStepIntegrator, KStepStatistics
from openmmkstep.io.statistics import read_table
from openmmkstep.reporters import StatisticsReporter
from tests.support.qmmm.chain import BondsInPython, Chain, make_chain

STEP = 0.0005
K = 4


class Surrogate(BondsInPython):
    """Bonds of a chain, for PythonForce, that fail in some way at some calls."""

    def __init__(self, fault: str, at_calls: set[int]) -> None:
        super().__init__()
        self.fault, self.at_calls = fault, at_calls

    def __call__(self, state: openmm.State) -> tuple[float, np.ndarray]:
        energy, forces = self.energy_and_forces(state)
        if self.calls in self.at_calls:
            if self.fault == "silence":
                raise ValueError
            if self.fault == "error":
                raise ValueError("no model for this")
            forces[2, 1] = {"nan": np.nan, "inf": np.inf, "large": 1e200}[self.fault]
        return energy, forces


FAULTS = ["error", "silence", "nan", "inf", "large"]
"""The last is a force whose square is not finite."""


def chain_with(surrogate: Surrogate) -> Chain:
    chain = make_chain({2: (200_000.0, -4e5)})
    force = openmm.PythonForce(surrogate)
    force.setForceGroup(1)
    chain.system.addForce(force)
    return chain


def steps(integrator: KStepIntegrator, number: int) -> list[KStepStatistics]:
    taken = []
    for _ in range(number):
        integrator.step(1)
        taken.append(integrator.getStatistics())
    return taken


def assert_means_are_of_what_was_measured(taken: list[KStepStatistics], missing: list[int]) -> None:
    """The mean after each step is that over the corrections before it; those of some steps are missing."""
    measured: list[float] = []
    for number, statistics in enumerate(taken, start=1):
        if number in missing:
            assert statistics.correctionRMS is None and statistics.maxCorrection is None
        else:
            assert statistics.correctionRMS is not None and statistics.maxCorrection is not None
            assert 0 < statistics.correctionRMS < statistics.maxCorrection < 5000
            measured.append(statistics.correctionRMS)
        assert (statistics.outerSteps, statistics.measuredCorrections) == (number, len(measured))
        if measured:
            assert statistics.meanCorrectionRMS == pytest.approx(np.sqrt(np.mean(np.square(measured))), rel=1e-12)
        else:
            assert statistics.meanCorrectionRMS is None


# Calls of the surrogate with k = 4: 1 at the start; 2, 3, 4 and at the end 5; 6, 7, 8 and 9; and so on. A step that is
# redone adds one call, at its end. A step from an end at which the surrogate failed is plain at once: one call.
PLACES = {
    "at the start": ({1}, [], 1),
    "inside": ({7}, [], 1),
    "at the end": ({9}, [], 1),
    "at the end, and at that of the redone step": ({9, 10}, [2], 2),
    "at the ends of redone and plain steps": ({9, 10, 11, 12}, [2, 3, 4], 4),
    "at the end of the first step": ({5, 6}, [1], 2),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("place", PLACES)
def test_steps_and_means(platform, fault, place):
    calls, missing, fallbacks = PLACES[place]
    chain = chain_with(Surrogate(fault, calls))
    integrator = KStepIntegrator(STEP, K)
    context = chain.context(integrator, platform)
    taken = steps(integrator, 8)
    assert context.getStepCount() == 8
    assert_means_are_of_what_was_measured(taken, missing)
    assert taken[-1].fallbacks == fallbacks
    assert np.isfinite([taken[-1].totalEnergy, taken[-1].cumulativeEnergyError]).all()
    if fault == "silence":
        assert taken[-1].lastFallbackReason != ""


@pytest.mark.parametrize("fault", FAULTS)
def test_plain_steps(reference, fault):
    """With k = 1 the surrogate has no weight; its correction is measured for those who want to know."""
    chain = chain_with(Surrogate(fault, {3, 4, 6}))
    integrator = KStepIntegrator(STEP, 1)
    context = chain.context(integrator, reference)
    taken = steps(integrator, 8)
    assert context.getStepCount() == 8
    assert_means_are_of_what_was_measured(taken, [2, 3, 5])
    assert taken[-1].fallbacks == 0


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("fresh", [True, False], ids=["new context", "same context"])
def test_through_checkpoints(reference, fault, fresh):
    """Written after a step whose correction is missing."""
    surrogate = Surrogate(fault, {9, 10})
    chain = chain_with(surrogate)
    context = chain.context(KStepIntegrator(STEP, K), reference)
    taken = steps(KStepIntegrator.cast(context.getIntegrator()), 2)
    assert taken[-1].correctionRMS is None
    checkpoint = context.createCheckpoint()
    expected = steps(KStepIntegrator.cast(context.getIntegrator()), 4)
    again = chain.context(KStepIntegrator(STEP, K), reference) if fresh else context
    again.loadCheckpoint(checkpoint)
    integrator = KStepIntegrator.cast(again.getIntegrator())
    loaded = integrator.getStatistics()
    assert loaded.correctionRMS is None and loaded.meanCorrectionRMS == taken[0].meanCorrectionRMS
    continued = steps(integrator, 4)
    assert_means_are_of_what_was_measured([*taken, *continued], [2])
    if fresh:
        # A function that cannot be pickled is not known to be the same one: its level was asked anew, and answered.
        assert continued[0].fallbacks == loaded.fallbacks
        return
    assert continued[0].fallbacks == loaded.fallbacks + 1
    names = ("meanCorrectionRMS", "correctionRMS", "maxCorrection", "measuredCorrections", "fallbacks", "qmCalls")
    for mine, theirs in zip(continued, expected, strict=True):
        assert [getattr(mine, name) for name in names] == [getattr(theirs, name) for name in names]


def test_in_files(reference, tmp_path: Path):
    """Empty cells where nothing was measured, and means that go on."""
    chain = chain_with(Surrogate("nan", {9, 10}))
    simulation = app.Simulation(app.Topology(), chain.system, KStepIntegrator(STEP, K), reference)
    simulation.context.setPositions(chain.positions)
    simulation.context.setVelocities(chain.velocities)
    path = tmp_path / "statistics.csv"
    simulation.reporters.append(StatisticsReporter(path, 1))
    simulation.step(5)
    rows = list(csv.DictReader(path.open()))
    for name in ("correction_rms", "max_correction"):
        assert [number for number, row in enumerate(rows, start=1) if row[name] == ""] == [2]
    table = read_table(path)
    rms = table["correction_rms"]
    assert np.flatnonzero(np.isnan(rms)).tolist() == [1]
    assert table["measured_corrections"].tolist() == [1, 1, 2, 3, 4]
    expected = [np.sqrt(np.nanmean(rms[: number + 1] ** 2)) for number in range(5)]
    np.testing.assert_allclose(table["mean_correction_rms"], expected, rtol=1e-12)
