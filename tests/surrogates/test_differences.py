"""A method below QM and the difference learned from a run of the two: from labels to a better surrogate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app, unit
from typer.testing import CliRunner

from kstep_models.frames import FrameFile, FrameFileError
from openmmkstep import QMMMPotential, createIntegrator
from openmmkstep.cli import app as command_line
from openmmkstep.io.frames import difference_of_results
from openmmkstep.openmmapi.qmmm_force import QMMMForce
from openmmkstep.qmmm.forces import find_method_below, find_qm_force
from openmmkstep.reporters import FrameReporter
from tests.support.levels.methanol import METHANOL, POSITIONS, bare_methanol, mixed_methanol
from tests.support.qmmm.molecules import Molecule


def simulation_of(surrogate: Any, k: int, temperature: float = 300, seed: int = 1) -> app.Simulation:
    mixed = mixed_methanol(surrogate)
    integrator = createIntegrator(mixed, temperature, 10 / unit.picosecond, 0.0005, k)
    integrator.setRandomNumberSeed(seed)
    platform = openmm.Platform.getPlatformByName("Reference")
    simulation = app.Simulation(METHANOL, mixed, integrator, platform)
    simulation.context.setPositions(POSITIONS)
    simulation.context.setVelocitiesToTemperature(temperature, seed)
    return simulation


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The difference of GFN2 and GFN1 at the ends of outer steps."""
    path = tmp_path_factory.mktemp("labels") / "difference.h5"
    simulation = simulation_of("gfn1-xtb", 4, 400)
    reporter = FrameReporter(path, 10, difference=True)
    simulation.reporters.append(reporter)
    simulation.step(600)
    assert reporter.flush()
    return path


def test_labels_are_the_difference_of_the_levels(labels: Path) -> None:
    """As the two methods give it by themselves."""
    with FrameFile(labels) as file:
        assert len(file) == 60
        theory = file.region.level_of_theory
        assert (theory["method"], theory["minus"]["method"]) == ("gfn2-xtb", "gfn1-xtb")
        frame = file.frame(17)
    energies, forces = [], []
    for method in ("gfn2-xtb", "gfn1-xtb"):
        system = openmm.System()
        for _ in range(6):
            system.addParticle(1.0)
        system.addForce(QMMMForce(range(6), [6, 8, 1, 1, 1, 1], engine=method))
        context = openmm.Context(system, openmm.VerletIntegrator(0.001))
        context.setPositions(frame.positions)
        state = context.getState(energy=True, forces=True)
        energies.append(state.getPotentialEnergy()._value)
        forces.append(state.getForces(asNumpy=True)._value)
    assert frame.energy == pytest.approx(energies[0] - energies[1], abs=1e-3)
    np.testing.assert_allclose(frame.forces, forces[0] - forces[1], atol=0.05)


def test_a_learned_difference_makes_a_better_surrogate(labels: Path, tmp_path: Path) -> None:
    """From labels by the command line to the levels: corrections are a fraction of what they were."""
    archive = tmp_path / "difference.pt"
    result = CliRunner().invoke(command_line, ["fit-regression", str(labels), "--output", str(archive)])
    assert result.exit_code == 0, result.output
    assert "60 labels" in result.output
    corrections = []
    for surrogate in ("gfn1-xtb", ["gfn1-xtb", archive]):
        simulation = simulation_of(surrogate, 4, seed=5)
        simulation.step(100)
        corrections.append(simulation.integrator.getStatistics().meanCorrectionRMS)
        assert simulation.integrator.getStatistics().fallbacks == 0
    assert corrections[1] < 0.2 * corrections[0]


def test_differences_need_two_methods_at_one_geometry(tmp_path: Path, ala2: Molecule) -> None:
    simulation = simulation_of("gfn1-xtb", 4)
    simulation.step(1)
    results = [find(simulation.system).getLastResult(simulation.context) for find in (find_qm_force, find_method_below)]
    difference_of_results(*results)
    positions = simulation.context.getState(positions=True).getPositions(asNumpy=True)
    simulation.context.setPositions(positions * 1.01)
    simulation.context.getState(energy=True, groups={1})
    results[1] = find_method_below(simulation.system).getLastResult(simulation.context)
    with pytest.raises(FrameFileError, match="not of the same geometry"):
        difference_of_results(*results)
    alone = simulation_of(openmm.HarmonicBondForce(), 1)
    alone.reporters.append(FrameReporter(tmp_path / "frames.h5", 1, difference=True))
    with pytest.raises(ValueError, match="no QM method is in the surrogate"):
        alone.step(1)


def test_labels_of_a_top_level_that_is_no_qm_method(tmp_path: Path) -> None:
    """k-step MM learns as k-step QM does: springs above GFN2, of which nothing tells which particles they are on."""
    springs = openmm.HarmonicBondForce()
    for i in range(6):
        for j in range(i + 1, 6):
            springs.addBond(i, j, float(np.linalg.norm(POSITIONS[i] - POSITIONS[j])) + 0.001, 60000)
    potential = QMMMPotential(springs)
    for surrogate, difference in (("gfn2-xtb", True), (openmm.HarmonicBondForce(springs), False)):
        mixed = potential.createMixedSystem(METHANOL, bare_methanol(), range(6), surrogate=surrogate)
        integrator = createIntegrator(mixed, 300, 10.0, 0.0005, 4, monitoredParticles=range(6))
        simulation = app.Simulation(METHANOL, mixed, integrator, openmm.Platform.getPlatformByName("Reference"))
        simulation.context.setPositions(POSITIONS)
        path = tmp_path / f"{difference}.h5"
        reporter = FrameReporter(path, 1, difference=difference)
        simulation.reporters.append(reporter)
        simulation.step(3)
        reporter.flush()
        context = simulation.context
        above = context.getState(forces=True, groups={2}).getForces(asNumpy=True)._value
        below = context.getState(forces=True, groups={1}).getForces(asNumpy=True)._value
        with FrameFile(path) as file:
            frame, theory = file.frame(2), file.region.level_of_theory
        np.testing.assert_allclose(frame.forces, above - below if difference else above, atol=1e-6)
        assert theory["method"] == "QMHarmonicBondForce" and ("minus" in theory) == difference
