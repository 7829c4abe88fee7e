"""From ``kstep generate-responses`` to a spectrum with the network that was trained on them."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase
import ase.build
import ase.io
import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from kstep_models.rttddft.network import ResponseNetworkConfig
from kstep_models.rttddft.response_file import ResponseFile
from openmmkstep.cli import app
from openmmkstep.workflows.spectra import responses
from tests.support.yaml_files import write_yaml

LEVEL = {"method": "rks", "functional": "pbe0", "basis": "sto-3g", "grid_level": 0}


@pytest.fixture
def kstep(environment: dict[str, str]) -> Callable[..., str]:
    """Runs a command in a process of its own and returns what it prints."""

    def run(*arguments: object) -> str:
        command = [sys.executable, "-c", "from openmmkstep.cli import main; main()", *map(str, arguments)]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    return run


def generated(folder: Path, name: str, **changes: Any) -> Any:
    config = {"molecules": ["H2"], "geometries": 3, "displacement": 0.05, "level": LEVEL, **changes}
    arguments = [str(write_yaml(folder / "responses.yaml", config)), "--output", str(folder / name)]
    return CliRunner().invoke(app, ["generate-responses", *arguments])


def same(one: Path, other: Path) -> bool:
    files = [ResponseFile(path) for path in (one, other)]
    return (files[0].basis, files[0].level) == (files[1].basis, files[1].level) and all(
        np.array_equal(getattr(a.records, entry.name), getattr(b.records, entry.name))
        for a, b in zip(*files, strict=True)
        for entry in dataclasses.fields(a.records)
    )


@pytest.mark.slow
def test_from_responses_to_a_spectrum(
    tmp_path: Path, kstep: Callable[..., str], small_size: ResponseNetworkConfig
) -> None:
    """Each command in a fresh process, as a user has it."""
    config = {"molecules": ["H2"], "geometries": 12, "displacement": 0.03, "level": LEVEL}
    responses = tmp_path / "responses.h5"
    kstep("generate-responses", write_yaml(tmp_path / "responses.yaml", config), "--output", responses)
    assert len(ResponseFile(responses).read("H2")) == 12
    training = {
        "method": "response",
        "data": {"files": ["responses.h5"]},
        "model": small_size.written(),
        "members": 1,
        "output": "run",
    }
    assert "H2" in kstep("train", write_yaml(tmp_path / "train.yaml", training))
    kstep("export", tmp_path / "run" / "last.ckpt", tmp_path / "model.pt")
    assert "10 geometries of H2" in (tmp_path / "model.md").read_text()
    hydrogen = ase.build.molecule("H2")
    hydrogen.positions[0, 2] += 0.02
    ase.io.write(tmp_path / "hydrogen.xyz", hydrogen)
    results = []
    for name, reduction in (("learned", {"response": "model.pt"}), ("full", None)):
        spectrum = {
            "geometries": "hydrogen.xyz",
            "level": LEVEL,
            "time": "3 fs",
            "time_step": "10 as",
            "highest": 40,
            "directions": ["z"],
            "reduction": reduction,
        }
        kstep("spectrum", write_yaml(tmp_path / f"{name}.yaml", spectrum), "--output", tmp_path / f"{name}.json")
        results.append(json.loads((tmp_path / f"{name}.json").read_text()))
    own, full = (np.array(result["mean_per_ev"]) for result in results)
    assert np.linalg.norm(own - full) < 0.03 * np.linalg.norm(full)
    assert own.max() > 0.1
    # Of the ground state and of what the network's error asks for; the full one takes hundreds.
    assert results[0]["fock_builds"] < 10 < 100 < results[1]["fock_builds"]


def test_extended_files_are_those_written_in_one_go(tmp_path: Path) -> None:
    assert generated(tmp_path, "whole.h5", molecules=["H2", "LiH"]).exit_code == 0
    assert generated(tmp_path, "grown.h5", molecules=["H2", "LiH"], geometries=1).exit_code == 0
    first = ResponseFile(tmp_path / "grown.h5").read("H2").records.response
    result = generated(tmp_path, "grown.h5", molecules=["H2", "LiH"])
    assert result.exit_code == 0 and "grown.h5" in result.output
    assert same(tmp_path / "whole.h5", tmp_path / "grown.h5")
    assert np.array_equal(ResponseFile(tmp_path / "grown.h5").read("H2").records.response[:1], first)
    assert ResponseFile(tmp_path / "whole.h5").molecules == ("H2", "LiH")
    # No geometry is another's.
    positions = ResponseFile(tmp_path / "whole.h5").read("H2").records.positions
    assert np.abs(positions[0] - positions[1]).max() > 1e-3 < np.abs(positions[1] - positions[2]).max()


def test_interrupted_is_uninterrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped within the second of three geometries, with the record half written, and begun again."""
    assert generated(tmp_path, "whole.h5").exit_code == 0
    compute, calls = responses.response_record, []

    def stopping(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return compute(*arguments)

    monkeypatch.setattr(responses, "response_record", stopping)
    assert generated(tmp_path, "cut.h5").exit_code != 0
    assert len(ResponseFile(tmp_path / "cut.h5").read("H2")) == 1
    with h5py.File(tmp_path / "cut.h5", "r+") as file:
        file["H2"]["positions"].resize(2, axis=0)
    assert generated(tmp_path, "cut.h5").exit_code == 0
    # The first is not computed again.
    assert len(calls) == 4
    assert same(tmp_path / "whole.h5", tmp_path / "cut.h5")


def test_geometries_from_a_file(tmp_path: Path) -> None:
    """Taken in turn; without displacement they are those in the file."""
    images = [ase.Atoms("HH", [[0, 0, 0], [0, 0, distance]]) for distance in (0.7, 0.8)]
    ase.io.write(tmp_path / "pairs.xyz", images)
    assert generated(tmp_path, "r.h5", molecules=["pairs.xyz"], displacement=0.0).exit_code == 0
    positions = ResponseFile(tmp_path / "r.h5").read("pairs").records.positions
    distances = np.linalg.norm(positions[:, 1] - positions[:, 0], axis=1) * 0.529177210903
    np.testing.assert_allclose(distances, [0.7, 0.8, 0.7], atol=1e-8)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"molecules": []}, "molecules"),
        ({"molecules": ["XyzQ"]}, "ASE knows no molecule XyzQ"),
        ({"molecules": ["none.xyz"]}, "none.xyz"),
        ({"molecules": ["H2", "H2"]}, "two molecules are called H2"),
        ({"molecules": ["OH"]}, "OH with charge 0 has 9 electrons"),
        ({"level": {**LEVEL, "method": "uks"}}, "closed shell"),
        ({"level": {**LEVEL, "functional": "tpss"}}, "LDA or GGA"),
        ({"level": {"method": "rhf", "basis": "sto-3g"}}, "closed shell"),
        ({"elements": [8]}, "elements lacks [1]"),
        ({"auxiliary_basis": "no-such-ri"}, "'no-such-ri' is not known"),
        ({"geometries": 0}, "geometries"),
        ({"displacment": 0.1}, "displacement"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    result = generated(tmp_path, "r.h5", **changes)
    assert result.exit_code != 0
    assert reason in " ".join(result.output.split())
    assert "Traceback" not in result.output and not (tmp_path / "r.h5").exists()


def test_other_levels_do_not_go_into_one_file(tmp_path: Path) -> None:
    assert generated(tmp_path, "r.h5", geometries=1).exit_code == 0
    result = generated(tmp_path, "r.h5", level={**LEVEL, "functional": "pbe"})
    assert result.exit_code != 0 and "another level_of_theory" in " ".join(result.output.split())
    result = generated(tmp_path, "r.h5", elements=[1, 8])
    assert result.exit_code != 0 and "another auxiliary_basis" in " ".join(result.output.split())
    assert len(ResponseFile(tmp_path / "r.h5").read("H2")) == 1
