"""Reporters on a real simulation: alanine dipeptide, GFN2-xTB, springs as surrogate."""

from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app
from rich.console import Console

from kstep_models.frames import FrameFile
from kstep_models.units import BOLTZMANN
from openmmkstep.analysis.temperature import degrees_of_freedom
from openmmkstep.io.statistics import read_table, snake_case
from openmmkstep.openmmapi.kstep_integrator import KStepIntegrator
from openmmkstep.qmmm.forces import find_qm_force
from openmmkstep.qmmm.levels import force_groups
from openmmkstep.qmmm.potential import QMMMPotential
from openmmkstep.reporters import FrameReporter, ProgressReporter, StatisticsReporter
from tests.support.models.springs import write_springs
from tests.support.qmmm.molecules import Molecule


@pytest.fixture
def simulation(ala2: Molecule, ala2_atoms: list[int], tmp_path: Path) -> app.Simulation:
    archive = write_springs(tmp_path / "springs.pt", ala2.topology, ala2.positions)
    mixed = QMMMPotential("gfn2-xtb").createMixedSystem(
        ala2.topology, ala2.create_system(), ala2_atoms, surrogate=archive
    )
    integrator = KStepIntegrator(300, 1, 0.0005, 2)
    integrator.setRandomNumberSeed(4)
    platform = openmm.Platform.getPlatformByName("Reference")
    simulation = app.Simulation(ala2.topology, mixed, integrator, platform)
    simulation.context.setPositions(ala2.positions)
    simulation.context.setVelocitiesToTemperature(300, 1)
    return simulation


def test_statistics_reporter(simulation: app.Simulation, tmp_path: Path) -> None:
    path = tmp_path / "statistics.csv"
    simulation.reporters.append(StatisticsReporter(path, 2))
    simulation.step(6)
    rows = list(csv.DictReader(path.open()))
    assert [int(row["step"]) for row in rows] == [2, 4, 6]
    last = KStepIntegrator.cast(simulation.integrator).getStatistics()
    # Everything that the integrator counts, whatever that is.
    expected: dict[str, Any] = {}
    for field in dataclasses.fields(last):
        value, name = getattr(last, field.name), snake_case(field.name)
        if isinstance(value, list):
            expected |= {f"{name}_{level}": item for level, item in enumerate(value)}
        elif not isinstance(value, str):
            expected[name] = value
    added = {"step", "time", "temperature", "region_temperature", "rest_temperature", "kinetic_energy", "volume"}
    assert set(rows[-1]) == added | set(expected)
    for name, value in expected.items():
        assert rows[-1][name] == ("" if value is None else str(value)), name
    assert float(rows[-1]["time"]) == pytest.approx(0.006)
    kinetic = simulation.context.getState(energy=True).getKineticEnergy()._value
    assert float(rows[-1]["kinetic_energy"]) == pytest.approx(kinetic, rel=1e-6)
    freedom = degrees_of_freedom(simulation.system)
    assert float(rows[-1]["temperature"]) == pytest.approx(2 * last.regionKineticEnergy / (freedom * BOLTZMANN))
    # All particles are monitored: there is nothing else.
    assert rows[-1]["region_temperature"] == rows[-1]["temperature"] and rows[-1]["rest_temperature"] == ""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("outerSteps", "outer_steps"),
        ("qmCalls", "qm_calls"),
        ("otherQMCalls", "other_qm_calls"),
        ("meanCorrectionRMS", "mean_correction_rms"),
        ("heat", "heat"),
    ],
)
def test_names_in_files(name: str, expected: str) -> None:
    assert snake_case(name) == expected


