"""Stages with the force field: heating, restraints, constant pressure, and taking up in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app, unit

from kstep_models.configuration import ConfigError, load_config, parse_config
from kstep_models.units import BOLTZMANN, GRAMS_PER_CM3
from openmmkstep.io.statistics import read_table
from openmmkstep.workflows.config.equilibration import EquilibrationSection, StageSection
from openmmkstep.workflows.config.run import IntegratorSection, RunConfig
from openmmkstep.workflows.setup.equilibration import (
    EquilibrationState,
    ForceFieldEquilibration,
    equilibrate,
    table_of,
)
from openmmkstep.workflows.setup.molecular_system import MolecularSystem, PreparationError
from openmmkstep.workflows.setup.selection import SelectionError
from tests.support.yaml_files import write_yaml

BAR_NM3 = 0.0602214076
"""kJ/mol per bar nm^3."""


def ideal_gas(number: int, width: float | None) -> MolecularSystem:
    """Argon atoms that do not feel each other, in a box of some width (nm) or without one."""
    topology, system = app.Topology(), openmm.System()
    chain = topology.addChain()
    force = openmm.NonbondedForce()
    for _ in range(number):
        topology.addAtom("AR", app.element.argon, topology.addResidue("AR", chain))
        system.addParticle(39.948)
        force.addParticle(0.0, 1.0, 0.0)
    if width is not None:
        force.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
        force.setCutoffDistance(0.3)
        box = np.eye(3) * width
        topology.setPeriodicBoxVectors(box * unit.nanometer)
        system.setDefaultPeriodicBoxVectors(*box)
    system.addForce(force)
    return MolecularSystem(topology, np.random.default_rng(1).uniform(0, width or 1.0, (number, 3)), system)


def stage(**content: Any) -> StageSection:
    return parse_config(content, StageSection, "test")


def finish(equilibration: ForceFieldEquilibration, state: EquilibrationState | None = None) -> EquilibrationState:
    state = equilibration.begin() if state is None else state
    while not equilibration.is_finished(state):
        state = equilibration.advance(state)
    return state


def test_heating_goes_up_evenly() -> None:
    heating = stage(time="40 ps", start_temperature=50, temperature=350, friction="20 /ps", time_step="4 fs")
    run = ForceFieldEquilibration(ideal_gas(400, None), [heating], 300.0, 4, "Reference")
    rows = finish(run).rows
    assert len(rows) == 100
    time, found = np.array([(row.time, row.temperature) for row in rows]).T
    assert time[-1] == pytest.approx(40.0)
    # 1200 degrees of freedom leave 4 % at each time, and the gas lags behind by a fortieth of a picosecond.
    assert np.abs(found / (50 + 300 * time / 40) - 1).max() < 0.2
    slope, start = np.polyfit(time, found, 1)
    assert slope == pytest.approx(7.5, abs=0.3) and start == pytest.approx(50.0, abs=6.0)


def test_volume_and_density_at_constant_pressure() -> None:
    """<V> of N particles without forces is (N + 1) kT/P: OpenMM's barostat samples V^N exp(-PV/kT)."""
    number, temperature = 20, 300.0
    expected = 2.5**3
    pressure = (number + 1) * BOLTZMANN * temperature / expected / BAR_NM3
    molecules = ideal_gas(number, 2.0)
    steps = stage(time="600 ps", pressure=f"{pressure} bar", time_step="10 fs", friction="1 /ps")
    state = finish(ForceFieldEquilibration(molecules, [stage(time="0.1 ps"), steps], temperature, 9, "Reference"))
    volumes = np.array([row.volume for row in state.rows if row.stage == 1], dtype=float)
    assert all(row.volume == pytest.approx(8.0) for row in state.rows if row.stage == 0)
    # Relative spread 1/sqrt(N + 1); 24 moves between two rows leave them nearly independent.
    assert volumes[10:].mean() == pytest.approx(expected, rel=0.1)
    assert volumes[10:].std() == pytest.approx(expected / np.sqrt(number + 1), rel=0.35)
    last = state.rows[-1]
    assert last.volume == pytest.approx(np.linalg.det(state.point.box))
    assert last.density == pytest.approx(number * 39.948 * GRAMS_PER_CM3 / last.volume)


