"""A run whose integrator is replaced on the way has the statistics of one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import openmm
import pytest
from openmm import app

from openmmkstep import createIntegrator
from openmmkstep.io.statistics import continued, read_table, statistics_from_json, statistics_to_json
from openmmkstep.openmmapi.kstep_integrator import KStepIntegrator
from openmmkstep.reporters import EnergyReporter, OuterStepReporter, StatisticsReporter
from tests.support.levels.methanol import METHANOL, POSITIONS, mixed_methanol

PLATFORM = openmm.Platform.getPlatformByName("Reference")


def simulation(k: int, surrogate: list[Any] | None = None) -> app.Simulation:
    system = mixed_methanol(["gfn1-xtb"] if surrogate is None else surrogate)
    integrator = createIntegrator(system, 300, 5.0, 0.0005, k)
    integrator.setMetropolis("correction")
    integrator.setRandomNumberSeed(k)
    made = app.Simulation(METHANOL, system, integrator, PLATFORM)
    made.context.setPositions(POSITIONS)
    made.context.setVelocitiesToTemperature(300, 4)
    return made


def statistics_of(of: app.Simulation) -> Any:
    return KStepIntegrator.cast(of.integrator).getStatistics()


def test_statistics_are_continued(tmp_path: Path) -> None:
    one, other = simulation(4), simulation(8)
    one.reporters.append(StatisticsReporter(tmp_path / "a.csv", 2, levels=2))
    one.step(12)
    before = statistics_of(one)
    assert continued(None, before) is before
    assert statistics_from_json(statistics_to_json(before)) == before
    other.currentStep = 6
    other.context.setTime(0.024)
    other.reporters.append(StatisticsReporter(tmp_path / "a.csv", 1, append=True, before=before, levels=2))
    other.step(5)
    now = statistics_of(other)
    whole = continued(before, now)
    for name in ("outerSteps", "qmCalls", "innerSteps", "acceptedSteps", "heat", "cumulativeEnergyError"):
        assert getattr(whole, name) == getattr(before, name) + getattr(now, name)
    assert whole.surrogateCalls == [before.surrogateCalls[0] + now.surrogateCalls[0]]
    assert whole.acceptance == (before.acceptedSteps + now.acceptedSteps) / 17
    assert whole.meanAcceptanceProbability == pytest.approx(
        (12 * before.meanAcceptanceProbability + 5 * now.meanAcceptanceProbability) / 17
    )
    assert whole.meanCorrectionRMS == pytest.approx(
        math.sqrt((12 * before.meanCorrectionRMS**2 + 5 * now.meanCorrectionRMS**2) / 17)
    )
    assert (whole.energyError, whole.correctionRMS) == (now.energyError, now.correctionRMS)
    table = read_table(tmp_path / "a.csv")
    assert table["step"].tolist() == [2, 4, 6, 8, 10, 12, 13, 14, 15, 16, 17]
    assert table["time"] == pytest.approx([0.004 * n for n in range(1, 12)])
    assert table["surrogate_calls_1"].tolist() == [0] * 11 and table["qm_calls"][-1] == whole.qmCalls


def test_energies_of_levels_that_come_and_go(tmp_path: Path) -> None:
    for surrogate in ([openmm.HarmonicBondForce()], ["gfn1-xtb"]):
        watched = simulation(4, surrogate)
        watched.reporters.append(EnergyReporter(tmp_path / "energies.csv", 1, append=True, allLevels=True))
        watched.step(1)
    table = read_table(tmp_path / "energies.csv")
    assert list(table)[-2:] == ["surrogate", "base_level"] and len(table["qm"]) == 2
    assert table["surrogate"][0] == 0 and table["surrogate"][1] < -1000
    assert all(math.isnan(value) for value in table["base_level"])


def test_outer_steps(tmp_path: Path) -> None:
    """One line each; a step that the guard refuses has no error."""
    watched = simulation(4)
    watched.reporters.append(OuterStepReporter(tmp_path / "steps.csv"))
    watched.step(3)
    error = statistics_of(watched).metropolisError
    KStepIntegrator.cast(watched.integrator).setMaxCorrection(1e-6)
    watched.step(2)
    table = read_table(tmp_path / "steps.csv")
    assert table["redone"].tolist() == [0, 0, 0, 1, 1]
    assert table["error"][2] == error and all(math.isnan(value) for value in table["error"][3:])
    assert table["time"] == pytest.approx([0.002 * n for n in range(1, 6)])
