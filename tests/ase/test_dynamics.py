"""k-step dynamics of ase.Atoms: the scheme is ASE's at k = 1 and the plugin's at any k; calls, errors and fallbacks."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.qmmm import EIQMMM, LJInteractions, SimpleQMMM
from ase.calculators.tip3p import TIP3P, epsilon0, sigma0
from ase.constraints import FixAtoms, FixBondLengths, Hookean
from ase.io import Trajectory
from ase.md.verlet import VelocityVerlet
from numpy.typing import NDArray

from openmmkstep import KStepIntegrator, QMMMForce
from openmmkstep.ase import KStepDynamics, QMCalculator
from openmmkstep.engines.ase.conversion import LENGTH
from tests.support.ase.springs import Springs, Wells
from tests.support.ase.systems import FOUR_PLACES, ethanol, heat, waters

Array = NDArray[np.float64]

SURROGATE = {"stiffness": 28.0, "length": 1.02}
TOP = {"stiffness": 30.0, "cubic": -10.0}


def triangle(seed: int = 2, temperature: float = 300.0) -> Atoms:
    """Three atoms on springs, moving."""
    atoms = Atoms("OCN", [[0, 0, 0], [1.05, 0, 0.02], [0.4, 0.95, 0]])
    heat(atoms, temperature, seed)
    atoms.calc = Springs(**TOP)
    return atoms


def moved(atoms: Atoms, steps: int, k: int, timestep: float = 0.5 * units.fs, **options: Any) -> KStepDynamics:
    dynamics = KStepDynamics(atoms, timestep, k, options.pop("surrogate", None) or Springs(**SURROGATE), **options)
    dynamics.run(steps)
    return dynamics


CONSTRAINTS: dict[str, list[Any]] = {
    "free": [],
    "fixed": [FixAtoms([0])],
    "rigid": [FixBondLengths([[0, 1]])],
    "restrained": [Hookean(0, 1, 5.0, rt=0.9)],
}


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_one_inner_step_is_velocity_verlet(constraint: str) -> None:
    ours, theirs = triangle(), triangle()
    for atoms in (ours, theirs):
        atoms.set_constraint(CONSTRAINTS[constraint])
        # As both begin: momenta along constraints.
        atoms.set_momenta(atoms.get_momenta())
    KStepDynamics(ours, 0.5 * units.fs, 1).run(200)
    VelocityVerlet(theirs, 0.5 * units.fs).run(200)
    np.testing.assert_array_equal(ours.positions, theirs.positions)
    np.testing.assert_array_equal(ours.get_momenta(), theirs.get_momenta())


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_the_surrogate_as_top_level_is_velocity_verlet(constraint: str) -> None:
    """Then there is nothing to correct."""
    ours, theirs = triangle(), triangle()
    for atoms in (ours, theirs):
        atoms.set_constraint(CONSTRAINTS[constraint])
        atoms.set_momenta(atoms.get_momenta())
    moved(ours, 50, 4, surrogate=Springs(**TOP))
    VelocityVerlet(theirs, 0.5 * units.fs).run(200)
    # FixBondLengths is iterated to 1e-13 of the length.
    np.testing.assert_allclose(ours.positions, theirs.positions, rtol=0, atol=1e-10)
    np.testing.assert_allclose(ours.get_momenta(), theirs.get_momenta(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("constraint", ["free", "fixed", "rigid"])
def test_reversal(constraint: str) -> None:
    atoms = triangle()
    atoms.set_constraint(CONSTRAINTS[constraint])
    atoms.set_momenta(atoms.get_momenta())
    positions, momenta = atoms.get_positions(), atoms.get_momenta()
    moved(atoms, 100, 6)
    assert np.abs(atoms.positions - positions).max() > 0.05
    atoms.set_momenta(-atoms.get_momenta())
    moved(atoms, 100, 6)
    np.testing.assert_allclose(atoms.positions, positions, rtol=0, atol=1e-8)
    np.testing.assert_allclose(atoms.get_momenta(), -momenta, rtol=0, atol=1e-8)


def largest_energy_error(timestep: float) -> float:
    """Of a run of 48 fs."""
    atoms = triangle(temperature=600)
    energies = []
    dynamics = KStepDynamics(atoms, timestep * units.fs, 4, Springs(**SURROGATE))
    dynamics.attach(lambda: energies.append(atoms.get_total_energy()))
    dynamics.run(round(48 / (4 * timestep)))
    return float(np.abs(np.array(energies) - energies[0]).max())


def test_the_energy_error_is_of_second_order() -> None:
    coarse, fine = largest_energy_error(0.2), largest_energy_error(0.1)
    assert coarse / fine == pytest.approx(4, rel=0.1)


def test_no_drift() -> None:
    atoms = triangle()
    energies: list[float] = []
    dynamics = KStepDynamics(atoms, 0.5 * units.fs, 4, Springs(**SURROGATE))
    dynamics.attach(lambda: energies.append(atoms.get_total_energy()))
    dynamics.run(1500)
    # The energy swings; between the halves of the run it does not drift.
    halves = np.array(energies[:-1]).reshape(2, -1).mean(axis=1)
    assert abs(halves[1] - halves[0]) < 0.02 * np.std(energies)


def test_one_call_for_each_outer_step(tmp_path: Path) -> None:
    """Logs, trajectories and observers read what is there."""
    atoms = triangle()
    surrogate, seen, log = Springs(**SURROGATE), [], io.StringIO()
    dynamics = KStepDynamics(
        atoms, 0.5 * units.fs, 4, surrogate, trajectory=str(tmp_path / "run.traj"), logfile=log, loginterval=5
    )
    dynamics.attach(lambda: seen.append((atoms.get_potential_energy(), atoms.get_forces())), interval=2)
    dynamics.run(10)
    dynamics.run(10)
    statistics = dynamics.statistics
    assert atoms.calc.calls == statistics.top_calls == 21
    assert surrogate.calls == statistics.surrogate_calls == 81
    assert (statistics.outer_steps, statistics.inner_steps, statistics.fallbacks) == (20, 80, 0)
    assert len(seen) == 11 and len(log.getvalue().splitlines()) == 6
    assert dynamics.get_time() == pytest.approx(40 * units.fs)
    with Trajectory(tmp_path / "run.traj") as frames:
        assert len(frames) == 5
        last = frames[-1]
        assert frames.description["k"] == 4 and frames.description["md-type"] == "KStepDynamics"
    np.testing.assert_array_equal(last.positions, atoms.positions)
    np.testing.assert_array_equal(last.get_forces(), atoms.get_forces())


def test_statistics_are_those_of_the_levels() -> None:
    atoms = triangle()
    start = atoms.get_total_energy()
    dynamics = moved(atoms, 30, 4, monitored=[0, 2])
    statistics = dynamics.statistics
    surrogate = atoms.copy()
    surrogate.calc = Springs(**SURROGATE)
    difference = (atoms.get_forces() - surrogate.get_forces())[[0, 2]]
    assert statistics.correction_rms == pytest.approx(np.sqrt((difference**2).mean()))
    assert statistics.max_correction == pytest.approx(np.linalg.norm(difference, axis=1).max())
    assert statistics.cumulative_energy_error == pytest.approx(atoms.get_total_energy() - start)
    assert statistics.measured_corrections == 30
    assert statistics.mean_correction_rms is not None and statistics.mean_correction_rms > 0


@pytest.mark.parametrize("k", [1, 4])
def test_the_scheme_is_that_of_the_plugin(k: int) -> None:
    """KStepIntegrator on the same potentials: GFN2 corrects GFN1 on ethanol, for 100 outer steps."""
    steps, step, settings = 100, 0.0005, {"accuracy": 1e-3}
    atoms = ethanol()
    start, velocities = atoms.positions / LENGTH, np.random.default_rng(4).normal(scale=0.5, size=(9, 3))
    system = openmm.System()
    for mass in atoms.get_masses():
        system.addParticle(mass)
    for engine, group in (("gfn1-xtb", 1), ("gfn2-xtb", 2)):
        force = QMMMForce(range(9), atoms.numbers, engine, settings=settings)
        force.setForceGroup(group)
        system.addForce(force)
    integrator = KStepIntegrator(step, k, commonGroups={}, surrogateLevels={1: 1}, qmGroup=2)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(start)
    context.setVelocities(velocities)
    integrator.step(steps)
    expected = context.getState(positions=True).getPositions(asNumpy=True)._value

    picosecond = 1000 * units.fs
    atoms.set_velocities(velocities * LENGTH / picosecond)
    atoms.calc = QMCalculator("gfn2-xtb", **settings)
    dynamics = KStepDynamics(atoms, step * picosecond, k, QMCalculator("gfn1-xtb", **settings))
    dynamics.run(steps)
    assert np.abs(expected - start).max() > 0.01
    # What the fundamental constants of ASE and OpenMM differ by is 1e-8 of the distances travelled.
    np.testing.assert_allclose(atoms.positions / LENGTH, expected, rtol=0, atol=1e-9)
    assert integrator.getStatistics().qmCalls == dynamics.statistics.top_calls == steps + 1


@pytest.mark.parametrize("embedding", ["mechanical", "electrostatic"])
def test_levels_of_ases_own_qmmm(embedding: str) -> None:
    """GFN2 in water, on GFN1 in water."""
    atoms = waters(FOUR_PLACES)
    heat(atoms, 100, seed=5)
    rigid = [pair for i in range(3, 12, 3) for pair in ((i, i + 1), (i, i + 2), (i + 1, i + 2))]
    atoms.set_constraint(FixBondLengths(rigid))
    atoms.set_momenta(atoms.get_momenta())

    def level(method: str) -> SimpleQMMM | EIQMMM:
        if embedding == "mechanical":
            return SimpleQMMM([0, 1, 2], QMCalculator(method), TIP3P(rc=9.0), TIP3P(rc=9.0))
        interaction = LJInteractions({("O", "O"): (epsilon0, sigma0)})
        return EIQMMM([0, 1, 2], QMCalculator(method), TIP3P(rc=9.0), interaction)

    atoms.calc = level("gfn2-xtb")
    start = atoms.get_total_energy()
    dynamics = moved(atoms, 20, 4, surrogate=level("gfn1-xtb"), monitored=range(3))
    assert dynamics.statistics.fallbacks == 0 and dynamics.statistics.top_calls == 21
    # Of 0.16 eV of kinetic energy; what is left is the error of the inner steps, far from the minimum.
    assert atoms.get_total_energy() == pytest.approx(start, abs=1e-2)


# Heat.


def test_the_thermostat_gives_the_distribution_of_the_temperature() -> None:
    """BAOAB gives a harmonic well its exact distribution of positions; the surrogate is a softer well."""
    stiffness, temperature, count = 10.0, 300.0, 100
    atoms = Atoms(f"H{count}", np.zeros((count, 3)))
    atoms.set_masses([4.0] * count)
    atoms.calc = Wells(stiffness)
    squares: list[float] = []
    random = np.random.default_rng(7)
    dynamics = KStepDynamics(
        atoms, 0.5 * units.fs, 2, Wells(9.0), temperature_K=temperature, friction=0.02 / units.fs, rng=random
    )
    dynamics.run(500)
    dynamics.attach(lambda: squares.append(float((atoms.positions**2).mean())))
    dynamics.run(4000)
    expected = units.kB * temperature / stiffness
    blocks = np.array(squares[:4000]).reshape(20, -1).mean(axis=1)
    error = blocks.std(ddof=1) / np.sqrt(20)
    assert error < 0.01 * expected
    # Four standard errors, and what a correction of a tenth adds at k = 2.
    assert abs(blocks.mean() - expected) < 4 * error + 0.005 * expected


def test_heat_is_told_apart_from_the_energy_error() -> None:
    atoms = triangle()
    start = atoms.get_total_energy()
    dynamics = moved(atoms, 200, 4, temperature_K=900, friction=0.05 / units.fs, rng=np.random.default_rng(1))
    statistics = dynamics.statistics
    gained = atoms.get_total_energy() - start
    assert gained == pytest.approx(statistics.heat + statistics.cumulative_energy_error)
    assert abs(statistics.heat) > 0.02


def test_the_noise_is_that_of_the_generator() -> None:
    runs = []
    for seed in (1, 1, 2):
        atoms = triangle()
        moved(atoms, 5, 3, temperature_K=300, friction=0.01 / units.fs, rng=np.random.default_rng(seed))
        runs.append(atoms.positions)
    np.testing.assert_array_equal(runs[0], runs[1])
    assert np.abs(runs[0] - runs[2]).max() > 1e-4


# The guard.


def plain(steps: int, k: int) -> Atoms:
    atoms = triangle()
    VelocityVerlet(atoms, 0.5 * units.fs).run(steps * k)
    return atoms


@pytest.mark.parametrize(
    ("surrogate", "bounds", "reason"),
    [
        (Springs(stiffness=300.0, length=1.5), {}, "a correction of"),
        (Springs(**SURROGATE), {"max_correction": 1e-3}, "a correction of"),
        (Springs(**SURROGATE), {"max_energy_error": 1e-9}, "an energy error of"),
    ],
)
def test_steps_that_go_beyond_a_bound_are_plain(surrogate: Springs, bounds: dict[str, float], reason: str) -> None:
    atoms = triangle()
    dynamics = moved(atoms, 5, 4, surrogate=surrogate, **bounds)
    statistics = dynamics.statistics
    assert statistics.fallbacks == statistics.consecutive_fallbacks == 5
    assert statistics.last_fallback_reason.startswith(reason)
    np.testing.assert_allclose(atoms.positions, plain(5, 4).positions, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"fails_at": 7}, "RuntimeError: the springs have no solution"),
        ({"nan_at": 7}, "ValueError: the forces of the surrogate are not finite"),
        ({"nan_at": 9}, "the surrogate failed: ValueError: the forces of the surrogate are not finite"),
        ({"fails_at": 9}, "the surrogate failed: RuntimeError: the springs have no solution"),
    ],
)
def test_one_failure_costs_one_plain_step(fault: dict[str, int], reason: str) -> None:
    """In the middle of the second outer step, or at its end."""
    atoms, untroubled = triangle(), triangle()
    moved(untroubled, 1, 4)
    VelocityVerlet(untroubled, 0.5 * units.fs).run(4)
    rest = moved(untroubled, 3, 4)
    assert rest.statistics.fallbacks == 0
    dynamics = moved(atoms, 5, 4, surrogate=Springs(**SURROGATE, **fault))
    statistics = dynamics.statistics
    assert statistics.fallbacks == 1 and statistics.consecutive_fallbacks == 0
    assert reason in statistics.last_fallback_reason
    np.testing.assert_allclose(atoms.positions, untroubled.positions, rtol=0, atol=1e-12)


def test_a_repeated_step_has_the_same_noise() -> None:
    runs = []
    for fault in ({}, {"fails_at": 6}):
        atoms = triangle()
        options = {"temperature_K": 300, "friction": 0.02 / units.fs, "rng": np.random.default_rng(3)}
        moved(atoms, 3, 4, surrogate=Springs(**TOP, **fault), **options)
        runs.append(atoms.positions)
    # The surrogate is the top level here, so that plain steps are the same.
    np.testing.assert_allclose(runs[0], runs[1], rtol=0, atol=1e-12)


def test_the_top_level_fails_at_a_bad_geometry() -> None:
    atoms = triangle()
    atoms.calc = Springs(**TOP, fails_at=3)
    dynamics = moved(atoms, 4, 4)
    assert dynamics.statistics.fallbacks == 1
    assert dynamics.statistics.last_fallback_reason == "RuntimeError: the springs have no solution"


def test_it_gives_up_and_leaves_the_state_before() -> None:
    atoms = triangle()
    dynamics = KStepDynamics(
        atoms, 0.5 * units.fs, 4, Springs(**SURROGATE), max_correction=1e-3, max_consecutive_fallbacks=2
    )
    dynamics.run(2)
    positions, momenta = atoms.get_positions(), atoms.get_momenta()
    with pytest.raises(RuntimeError, match=r"3 outer steps in a row had to be repeated .*a correction of"):
        dynamics.run(1)
    np.testing.assert_array_equal(atoms.positions, positions)
    np.testing.assert_array_equal(atoms.get_momenta(), momenta)


def test_there_is_nothing_to_fall_back_to() -> None:
    atoms = triangle()
    atoms.calc = Springs(**TOP)
    dynamics = KStepDynamics(atoms, 0.5 * units.fs, 4, Springs(**SURROGATE))
    dynamics.run(1)
    positions = atoms.get_positions()

    def failing(*_: Any, **__: Any) -> None:
        raise RuntimeError("no solution anywhere")

    atoms.calc.calculate = failing
    with pytest.raises(RuntimeError, match="no solution anywhere"):
        dynamics.run(1)
    np.testing.assert_array_equal(atoms.positions, positions)


def test_an_interruption_leaves_the_state_before() -> None:
    atoms = triangle()
    surrogate = Springs(**SURROGATE)
    dynamics = KStepDynamics(atoms, 0.5 * units.fs, 4, surrogate)
    dynamics.run(2)
    positions, top = atoms.get_positions(), atoms.calc

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    surrogate.calculate = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        dynamics.run(1)
    np.testing.assert_array_equal(atoms.positions, positions)
    assert atoms.calc is top


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"k": 0}, ValueError, "k must be at least 1"),
        ({"k": True}, TypeError, "k must be an integer"),
        ({"k": 2.0}, TypeError, "float"),
        ({"surrogate": None}, ValueError, "k > 1 needs a surrogate"),
        ({"timestep": 0.0}, ValueError, "timestep must be positive"),
        ({"max_correction": -1}, ValueError, "max_correction must be positive"),
        ({"temperature_K": 300}, ValueError, "belong together"),
        ({"friction": 1.0}, ValueError, "belong together"),
        ({"temperature_K": -1, "friction": 1.0}, ValueError, "must not be negative"),
        ({"atoms": molecule("H2O")}, ValueError, "the atoms have no calculator"),
        ({"atoms": "water"}, TypeError, "moves ase.Atoms, not str"),
    ],
)
def test_bad_input(options: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments = {"atoms": triangle(), "timestep": 0.1, "k": 4, "surrogate": Springs(), **options}
    with pytest.raises(error, match=message):
        KStepDynamics(**arguments)


def test_more_bad_input() -> None:
    atoms = triangle()
    with pytest.raises(ValueError, match="give each level a calculator of its own"):
        KStepDynamics(atoms, 0.1, 4, atoms.calc)
    dynamics = KStepDynamics(atoms, 0.1, 4, Springs())
    atoms.positions[0, 0] = np.nan
    with pytest.raises(ValueError, match="not finite at the start of a step"):
        dynamics.step()
