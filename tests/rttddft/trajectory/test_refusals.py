"""Trajectory files that are not continued, or not read."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import h5py
import pytest

from openmmkstep.rttddft import (
    CFM4,
    ElectronDynamicsError,
    LevelOfTheory,
    Molecule,
    TrajectoryError,
    TrajectoryFile,
    UserField,
)
from tests.support.electrons.dynamics import dynamics
from tests.support.electrons.systems import WATER


@pytest.fixture
def short(tmp_path: Path) -> Path:
    path = tmp_path / "short.h5"
    dynamics().run(3, path)
    return path


MOVED = Molecule(WATER.numbers, WATER.positions + 1e-6, 0, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"molecule": MOVED}, "another molecule"),
        ({"molecule": Molecule(WATER.numbers, WATER.positions, 2, 1)}, "another molecule"),
        ({"level": LevelOfTheory("rhf", "6-31g")}, "another level_of_theory"),
        ({"scheme": "magnus2"}, "another propagator"),
        ({"propagator": CFM4(0.1)}, "another propagator"),
        ({"kick": None}, "another kick"),
        ({"field": None}, "another field"),
    ],
)
def test_file_of_another_run_is_not_continued(short: Path, options: dict[str, Any], message: str) -> None:
    before = short.read_bytes()
    with pytest.raises(TrajectoryError, match=message):
        dynamics(**options).run(6, short, resume=True)
    assert short.read_bytes() == before


def test_other_numbers_of_a_user_field_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    dynamics(field=UserField(lambda time: (0, 0, 0.01 * time), "ramp")).run(3, path)
    with pytest.raises(TrajectoryError, match="another field at t ="):
        dynamics(field=UserField(lambda time: (0, 0, 0.02 * time), "ramp")).run(6, path, resume=True)
    with pytest.raises(TrajectoryError, match="density_interval"):
        dynamics(field=UserField(lambda time: (0, 0, 0.01 * time), "ramp")).run(
            6, path, resume=True, density_interval=2
        )


def test_present_files_and_missing_folders(short: Path, tmp_path: Path) -> None:
    with pytest.raises(TrajectoryError, match="resume=True"):
        dynamics().run(6, short)
    with pytest.raises(TrajectoryError, match="not a folder"):
        dynamics().run(6, tmp_path / "nowhere" / "t.h5")
    for options in ({"density_interval": -1}, {"flush_interval": 0}, {"steps": -1}, {"steps": 2.5}):
        with pytest.raises(ElectronDynamicsError, match=next(iter(options))):
            dynamics().run(**{"steps": 3, "path": tmp_path / "t.h5", **options})  # type: ignore[arg-type]
    assert not (tmp_path / "t.h5").exists()


def _remove(name: str) -> Any:
    def change(file: h5py.File) -> None:
        del file[name]

    return change


def _attribute(name: str, value: Any) -> Any:
    def change(file: h5py.File) -> None:
        if value is None:
            del file.attrs[name]
        else:
            file.attrs[name] = value

    return change


def _progress(file: h5py.File) -> None:
    file["progress"][0] = 99


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_remove("dynamics/energy"), "lacks dynamics/energy"),
        (_remove("basis/shell_index"), "lacks basis/shell_index"),
        (_remove("progress"), "lacks progress"),
        (_attribute("schema", "other"), "not one of electron dynamics"),
        (_attribute("version", 2), "schema version 2"),
        (_attribute("dt", None), "attributes dt"),
        (_attribute("dt", -0.1), "must be positive"),
        (_attribute("n_basis", 8), "has shape"),
        (_attribute("n_electrons", 9), "n_electrons is 9"),
        (_attribute("n_spin", 3), "impossible value"),
        (_attribute("charge", 1), "impossible molecule"),
        (_attribute("units", "{}"), "has units"),
        (_attribute("field", "not json"), "not valid JSON"),
        (_progress, "99 frames"),
    ],
)
def test_damaged_files_are_refused(short: Path, change: Any, message: str) -> None:
    with h5py.File(short, "r+") as file:
        change(file)
    with pytest.raises(TrajectoryError, match=message):
        TrajectoryFile(short)


def test_damaged_restart_data_are_named(short: Path) -> None:
    with h5py.File(short, "r+") as file:
        del file["restart/orbitals"]
    with TrajectoryFile(short) as trajectory:
        assert len(trajectory) == 4
    with pytest.raises(TrajectoryError, match="restart data are damaged"):
        dynamics().run(6, short, resume=True)


def test_truncated_files_are_refused(short: Path, tmp_path: Path) -> None:
    with pytest.raises(TrajectoryError, match="does not exist"):
        TrajectoryFile(tmp_path / "none.h5")
    cut = tmp_path / "cut.h5"
    shutil.copy(short, cut)
    os.truncate(cut, short.stat().st_size // 2)
    with pytest.raises(TrajectoryError, match="cut off"):
        TrajectoryFile(cut)
    with pytest.raises(TrajectoryError, match="cut off"):
        dynamics().run(6, cut, resume=True)
