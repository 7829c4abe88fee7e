"""``kstep run``: outputs, report, refusals, and exact continuation after kill -9."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import h5py
import pytest
from typer.testing import CliRunner

from openmmkstep.cli import app
from openmmkstep.io import dcd
from openmmkstep.io.frames import count_frames
from tests.support.workflows.same_run import assert_same_trajectory
from tests.support.workflows.stopped_run import kill_at, start
from tests.support.yaml_files import write_yaml


def invoke(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_run_ends_with_its_report(work_folder: Path, gas_run: dict[str, Any]) -> None:
    config = write_yaml(work_folder / "run.yaml", gas_run)
    result = CliRunner().invoke(app, ["run", str(config)])
    assert result.exit_code == 0, result.output
    report = work_folder / "out" / "report"
    for name in ("report.html", "report.json", "energy.png", "correction.png", "ramachandran.png", "cost.png"):
        assert (report / name).stat().st_size > 1000, name
    summary = json.loads((report / "report.json").read_text())
    calls = summary["qm_calls"]
    assert calls["made_by_integrator"] >= 61 and calls["made_by_others"] == 0
    assert calls["saved"] == 120 - calls["made"] and calls["made"] == calls["made_by_integrator"]
    assert summary["guard"]["measured_corrections"] > 0 and summary["guard"]["mean_correction_rms_mev_a"] > 0
    assert summary["temperature"]["region"]["mean_k"] > 100 and summary["temperature"]["rest"] is None
    assert summary["dynamics"]["k"] == 2 and summary["dynamics"]["time_ps"] == pytest.approx(0.06)
    assert summary["speed"]["speed_up"] > 0
    assert summary["guard"]["outer_steps"] == 60
    page = (report / "report.html").read_text()
    assert (
        page.count("data:image/png;base64,") == 4
        and "QM calls made by others" in page
        and "temperature, QM region" in page
    )
    with h5py.File(work_folder / "out" / "frames.h5") as file:
        assert file.attrs["frames"] == 20
    again = CliRunner().invoke(app, ["run", str(config)])
    assert again.exit_code == 0 and "taking up the run" in again.output and "production (" not in again.output


@pytest.mark.parametrize("step", [7, 35])
def test_kill_and_continue_gives_the_same_trajectory(
    work_folder: Path, gas_run: dict[str, Any], environment: dict[str, str], step: int
) -> None:
    """Killed before the first checkpoint, and in the middle of an interval, when the outputs are ahead of it."""
    gas_run["speed"] = {"time": "0 fs"}
    gas_run["equilibration"]["kstep"] = "0 fs"
    config = write_yaml(work_folder / "run.yaml", gas_run)
    invoke("run", config)
    (work_folder / "out").rename(work_folder / "whole")
    kill_at(config, step, environment)
    assert (work_folder / "out" / "checkpoint.bin").exists() == (step > 10)
    assert not (work_folder / "out" / "production.json").exists()
    assert "taking up the run" in invoke("run", config)
    assert_same_trajectory(work_folder / "whole", work_folder / "out")


@pytest.mark.parametrize(
    "intervals",
    [
        {"trajectory": "20 fs"},
        {"trajectory": "1000 fs"},
        {"frames": "1000 fs", "trajectory": "13 fs"},
        {"statistics": "1000 fs"},
        {"trajectory": "0 fs", "frames": "0 fs", "statistics": "0 fs"},
        {"trajectory": "1000 fs", "frames": "1000 fs", "statistics": "1000 fs", "checkpoint": "0 fs"},
    ],
)
def test_outputs_that_come_late_or_never(
    work_folder: Path, gas_run: dict[str, Any], environment: dict[str, str], intervals: dict[str, str]
) -> None:
    """After the first checkpoint, or after the run: in one go, and taken up when they had not come yet."""
    gas_run |= {"time": "0.025 ps", "speed": {"time": "0 fs"}}
    gas_run["output"] |= intervals
    config, out = write_yaml(work_folder / "run.yaml", gas_run), work_folder / "out"
    for taken_up in (False, True):
        if taken_up:
            kill_at(config, 12, environment)
        invoke("run", config)
        steps = {name: float(gas_run["output"][name].split()[0]) for name in ("trajectory", "frames", "statistics")}
        expected = {name: int(25 // step) if step else 0 for name, step in steps.items()}
        trajectory, statistics = out / "trajectory.dcd", out / "statistics.csv"
        frames = dcd.count_frames(trajectory) if trajectory.exists() else 0
        rows = len(statistics.read_text().splitlines()) - 1 if statistics.exists() else 0
        labelled = count_frames(out / "frames.h5") if (out / "frames.h5").exists() else 0
        assert {"trajectory": frames, "frames": labelled, "statistics": rows} == expected
        assert (out / "report" / "report.html").exists()
        shutil.rmtree(out)


def test_two_runs_in_one_folder(work_folder: Path, gas_run: dict[str, Any], environment: dict[str, str]) -> None:
    gas_run["speed"] = {"time": "0 fs"}
    config = write_yaml(work_folder / "run.yaml", gas_run)
    with start(config, 15, "wait", environment) as first:
        assert first.stdout is not None and first.stdout.readline() == "waiting\n"
        for arguments in ([], ["--fresh"]):
            second = CliRunner().invoke(app, ["run", str(config), *arguments])
            assert second.exit_code == 1
            assert re.fullmatch(rf"error: \S+out is being written by process {first.pid} on .*\n", second.output)
        _, errors = first.communicate("go on\n", timeout=300)
    assert first.returncode == 0, errors
    with h5py.File(work_folder / "out" / "frames.h5") as file:
        assert file.attrs["frames"] == 20
    assert len((work_folder / "out" / "statistics.csv").read_text().splitlines()) == 61


@pytest.mark.parametrize(
    ("section", "changes", "message"),
    [
        ("surrogate", {"archive": "nothing.pt"}, "does not exist"),
        ("qm", {"atoms": "0-5"}, "cuts 1 bond"),
        ("qm", {"charge": 1}, "multiplicity must be even"),
        ("qm", {"method": "gfn7"}, "unknown QM method"),
        ("system", {"structure": "nothing.pdb"}, "nothing.pdb does not exist"),
        ("integrator", {"kk": 3}, "did you mean integrator.k?"),
        ("qm", {"settings": {"max_iterationz": 3}}, "did you mean 'max_iterations'?"),
        ("qm", {"settings": {"threads": 0}}, "threads must be a positive integer"),
    ],
)
def test_bad_input_is_refused_before_any_dynamics(
    work_folder: Path, gas_run: dict[str, Any], section: str, changes: dict[str, Any], message: str
) -> None:
    gas_run[section] |= changes
    # Long enough to notice if it ran.
    gas_run["equilibration"]["force_field"] = "10 ns"
    result = CliRunner().invoke(app, ["run", str(write_yaml(work_folder / "run.yaml", gas_run))])
    assert result.exit_code == 1
    assert message in " ".join(result.output.split())
    assert "Traceback" not in result.output


def test_another_run_in_the_folder(work_folder: Path, gas_run: dict[str, Any]) -> None:
    gas_run["time"] = "0.002 ps"
    gas_run["speed"] = {"time": "0 fs"}
    assert CliRunner().invoke(app, ["run", str(write_yaml(work_folder / "run.yaml", gas_run))]).exit_code == 0
    gas_run["seed"] = 4
    config = write_yaml(work_folder / "run.yaml", gas_run)
    refused = CliRunner().invoke(app, ["run", str(config)])
    assert refused.exit_code == 1 and "--fresh" in refused.output
    again = CliRunner().invoke(app, ["run", str(config), "--fresh"])
    assert again.exit_code == 0, again.output


def test_run_in_water(work_folder: Path, gas_run: dict[str, Any]) -> None:
    """Everything at once: solvent, embedding with cut-off, base level, slow nonbonded forces, on the CPU platform."""
    gas_run["system"] |= {"force_field": ["amber14-all.xml", "amber14/tip3p.xml"], "solvent": {"box_size": "2 nm"}}
    gas_run["qm"] |= {"atoms": "solute", "cutoff": "0.6 nm", "switch_distance": "0.5 nm"}
    gas_run["integrator"] |= {"nonbonded_period": 2}
    gas_run |= {"platform": "CPU", "time": "0.01 ps"}
    result = CliRunner().invoke(app, ["run", str(write_yaml(work_folder / "run.yaml", gas_run))])
    assert result.exit_code == 0, result.output
    with h5py.File(work_folder / "out" / "frames.h5") as file:
        assert file.attrs["frames"] == 3
        assert len(file["environment/charges"]) == file["environment/offset"][3] > 300
    summary = json.loads((work_folder / "out" / "report" / "report.json").read_text())
    assert summary["system"]["mm_particles"] > 600
    assert summary["speed"]["kstep"]["parts"]["common"] > 0
    for part in ("region", "rest"):
        assert 100 < summary["temperature"][part]["mean_k"] < 500 and summary["temperature"][part]["error_k"] > 0
    page = (work_folder / "out" / "report" / "report.html").read_text()
    assert "temperature, QM region" in page and "temperature, rest" in page