@pytest.mark.parametrize("width", [None, 3.0])
def test_restrained_atoms_fluctuate_around_where_they_were(width: float | None) -> None:
    """<r^2> = 3 kT/K, also across the faces of a box; what is not restrained flies away."""
    molecules = ideal_gas(300, width)
    held = stage(
        time="20 ps",
        restraints=[
            {"atoms": "index 0-199", "force_constant": "500 kJ/mol/nm^2"},
            {"atoms": [100, 101, "index 102-199"], "force_constant": "5 kJ/mol/A^2"},
        ],
        time_step="5 fs",
    )
    point = finish(ForceFieldEquilibration(molecules, [held], 300.0, 2, "Reference")).point
    moved = point.positions - molecules.positions
    if width is not None:
        moved -= width * np.round(moved / width)
    squares = (moved**2).sum(axis=1)
    thermal = 3 * BOLTZMANN * 300
    assert squares[:100].mean() == pytest.approx(thermal / 500, rel=0.3)
    assert squares[100:200].mean() == pytest.approx(thermal / 1000, rel=0.3)
    assert squares[200:].mean() > 10 * thermal / 500


def test_minimisation_keeps_to_the_restraints_of_the_first_stage() -> None:
    molecules = ideal_gas(2, None)
    spring = openmm.HarmonicBondForce()
    spring.addBond(0, 1, 0.1, 1e4)
    molecules.system.addForce(spring)
    held = stage(time="1 fs", restraints=[{"atoms": "all", "force_constant": "1e8 kJ/mol/nm^2"}])
    distance = np.linalg.norm(np.subtract(*molecules.positions))
    for stages, expected in (([held], distance), ([], 0.1)):
        point = ForceFieldEquilibration(molecules, stages, 300.0, 1, "Reference").begin().point
        assert np.linalg.norm(np.subtract(*point.positions)) == pytest.approx(expected, abs=0.02)
    unmoved = ForceFieldEquilibration(molecules, [], 300.0, 1, "Reference", minimise=False).begin().point
    assert np.array_equal(unmoved.positions, molecules.positions)


def test_taken_up_after_any_piece_the_end_is_the_same() -> None:
    molecules = ideal_gas(12, 2.0)
    pressure = "50 bar"
    stages = [
        stage(time="15 ps", start_temperature=100),
        stage(time="25 ps", pressure=pressure, restraints=[{"atoms": "index 0-3", "force_constant": "9 kJ/mol/nm^2"}]),
    ]

    def run() -> ForceFieldEquilibration:
        return ForceFieldEquilibration(molecules, stages, 300.0, 7, "Reference")

    states, told = [run().begin()], []
    while not run().is_finished(states[-1]):
        states.append(run().advance(EquilibrationState.from_bytes(states[-1].to_bytes()), told.append))
    assert set(told) == {*range(150, 15001, 150), *range(250, 25001, 250), 10000}
    assert [(state.stage, state.step) for state in states] == [
        (0, 0),
        (0, 10000),
        (1, 0),
        (1, 10000),
        (1, 20000),
        (2, 0),
    ]
    whole = finish(run())
    for name in ("positions", "velocities", "box"):
        assert np.array_equal(getattr(states[-1].point, name), getattr(whole.point, name)), name
    assert states[-1].rows == whole.rows
    assert not np.array_equal(whole.point.box, np.eye(3) * 2.0)
    with pytest.raises(ValueError, match="not positions"):
        EquilibrationState.from_bytes(whole.point.to_bytes())


def test_the_table_has_empty_cells_for_what_there_is_not(tmp_path: Any) -> None:
    state = finish(ForceFieldEquilibration(ideal_gas(3, None), [stage(time="2 fs")], 300.0, 1, "Reference"))
    file = tmp_path / "table.csv"
    file.write_text(table_of(state.rows))
    table = read_table(file)
    assert table["time"].tolist() == pytest.approx([0.001, 0.002])
    assert np.isnan(table["density"]).all() and np.isfinite(table["temperature"]).all()


