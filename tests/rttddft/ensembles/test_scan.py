"""Many geometries: side by side in real processes, killed and resumed, with one that cannot be computed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import ase
import ase.io
import distributed
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from openmmkstep.cli import app
from openmmkstep.rttddft import (
    ElectronDynamicsError,
    LevelOfTheory,
    Magnus2,
    MissingDependencyError,
    Molecule,
    PointCharges,
    WorkerError,
)
from openmmkstep.rttddft.ensembles import workers
from openmmkstep.rttddft.ensembles.geometries import thinned
from openmmkstep.rttddft.ensembles.saved_absorptions import SavedAbsorptions
from openmmkstep.rttddft.ensembles.scan import absorptions
from openmmkstep.rttddft.ensembles.workers import GeometryWorkers, InProcess, LocalProcesses, RunningScheduler
from openmmkstep.rttddft.observables.absorption import Absorption, AbsorptionSettings, Geometry

KILLED = """
import os, signal
from openmmkstep.cli import main
from openmmkstep.rttddft.ensembles.saved_absorptions import SavedAbsorptions

original, saved = SavedAbsorptions.save, []

def save(self, geometry, result):
    original(self, geometry, result)
    saved.append(geometry)
    if len(saved) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

SavedAbsorptions.save = save
if __name__ == "__main__":
    main()
