"""``kstep run``: outputs, report, refusals, and exact continuation after kill -9."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from openmmkstep.cli import app
from tests.support.yaml_files import write_yaml

COMMAND = [sys.executable, "-c", "from openmmkstep.cli import main; main()"]
# Columns of the statistics that are wall times.
TIMES = {"qmTime", "commonTime", "integratorTime", "surrogateTime0", "surrogateTime1"}


def test_run_ends_with_its_report(work_folder: Path, gas_run: dict[str, Any]) -> None:
    config = write_yaml(work_folder / "run.yaml", gas_run)
    result = CliRunner().invoke(app, ["run", str(config)])
    assert result.exit_code == 0, result.output
    report = work_folder / "out" / "report"
    for name in ("report.html", "report.json", "energy.png", "correction.png", "ramachandran.png", "cost.png"):
        assert (report / name).stat().st_size > 1000, name
    summary = json.loads((report / "report.json").read_text())
    assert summary["qmCalls"]["made"] >= 61
    assert summary["qmCalls"]["saved"] == 120 - summary["qmCalls"]["made"]
    assert summary["dynamics"]["k"] == 2 and summary["dynamics"]["time_ps"] == pytest.approx(0.06)
    assert summary["speed"]["speed_up"] > 0
    assert summary["guard"]["outerSteps"] == 60
    page = (report / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 4 and "QM calls made" in page
    with h5py.File(work_folder / "out" / "frames.h5") as file:
        assert file.attrs["frames"] == 20
    again = CliRunner().invoke(app, ["run", str(config)])
    assert again.exit_code == 0 and "taking up the run" in again.output and "production (" not in again.output


def test_kill_and_continue_gives_the_same_trajectory(
    work_folder: Path, gas_run: dict[str, Any], environment: dict[str, str]
) -> None:
    gas_run["speed"] = {"time": "0 fs"}
    gas_run["time"] = "0.2 ps"
    gas_run["equilibration"]["kstep"] = "0 fs"
    whole = write_yaml(work_folder / "whole.yaml", gas_run)
    subprocess.run([*COMMAND, "run", str(whole)], env=environment, check=True, capture_output=True, timeout=300)
    (work_folder / "out").rename(work_folder / "whole")
    killed = subprocess.Popen([*COMMAND, "run", str(whole)], env=environment, stdout=subprocess.DEVNULL)
    checkpoint = work_folder / "out" / "checkpoint.bin"
    limit = time.monotonic() + 200
    while not checkpoint.exists() and time.monotonic() < limit:
        assert killed.poll() is None
        time.sleep(0.005)
    # A little later, in the middle of an interval, so that the outputs are ahead of the checkpoint.
    time.sleep(0.15)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not (work_folder / "out" / "production.json").exists(), "killed too late to test anything"
    subprocess.run([*COMMAND, "run", str(whole)], env=environment, check=True, capture_output=True, timeout=300)
    assert_same_trajectory(work_folder / "whole", work_folder / "out")


def assert_same_trajectory(first: Path, second: Path) -> None:
    """To the last bit, but for wall times and the date in the head of the DCD file."""
    a, b = ((folder / "trajectory.dcd").read_bytes() for folder in (first, second))
    assert a[:176] == b[:176] and a[260:] == b[260:]
    with h5py.File(first / "frames.h5") as f, h5py.File(second / "frames.h5") as g:
        assert f.attrs["frames"] == g.attrs["frames"] > 0
        for name in f["frames"]:
            assert np.array_equal(f["frames"][name], g["frames"][name]), name
    rows = [list(csv.DictReader((folder / "statistics.csv").open())) for folder in (first, second)]
    assert len(rows[0]) == len(rows[1]) > 0
    for left, right in zip(*rows, strict=True):
        assert {k: v for k, v in left.items() if k not in TIMES} == {k: v for k, v in right.items() if k not in TIMES}
    with np.load(first / "final.npz") as f, np.load(second / "final.npz") as g:
        assert np.array_equal(f["positions"], g["positions"]) and np.array_equal(f["velocities"], g["velocities"])


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