def test_what_was_not_measured_is_no_number(ala2: Molecule, ala2_atoms: list[int], tmp_path: Path) -> None:
    """Without a surrogate there is no correction: an empty cell, and no number when the table is read."""
    mixed = QMMMPotential("gfn2-xtb").createMixedSystem(ala2.topology, ala2.create_system(), ala2_atoms)
    integrator = KStepIntegrator(0.0005, 1, monitoredParticles=range(10))
    simulation = app.Simulation(ala2.topology, mixed, integrator, openmm.Platform.getPlatformByName("Reference"))
    simulation.context.setPositions(ala2.positions)
    simulation.context.setVelocitiesToTemperature(300, 1)
    path = tmp_path / "statistics.csv"
    simulation.reporters.append(StatisticsReporter(path, 1))
    simulation.step(3)
    rows = list(csv.DictReader(path.open()))
    for name in ("correction_rms", "mean_correction_rms", "max_correction"):
        assert [row[name] for row in rows] == ["", "", ""]
    table = read_table(path)
    assert np.all(np.isnan(table["correction_rms"])) and np.all(np.isfinite(table["total_energy"]))
    statistics = integrator.getStatistics()
    freedom = [degrees_of_freedom(mixed, range(10)), degrees_of_freedom(mixed, range(10, 22))]
    kinetic = [statistics.regionKineticEnergy, statistics.restKineticEnergy]
    for name, part, energy in zip(("region", "rest"), freedom, kinetic, strict=True):
        assert table[f"{name}_temperature"][-1] == pytest.approx(2 * energy / (part * BOLTZMANN))


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n3\n", "a,b\n1,x\n", "a\n1,2\n"])
def test_what_is_no_table(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.csv").write_text(content)
    with pytest.raises(ValueError, match=r"values in every line|could not convert"):
        read_table(tmp_path / "x.csv")


def test_statistics_can_be_continued(simulation: app.Simulation, tmp_path: Path) -> None:
    path = tmp_path / "statistics.csv"
    simulation.reporters.append(StatisticsReporter(path, 1))
    simulation.step(1)
    simulation.reporters[:] = [StatisticsReporter(path, 1, append=True)]
    simulation.step(1)
    assert [int(row["step"]) for row in csv.DictReader(path.open())] == [1, 2]
    path.write_text("other,columns\n1,2\n")
    simulation.reporters[:] = [StatisticsReporter(path, 1, append=True)]
    with pytest.raises(ValueError, match="other columns"):
        simulation.step(1)


def test_frame_reporter_saves_labels_without_qm_calls(simulation: app.Simulation, tmp_path: Path) -> None:
    path = tmp_path / "frames.h5"
    reporter = FrameReporter(path, 2, trajectory=3, command="test")
    simulation.reporters.append(reporter)
    simulation.step(4)
    qm_force = find_qm_force(simulation.system)
    assert (
        qm_force.getNumCalls(simulation.context) == KStepIntegrator.cast(simulation.integrator).getStatistics().qmCalls
    )
    reporter.flush()
    state = simulation.context.getState(positions=True, energy=True, forces=True, groups={force_groups.QM})
    with FrameFile(path) as file:
        assert len(file) == len(reporter) == 2
        assert not file.has_environment
        assert file.frames("trajectory").tolist() == [3, 3]
        assert file.frames("temperature").tolist() == [300.0, 300.0]
        assert file.frames("time") == pytest.approx([0.002, 0.004])
        np.testing.assert_allclose(file.frames("positions")[-1], state.getPositions(asNumpy=True)._value, atol=1e-12)
        np.testing.assert_allclose(file.frames("forces")[-1], state.getForces(asNumpy=True)._value, atol=1e-6)
        assert file.frames("energy")[-1] == pytest.approx(state.getPotentialEnergy()._value)
        assert file.frames("charges").sum(axis=1) == pytest.approx([0.0, 0.0], abs=1e-6)
        assert len(file.region.bonds) == 21
        assert file.region.level_of_theory["method"] == "gfn2-xtb"


def test_progress_line(simulation: app.Simulation) -> None:
    output = io.StringIO()
    reporter = ProgressReporter(1, totalTime=0.004, console=Console(file=output, width=200), logSeconds=0)
    simulation.reporters.append(reporter)
    simulation.step(2)
    reporter.close()
    lines = output.getvalue().splitlines()
    assert len(lines) == 2
    for piece in ("0.002 ps", "( 50 %)", "ns/day", "k = 2", "correction", "fallbacks 0"):
        assert piece in lines[1]
    assert "accept" not in lines[1]
    integrator = KStepIntegrator.cast(simulation.integrator)
    for mode, piece in (("monitor", "Metropolis would accept"), ("full", "accepted")):
        integrator.setMetropolis(mode)
        integrator.step(1)
        assert f"  {piece} " in reporter.line(simulation)


@pytest.mark.parametrize("interval", [0, -1, 1.5, True])
def test_bad_intervals(interval: object, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="reportInterval"):
        StatisticsReporter(tmp_path / "x.csv", interval)  # type: ignore[arg-type]


def test_a_reader_does_not_end_a_run(simulation: app.Simulation, tmp_path: Path) -> None:
    path = tmp_path / "frames.h5"
    reporter = FrameReporter(path, 1, flushEvery=1)
    simulation.reporters.append(reporter)
    simulation.step(1)
    with FrameFile(path):
        simulation.step(2)
    simulation.step(1)
    reporter.flush()
    with FrameFile(path) as file:
        assert file.frames("time") == pytest.approx([0.001, 0.002, 0.003, 0.004])
