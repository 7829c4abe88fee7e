"""A run whose surrogate fails now and then: what was not measured is missing in tables, means and report."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openmm import app as openmm_app
from openmm import unit
from typer.testing import CliRunner

from openmmkstep.cli import app
from openmmkstep.io.statistics import read_table
from tests.support.models.springs import FickleSprings, write_springs
from tests.support.qmmm.molecules import ALA2_PDB
from tests.support.workflows.same_run import assert_same_trajectory
from tests.support.workflows.stopped_run import kill_at
from tests.support.yaml_files import write_yaml


def test_statistics_and_report(work_folder: Path, gas_run: dict[str, Any], environment: dict[str, str]) -> None:
    """Also taken up after a checkpoint on the way."""
    pdb = openmm_app.PDBFile(str(ALA2_PDB))
    positions = pdb.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    write_springs(work_folder / "springs.pt", pdb.topology, positions, FickleSprings)
    gas_run["surrogate"] = {"archive": "springs.pt"}
    gas_run["equilibration"]["kstep"] = "0 fs"
    gas_run |= {"time": "0.024 ps", "speed": {"time": "0 fs"}}
    config = write_yaml(work_folder / "run.yaml", gas_run)
    out = work_folder / "out"
    result = CliRunner().invoke(app, ["run", str(config)])
    assert result.exit_code == 0, result.output
    summary = json.loads((out / "report" / "report.json").read_text())["guard"]
    rows = list(csv.DictReader((out / "statistics.csv").open()))
    table = read_table(out / "statistics.csv")
    rms = table["correction_rms"]
    measured = np.isfinite(rms)
    assert len(rows) == 24 == summary["outer_steps"]
    assert 0 < summary["measured_corrections"] == measured.sum() < 24
    assert [row["correction_rms"] == "" for row in rows] == [row["max_correction"] == "" for row in rows]
    assert [row["correction_rms"] == "" for row in rows] == (~measured).tolist()
    mean = np.sqrt(np.mean(rms[measured] ** 2))
    assert summary["mean_correction_rms_kj_mol_nm"] == pytest.approx(mean, rel=1e-12)
    assert summary["largest_correction_kj_mol_nm"] == table["max_correction"][measured].max()
    assert summary["fallbacks"] > 0 and "nothing is known of this geometry" in summary["last_fallback_reason"]
    assert (out / "report" / "correction.png").exists()
    assert ">nan<" not in (out / "report" / "report.html").read_text().lower()
    out.rename(work_folder / "whole")
    kill_at(config, 14, environment)
    result = CliRunner().invoke(app, ["run", str(config)])
    assert result.exit_code == 0, result.output
    assert_same_trajectory(work_folder / "whole", out)
    assert json.loads((out / "report" / "report.json").read_text())["guard"] == summary
