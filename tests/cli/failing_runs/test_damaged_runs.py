"""A file of a run that is damaged or gone: the results are the same, or the error says which file and what to do."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from openmmkstep.cli import app
from tests.support.workflows.damage import DAMAGES
from tests.support.workflows.gas_run import configuration, fill_folder, process_environment
from tests.support.workflows.same_run import assert_same_run
from tests.support.workflows.stopped_run import kill_at
from tests.support.yaml_files import write_yaml

_EARLY = (
    "run.json",
    "digests.json",
    "topology.json",
    "forcefield-system.xml",
    "prepared.pdb",
    "equilibration.npz",
    "equilibration.csv",
    "equilibrated.npz",
    "start.npz",
    "trajectory.dcd",
    "frames.h5",
    "statistics.csv",
    "energies.csv",
)
FILES = {
    "before the first checkpoint": _EARLY,
    "after a checkpoint": (*_EARLY, "checkpoint.bin"),
    "finished": (*_EARLY, "checkpoint.bin", "final.npz", "production.json", "speed.json"),
}


@dataclass(frozen=True)
class Runs:
    """Folders that all hold one run.

    Attributes:
        config: of the run.
        states: how far it went -> folder to be copied.
        whole: the finished run.
    """

    config: Path
    states: dict[str, Path]
    whole: Path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("runs")
    fill_folder(folder)
    content = configuration() | {"time": "0.024 ps"}
    config = write_yaml(folder / "run.yaml", content)
    states = {}
    for name, step in {"before the first checkpoint": 7, "after a checkpoint": 17}.items():
        kill_at(config, step, process_environment())
        states[name] = (folder / "out").rename(folder / name)
    result = CliRunner().invoke(app, ["run", str(config)])
    assert result.exit_code == 0, result.output
    states["finished"] = (folder / "out").rename(folder / "finished")
    for name, path in states.items():
        assert {file.name for file in path.iterdir() if file.is_file()} - {".lock"} == set(FILES[name])
    return Runs(config, states, folder / "finished")


def run_again(runs: Runs, state: str) -> Path:
    """A copy of a folder, where the run will find it."""
    out = runs.config.parent / "out"
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(runs.states[state], out)
    return out


@pytest.mark.parametrize(("state", "file"), [(state, file) for state, files in FILES.items() for file in files])
def test_damage(runs: Runs, state: str, file: str) -> None:
    refused, remedied, identical = 0, False, 0
    for name, damage in DAMAGES.items():
        if identical == 2:
            # What is not read does no harm, and the rest would show the same.
            break
        out = run_again(runs, state)
        damage(out / file)
        result = CliRunner().invoke(app, ["run", str(runs.config)])
        if result.exit_code == 0:
            assert_same_run(runs.whole, out)
            identical += 1
            continue
        assert isinstance(result.exception, SystemExit), (name, result.exception)
        assert result.exit_code == 1
        errors = [line for line in result.output.splitlines() if "error" in line]
        assert len(errors) == 1 and errors[0] == result.output.splitlines()[-1], (name, result.output)
        assert errors[0].startswith("error: ") and f"/{file} " in errors[0] and ": re" in errors[0], (name, errors)
        refused += 1
        if "remove it" in errors[0] and not remedied:
            (out / file).unlink()
            again = CliRunner().invoke(app, ["run", str(runs.config)])
            assert again.exit_code == 0, (name, again.output)
            assert_same_run(runs.whole, out)
            remedied = True
    assert identical == 2 or refused >= len(DAMAGES) - 2