"""
"""The program `kstep`, killed when it has saved two geometries."""
SETTINGS = AbsorptionSettings(
    level=LevelOfTheory("rhf", "sto-3g"),
    propagator=Magnus2(0.4, tolerance=1e-7),
    steps=25,
    kick=1e-3,
    directions=("x", "y", "z"),
    frequencies=np.arange(0.0, 1.0, 0.01),
)


def hydrogen(length: float) -> Molecule:
    """Nuclei so many angstroms apart, not along an axis."""
    return Molecule.create("HH", np.array([[0, 0, 0], [0.36, 0.48, 0.8]]) * length / 10)


# Not in the order of their numbers, and one of them in the field of a charge.
GEOMETRIES = {
    7: Geometry(hydrogen(0.74)),
    2: Geometry(hydrogen(0.8), PointCharges(np.array([[0.0, 0.0, 6.0]]), np.array([0.5]))),
    3: Geometry(hydrogen(0.9)),
}


def assert_same(first: dict[int, Absorption], second: dict[int, Absorption]) -> None:
    """To the last bit, and in the same order; wall times differ."""
    assert list(first) == list(second)
    for number, one in first.items():
        for field in fields(one):
            if field.name != "seconds":
                assert np.array_equal(getattr(one, field.name), getattr(second[number], field.name)), field.name


@pytest.fixture(scope="module")
def serial() -> dict[int, Absorption]:
    return absorptions(GEOMETRIES, SETTINGS)


@pytest.fixture
def scheduler() -> Iterator[str]:
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, protocol="tcp://", dashboard_address=":0"
    ) as cluster:
        yield cluster.scheduler_address


def test_processes_give_what_one_gives(serial: dict[int, Absorption]) -> None:
    told: list[int] = []
    assert_same(absorptions(GEOMETRIES, SETTINGS, told.append, LocalProcesses(2)), serial)
    assert told == [0, 1, 2, 3]
    assert np.abs(serial[7].strength - serial[3].strength).max() > 1e-3


def test_what_else_the_process_holds_changes_nothing(
    serial: dict[int, Absorption], monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyscf.lib

    monkeypatch.setattr(pyscf.lib, "current_memory", lambda: (9000.0, 9000.0))
    assert_same(absorptions(GEOMETRIES, SETTINGS), serial)


def test_running_scheduler(serial: dict[int, Absorption], scheduler: str) -> None:
    assert_same(absorptions(GEOMETRIES, SETTINGS, workers=RunningScheduler(scheduler)), serial)


def test_scheduler_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_CONNECTION_SECONDS", 0.5)
    with pytest.raises(ElectronDynamicsError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        absorptions(GEOMETRIES, SETTINGS, workers=RunningScheduler("tcp://127.0.0.1:9"))


def test_without_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingDependencyError, match=r"openmm-kstep\[rttddft\]"):
        absorptions(GEOMETRIES, SETTINGS, workers=LocalProcesses(2))


def test_without_the_means_to_limit_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    with pytest.raises(MissingDependencyError, match=r"threadpoolctl.*openmm-kstep\[rttddft\]"):
        absorptions(GEOMETRIES, SETTINGS)


def dying(item: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return item


@pytest.mark.slow
def test_process_that_dies_again_and_again() -> None:
    with pytest.raises(WorkerError, match="geometry 4: its process was lost"):
        list(LocalProcesses(1).results(dying, {4: 0}))


def faulty(item: int) -> int:
    return item // 0


@pytest.mark.parametrize("number", [0, 1.5, True])
def test_impossible_numbers_of_processes(number: Any) -> None:
    with pytest.raises(ElectronDynamicsError, match="number of workers"):
        LocalProcesses(number)


def test_unexpected_errors_name_the_geometry_too() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        list(InProcess().results(faulty, {5: 1}))
    assert caught.value.__notes__ == ["in geometry 5"]


@pytest.mark.parametrize("workers", [InProcess(), LocalProcesses(2)], ids=["serial", "processes"])
def test_error_of_one_geometry_stops_the_others(tmp_path: Path, workers: GeometryWorkers) -> None:
    """Nuclei on top of each other make large basis sets linearly dependent."""
    settings = replace(SETTINGS, level=LevelOfTheory("rhf", "aug-cc-pvtz"), steps=20, directions=("x",))
    lengths = {10: 0.74, 11: 0.11, **{number: 0.01 * number for number in range(75, 87)}}
    geometries = {number: Geometry(hydrogen(length)) for number, length in lengths.items()}
    saved = SavedAbsorptions(tmp_path / "saved", settings, resume=False)
    with pytest.raises(ElectronDynamicsError, match=r"^geometry 11: the basis set is linearly dependent"):
        absorptions(geometries, settings, workers=workers, saved=saved)
    assert saved.number <= 6
    if isinstance(workers, InProcess):
        assert list(saved.load(geometries)) == [10]


def test_finished_geometries_are_not_computed_again(tmp_path: Path, serial: dict[int, Absorption]) -> None:
    folder = tmp_path / "saved"
    saved = SavedAbsorptions(folder, SETTINGS, resume=False)
    absorptions({number: GEOMETRIES[number] for number in (3, 7)}, SETTINGS, saved=saved)
    assert saved.number == 2 and len(list(folder.iterdir())) == 3
    before = saved.load(GEOMETRIES)
    assert_same(before, {number: serial[number] for number in (7, 3)})
    told: list[int] = []
    after = absorptions(GEOMETRIES, SETTINGS, told.append, saved=SavedAbsorptions(folder, SETTINGS, resume=True))
    assert told == [2, 3]
    assert_same(after, serial)
    assert [after[number].seconds for number in (7, 3)] == [before[number].seconds for number in (7, 3)]
    # A geometry that moved, or whose charges did, is another one.
    moved = {7: Geometry(hydrogen(0.74 + 1e-9)), 2: Geometry(hydrogen(0.8)), 3: GEOMETRIES[3]}
    assert list(saved.load(moved)) == [3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kick": 2e-3}, r"kick was 0\.001, is 0\.002"),
        ({"level": LevelOfTheory("rhf", "6-31g")}, "level was"),
        ({"propagator": Magnus2(0.2, tolerance=1e-7)}, "propagator was"),
        ({"steps": 26}, "steps was 25, is 26"),
        ({"frequencies": np.arange(0.0, 1.0, 0.02)}, "frequencies was"),
        ({"directions": ("x", "y")}, "directions was"),
        ({"pade": True}, "pade was false, is true"),
    ],
)
def test_other_settings_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    result = Absorption(np.zeros(3), np.zeros(0), -1.0, 3, 0.1)
    SavedAbsorptions(tmp_path / "saved", SETTINGS, False).save(GEOMETRIES[7], result)
    with pytest.raises(ElectronDynamicsError, match=message):
        SavedAbsorptions(tmp_path / "saved", replace(SETTINGS, **changes), resume=True)
    with pytest.raises(ElectronDynamicsError, match="--resume"):
        SavedAbsorptions(tmp_path / "saved", SETTINGS, resume=False)
    (loaded,) = SavedAbsorptions(tmp_path / "saved", SETTINGS, resume=True).load(GEOMETRIES).values()
    assert_same({7: loaded}, {7: result})


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("dear diary")
    with pytest.raises(ElectronDynamicsError, match="is in the way"):
        SavedAbsorptions(tmp_path, SETTINGS, resume=True)
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(ElectronDynamicsError, match="is in the way"):
        SavedAbsorptions(tmp_path, SETTINGS, resume=True)
    (tmp_path / "file").touch()
    with pytest.raises(ElectronDynamicsError, match="is in the way"):
        SavedAbsorptions(tmp_path / "file", SETTINGS, resume=True)


def test_killed_before_anything_was_written(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / ".settings.json.5a.partial").write_text('{"sch')
    for resume in (True, False):
        saved = SavedAbsorptions(folder, SETTINGS, resume)
        assert saved.load(GEOMETRIES) == {}
    saved.save(GEOMETRIES[7], Absorption(np.zeros(3), np.zeros(0), -1.0, 3, 0.1))
    assert list(SavedAbsorptions(folder, SETTINGS, resume=True).load(GEOMETRIES)) == [7]


def test_damaged_result_is_named(tmp_path: Path) -> None:
    saved = SavedAbsorptions(tmp_path / "saved", SETTINGS, False)
    saved.save(GEOMETRIES[7], Absorption(np.zeros(3), np.zeros(0), -1.0, 3, 0.1))
    (path,) = set((tmp_path / "saved").glob("*.json")) - {tmp_path / "saved" / "settings.json"}
    path.write_text('{"strength": [0')
    with pytest.raises(ElectronDynamicsError, match=path.name):
        saved.load(GEOMETRIES)


def test_numbers_of_thinned_geometries() -> None:
    geometries = [Geometry(hydrogen(0.7 + 0.01 * index)) for index in range(9)]
    kept = thinned(geometries, 3)
    assert list(kept) == [0, 4, 8] and kept[4] is geometries[4]
    assert list(thinned(geometries, None)) == list(range(9))


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A configuration for six geometries of H2."""
    images = [ase.Atoms("HH", [[0, 0, 0], [0, 0, 0.7 + 0.05 * index]]) for index in range(6)]
    ase.io.write(tmp_path / "h2.xyz", images)
    level = {"method": "rhf", "basis": "sto-3g"}
    content = {
        "geometries": "h2.xyz",
        "level": level,
        "reduction": None,
        "time": "1.5 fs",
        "time_step": "10 as",
        "highest": 40,
    }
    (tmp_path / "scan.yaml").write_text(yaml.safe_dump(content))
    return tmp_path


