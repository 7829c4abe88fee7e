"""A run whose QM calculation fails: the geometry is kept, and the error says where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import CliRunner

from openmmkstep.cli import app
from openmmkstep.engines.protocol import QMOutput
from openmmkstep.engines.registry import create_engine, register
from tests.support.yaml_files import write_yaml


class Tiring:
    """Springs between neighbours in a chain that give up at the ninth call."""

    calls = 0

    def check(self, numbers: Any, charge: int, multiplicity: int) -> None:
        self.calls = 0

    def describe(self) -> dict[str, Any]:
        return {}

    def compute(self, positions: Any, charge_positions: Any, charges: Any, needs_potential: Any) -> QMOutput:
        self.calls += 1
        if self.calls > 8:
            raise RuntimeError("no convergence")
        zeros = np.zeros_like(positions)
        m = len(charges)
        return QMOutput(0.0, zeros, np.zeros((m, 3)), np.zeros(m), np.zeros(len(positions)), np.zeros(3))

    def reset(self) -> None:
        pass


def run(work_folder: Path, gas_run: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    gas_run["surrogate"] = None
    gas_run["integrator"] |= {"k": 1}
    config = write_yaml(work_folder / "run.yaml", {key: value for key, value in gas_run.items() if value is not None})
    result = CliRunner().invoke(app, ["run", str(config)])
    assert result.exit_code == 1
    path = work_folder / "out" / "failed_frame.json"
    assert f"The geometry at which the QM calculation failed is in {path}" in result.output
    return result, json.loads(path.read_text())


def test_failure_at_the_first_step(work_folder: Path, gas_run: dict[str, Any]) -> None:
    """Two iterations are not enough for any self-consistent calculation; the frame fails again on its own."""
    gas_run["qm"]["settings"] = {"max_iterations": 2}
    result, frame = run(work_folder, gas_run)
    assert frame["schema"] == "kstep-failed-frame" and frame["method"] == "gfn2-xtb"
    assert frame["settings"]["max_iterations"] == 2 and (frame["charge"], frame["multiplicity"]) == (0, 1)
    assert len(frame["numbers"]) == 22 and np.shape(frame["positions_nm"]) == (22, 3)
    assert frame["charges_e"] == [] and " ".join(frame["failure"].split()) in " ".join(result.output.split())


def test_failure_on_the_way(work_folder: Path, gas_run: dict[str, Any]) -> None:
    register("tiring", Tiring)
    gas_run["qm"]["method"] = "tiring"
    gas_run["output"]["checkpoint"] = "1 fs"
    result, frame = run(work_folder, gas_run)
    assert "no convergence" in frame["failure"] and "no convergence" in result.output
    assert frame["method"] == "tiring"
    again = create_engine("tiring", json.dumps(frame["settings"]), frame["numbers"], 0, 1)
    again.compute(np.array(frame["positions_nm"]), np.zeros((0, 3)), np.zeros(0), np.zeros(0, dtype=bool))


def test_other_errors_leave_no_frame(work_folder: Path, gas_run: dict[str, Any]) -> None:
    gas_run["platform"] = "None"
    config = write_yaml(work_folder / "run.yaml", gas_run)
    result = CliRunner().invoke(app, ["run", str(config)])
    assert result.exit_code == 1 and "failed is in" not in result.output
    assert not (work_folder / "out" / "failed_frame.json").exists()
