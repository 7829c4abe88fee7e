"""Paths in a configuration are relative to it, of inputs as of outputs, wherever a command is started."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from openmmkstep.cli import app
from tests.support.yaml_files import write_yaml


@pytest.fixture
def elsewhere(work_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder that nothing lies in."""
    folder = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(folder)
    return folder


def invoke(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_what_is_generated_is_found_by_training(work_folder: Path, elsewhere: Path) -> None:
    frames = {
        "system": {"structure": "alanine_dipeptide.pdb", "force_field": ["amber14-all.xml"]},
        "qm": {"atoms": "all"},
        "sampling": {
            "trajectories": 3,
            "frames_per_trajectory": 3,
            "steps_per_frame": 1,
            "equilibration": "0 ps",
            "conformers": {"time": "0.05 ps"},
        },
        "platform": "Reference",
        "output": "data/frames.h5",
    }
    training = {
        "method": "potential",
        "data": {"files": ["data/frames.h5"], "batch_size": 1},
        "output": "run",
        "model": {"channels": 2, "cubic_channels": 1, "message_channels": 2, "hidden": 2, "readout": 2, "layers": 1},
        "schedule": {"max_steps": 1, "validate_every": 1},
        "compile": "off",
    }
    invoke("generate", write_yaml(work_folder / "generate.yaml", frames))
    invoke("train", write_yaml(work_folder / "train.yaml", training))
    assert (work_folder / "data" / "frames.h5").is_file()
    assert (work_folder / "run" / "last.ckpt").is_file()
    assert list(elsewhere.iterdir()) == []
    # Options are relative to where the command is started.
    training["output"] = "other"
    invoke("train", write_yaml(work_folder / "train.yaml", training), "--output", "mine")
    assert (elsewhere / "mine" / "last.ckpt").is_file() and not (work_folder / "other").exists()
    metrics = json.loads((elsewhere / "mine" / "metrics.json").read_text())
    assert metrics["configuration"]["data"]["files"][0]["path"] == "data/frames.h5"


def test_a_run_in_a_nested_folder_ends_with_its_report(
    work_folder: Path, elsewhere: Path, gas_run: dict[str, Any]
) -> None:
    gas_run["output"]["folder"] = "runs/a"
    gas_run["time"] = "4 fs"
    gas_run["speed"]["time"] = "0 fs"
    config = write_yaml(work_folder / "run.yaml", gas_run)
    invoke("run", config)
    report = json.loads((work_folder / "runs" / "a" / "report" / "report.json").read_text())
    assert report["surrogate"]["level_of_theory"] == {"method": "gfn2-xtb"}
    assert list(elsewhere.iterdir()) == []
    # The folder may be moved with its configuration, and goes on as the same run.
    moved = work_folder.rename(work_folder.with_name("moved"))
    assert "taking up the run" in invoke("run", moved / "run.yaml")


@pytest.mark.parametrize("where", ["../beside", "{absolute}/there"])
def test_a_run_in_any_folder_ends_with_its_report(
    work_folder: Path, elsewhere: Path, gas_run: dict[str, Any], tmp_path_factory: pytest.TempPathFactory, where: str
) -> None:
    """Beside the folder of the configuration, or nowhere near it; the surrogate stays where it is."""
    absolute = tmp_path_factory.mktemp("absolute")
    inner = work_folder / "inner"
    inner.mkdir()
    for file in ("alanine_dipeptide.pdb", "springs.pt"):
        (work_folder / file).rename(inner / file)
    gas_run["output"]["folder"] = where.format(absolute=absolute)
    gas_run |= {"time": "4 fs", "speed": {"time": "0 fs"}}
    invoke("run", write_yaml(inner / "run.yaml", gas_run))
    folder = work_folder / "beside" if where == "../beside" else absolute / "there"
    report = json.loads((folder / "report" / "report.json").read_text())
    assert report["surrogate"]["level_of_theory"] == {"method": "gfn2-xtb"}
    assert list(elsewhere.iterdir()) == []
    assert "taking up the run" in invoke("run", inner / "run.yaml")