def spectra(path: Path) -> list[Any]:
    content = json.loads(path.read_text())
    for geometry in content["geometries"]:
        del geometry["seconds"]
    return [content["mean_per_ev"], content["lines"], content["geometries"]]


@pytest.mark.parametrize("workers", [1, 2])
def test_scan_that_was_killed_is_resumed(scan: Path, workers: int) -> None:
    command = ["spectrum", str(scan / "scan.yaml"), "--output", str(scan / "parts.json"), "--workers", str(workers)]
    (scan / "kstep.py").write_text(KILLED)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.run([sys.executable, str(scan / "kstep.py"), *command], env=environment)
    assert process.returncode == -signal.SIGKILL
    folder = scan / "parts.unfinished"
    kept = {json.loads(path.read_text())["seconds"] for path in folder.glob("*.json") if path.name != "settings.json"}
    assert len(kept) == 2
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 1 and "finished geometries of a run that did not end" in " ".join(again.output.split())
    again = CliRunner().invoke(app, [*command, "--resume"])
    assert again.exit_code == 0, again.output
    assert f"geometries: {len(kept)} of 6" in again.output and "geometries: 6 of 6" in again.output
    assert not folder.exists()
    whole = CliRunner().invoke(app, ["spectrum", str(scan / "scan.yaml"), "--output", str(scan / "whole.json")])
    assert whole.exit_code == 0, whole.output
    # Without an explanation: pytest would look for minutes for what differs between two lists of this length.
    same = spectra(scan / "parts.json") == spectra(scan / "whole.json")
    assert same, f"{scan / 'parts.json'} and {scan / 'whole.json'} differ"
    results = json.loads((scan / "parts.json").read_text())["geometries"]
    assert kept < {geometry["seconds"] for geometry in results}
    assert [geometry["number"] for geometry in results] == list(range(6))


def test_either_workers_or_a_scheduler(scan: Path) -> None:
    command = ["spectrum", str(scan / "scan.yaml"), "--workers", "2", "--scheduler", "tcp://127.0.0.1:9"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1 and "either --workers" in " ".join(result.output.split())
    content = yaml.safe_load((scan / "scan.yaml").read_text()) | {"workers": 2, "scheduler": "tcp://127.0.0.1:9"}
    (scan / "scan.yaml").write_text(yaml.safe_dump(content))
    result = CliRunner().invoke(app, command[:2])
    assert result.exit_code == 1 and "give either 'workers'" in " ".join(result.output.split())


def test_scan_on_a_scheduler_from_the_command_line(scan: Path, scheduler: str) -> None:
    """Of a scan each geometry has its own lines, which move to lower energies with the bond's length."""
    output = scan / "scan.json"
    (scan / "scan.yaml").write_text((scan / "scan.yaml").read_text() + "kind: scan\ndirections: [z]\n")
    arguments = ["spectrum", str(scan / "scan.yaml"), "--output", str(output), "--scheduler", scheduler]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    results = json.loads(output.read_text())
    assert results["configuration"]["scheduler"] == scheduler
    assert output.with_suffix(".png").stat().st_size > 1000
    places = np.array([geometry["strength_per_ev"] for geometry in results["geometries"]]).argmax(axis=1)
    assert np.all(np.diff(places) < 0)
    for geometry in results["geometries"]:
        assert f"{geometry['lines_ev'][-1]:.3f}" in result.output


def test_error_on_the_command_line_tells_what_is_kept(scan: Path) -> None:
    ase.io.write(scan / "h2.xyz", [ase.Atoms("HH", [[0, 0, 0], [0, 0, length]]) for length in (0.7, 0.8, 0.11)])
    content = yaml.safe_load((scan / "scan.yaml").read_text()) | {"time": "0.3 fs", "directions": ["z"]}
    content["level"]["basis"] = "aug-cc-pvtz"
    (scan / "scan.yaml").write_text(yaml.safe_dump(content))
    arguments = ["spectrum", str(scan / "scan.yaml"), "--output", str(scan / "out.json")]
    result = CliRunner().invoke(app, arguments)
    text = " ".join(result.output.split())
    assert result.exit_code == 1 and "geometry 2: the basis set" in text and "--resume goes on" in text
    assert len(list((scan / "out.unfinished").glob("*.json"))) == 3
    assert not (scan / "out.json").exists()
