"""Files that users give to commands, damaged in all ways: the results are the same, or one line names the file."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from openmmkstep.cli import app
from tests.support.models import synthetic
from tests.support.workflows.damage import DAMAGES
from tests.support.workflows.gas_run import configuration, fill_folder
from tests.support.yaml_files import write_yaml

SMALL = {"channels": 6, "cubic_channels": 4, "message_channels": 4, "vector_channels": 3, "hidden": 12, "readout": 6}
# Every command that reads files of users, with the file that is damaged.
CASES = {
    "evaluate a checkpoint": ("evaluate run/last.ckpt gas.h5 --subset all", "run/last.ckpt"),
    "evaluate an archive": ("evaluate model.pt gas.h5 --subset all", "model.pt"),
    "evaluate on frames": ("evaluate run/last.ckpt gas.h5 --subset all", "gas.h5"),
    "export": ("export run/last.ckpt other.pt", "run/last.ckpt"),
    "train on frames": ("train train.yaml --output other", "gas.h5"),
    "continue training": ("train train.yaml --resume", "run/last.ckpt"),
    "a configuration of training": ("train train.yaml --resume", "train.yaml"),
    "fit-bonded": ("fit-bonded frames.h5 --output other.json", "frames.h5"),
    "continue frames": ("generate generate.yaml --resume", "frames.h5"),
    "a configuration of frames": ("generate generate.yaml --resume", "generate.yaml"),
    "run with a surrogate": ("run run.yaml", "springs.pt"),
    "run with a base level": ("run run.yaml", "base.json"),
    "run with a structure": ("run run.yaml", "alanine_dipeptide.pdb"),
    "a configuration of a run": ("run run.yaml", "run.yaml"),
}
# Text without checksums: a digit that is another one makes another file, not a damaged one.
PLAIN_TEXT = (".yaml", ".json", ".pdb")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything, made by the commands themselves."""
    folder = tmp_path_factory.mktemp("inputs")
    synthetic.write(folder / "gas.h5")
    fill_folder(folder)
    training = {"method": "potential", "data": {"files": ["gas.h5"]}, "output": "run", "compile": "off"}
    schedule = {"max_steps": 4, "validate_every": 2}
    write_yaml(folder / "train.yaml", {**training, "model": {**SMALL, "cutoff": 0.6}, "schedule": schedule})
    run = configuration() | {"time": "3 fs", "speed": {"time": "0 fs"}}
    sampling = {"trajectories": 2, "frames_per_trajectory": 12, "steps_per_frame": 1, "equilibration": "0 fs"}
    generation = {"system": run["system"], "qm": run["qm"], "platform": "Reference", "output": "frames.h5"}
    write_yaml(folder / "generate.yaml", {**generation, "sampling": {**sampling, "conformers": {"time": "0 fs"}}})
    run["surrogate"]["base_level"] = "base.json"
    write_yaml(folder / "run.yaml", run)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for command in (
            "train train.yaml",
            "export run/last.ckpt model.pt",
            "generate generate.yaml",
            "fit-bonded frames.h5 --output base.json",
        ):
            result = CliRunner().invoke(app, command.split())
            assert result.exit_code == 0, result.output
    return folder


def outcome(command: str, folder: Path, output: str) -> tuple[str, ...] | np.ndarray:
    """What a command that went well has done: what it printed but for times, or the final positions of a run."""
    if command.startswith("run"):
        with np.load(folder / "out" / "final.npz") as file:
            return np.asarray(file["positions"])
    return tuple(line for line in output.splitlines() if " s" not in line)


@pytest.mark.parametrize("name", CASES)
def test_damage(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    command, file = CASES[name]
    folder = tmp_path / "work"

    def fresh() -> Path:
        monkeypatch.chdir(tmp_path)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(inputs, folder)
        monkeypatch.chdir(folder)
        return folder / file

    fresh()
    result = CliRunner().invoke(app, command.split())
    assert result.exit_code == 0, result.output
    expected = outcome(command, folder, result.output)
    refused = 0
    for damage, make in DAMAGES.items():
        if file.endswith(PLAIN_TEXT) and damage.startswith("flip"):
            continue
        make(fresh())
        result = CliRunner().invoke(app, command.split())
        if result.exit_code == 0:
            same = outcome(command, folder, result.output)
            assert np.array_equal(same, expected) if isinstance(expected, np.ndarray) else same == expected, damage
            continue
        assert result.exit_code == 1 and isinstance(result.exception, SystemExit), (damage, result.exception)
        errors = [line for line in result.output.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1 and Path(file).name in errors[0], (damage, result.output)
        refused += 1
    assert refused >= 5