def test_simple_equilibration_is_one_stage() -> None:
    molecules = ideal_gas(5, None)
    whole = finish(ForceFieldEquilibration(molecules, [stage(time="0.1 ps")], 300.0, 3, "Reference")).point
    assert np.array_equal(equilibrate(molecules, 300.0, 0.1, 3, "Reference").positions, whole.positions)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"pressure": "1 bar"}, r"equilibration.stages\[1\].pressure: a pressure needs a periodic"),
        (
            {"restraints": [{"atoms": "resname LIG", "force_constant": "1 kJ/mol/nm^2"}]},
            r"equilibration.stages\[1\].restraints\[0\].atoms: .* selects nothing",
        ),
        ({"restraints": [{"atoms": [3], "force_constant": "1 kJ/mol/nm^2"}]}, "atom 3: there are 3 atoms"),
        ({"restraints": [{"atoms": [], "force_constant": "1 kJ/mol/nm^2"}]}, "the list is empty"),
        ({"restraints": [{"atoms": [1, 1], "force_constant": "1 kJ/mol/nm^2"}]}, "more than once"),
    ],
)
def test_what_cannot_be_is_said_before_the_first_stage(content: dict[str, Any], message: str) -> None:
    stages = [stage(time="1 ns"), stage(time="1 ps", **content)]
    with pytest.raises((PreparationError, SelectionError), match=message):
        ForceFieldEquilibration(ideal_gas(3, None), stages, 300.0, 1, "Reference")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"force_field": "1 ps", "stages": [{"time": "1 ps"}]}, "short for one stage"),
        ({"force_field": "1 ps", "stages": []}, "short for one stage"),
        ({"stages": [{"time": "1"}]}, "needs a unit"),
        ({"stages": [{"time": "1 fs", "time_step": "2 fs"}]}, "shorter than 'time_step'"),
        ({"stages": [{"time": "1 ps", "pressure": 1}]}, "needs a unit"),
        ({"stages": [{"time": "1 ps", "restraints": [{"atoms": "all", "force_constant": "-1 kJ/mol/nm^2"}]}]}, "posi"),
        ({"stages": [{"time": "1 ps", "restraints": [{"atoms": "all"}]}]}, "force_constant"),
    ],
)
def test_impossible_sections(content: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(content, EquilibrationSection, "test")


def test_a_barostat_needs_a_thermostat() -> None:
    with pytest.raises(ConfigError, match="needs a thermostat"):
        parse_config({"ensemble": "nve", "pressure": "1 bar"}, IntegratorSection, "test")


def test_the_short_form_is_one_stage() -> None:
    def section(time: str) -> EquilibrationSection:
        return parse_config({"force_field": time}, EquilibrationSection, "test")

    assert section("3 ps").all_stages == (stage(time="3 ps"),)
    assert section("0 ps").all_stages == ()


def test_an_empty_list_is_no_stage() -> None:
    assert parse_config({"stages": []}, EquilibrationSection, "test").all_stages == ()
    assert parse_config({}, EquilibrationSection, "test").all_stages == (stage(time="5 ps"),)


def test_a_stage_that_fails_is_named() -> None:
    molecules = ideal_gas(2, None)
    spring = openmm.HarmonicBondForce()
    spring.addBond(0, 1, 0.1, 1e6)
    molecules.system.addForce(spring)
    equilibration = ForceFieldEquilibration(
        molecules, [stage(time="2 fs"), stage(time="100 ps", time_step="1 ps")], 300.0, 1, "CPU"
    )
    with pytest.raises(openmm.OpenMMException, match=r"stage 2 of the equilibration failed after .*NaN.*time_step"):
        finish(equilibration)


@pytest.mark.parametrize(("section", "lengths"), [({}, [5.0]), ({"force_field": "2 ps"}, [2.0]), ({"stages": []}, [])])
def test_stages_of_a_file(tmp_path: Path, section: Any, lengths: list[float]) -> None:
    """As `kstep run` reads it, with all that is inherited written out."""
    system = {"structure": "x.pdb", "force_field": ["x.xml"]}
    content = {"system": system, "qm": {}, "equilibration": section, "integrator": {"k": 1}, "time": "1 ps"}
    config = load_config(write_yaml(tmp_path / "run.yaml", content), RunConfig)
    assert [stage.time for stage in config.equilibration.all_stages] == lengths
