"""Checks of ensembles on a water molecule, alone and among others."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from kstep_models.configuration import ConfigError, parse_config
from openmmkstep.cli import app
from openmmkstep.workflows.config.validate import ValidateConfig
from openmmkstep.workflows.run_folder import RunFolderError
from openmmkstep.workflows.validate.ensemble.sampling import runs
from openmmkstep.workflows.validate.ensemble.sampling.recording import Recording, Sampler
from openmmkstep.workflows.validate.ensemble.workflow import validate_ensemble
from tests.support.workflows.gas_run import process_environment
from tests.support.yaml_files import write_yaml

RUNS = ["k2", "k2_second", "surrogate", "plain1", "plain2"]


def check(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    config = parse_config(settings, ValidateConfig, "test", folder.parent)
    return validate_ensemble(config, folder, False, Console(quiet=True), lambda text: None)


def recordings(folder: Path) -> dict[str, Recording]:
    return {name: Recording.from_bytes((folder / f"{name}.npz").read_bytes()) for name in RUNS}


def test_the_command(water: dict[str, Any], tmp_path: Path) -> None:
    output = tmp_path / "out.json"
    arguments = ["validate", "ensemble", str(write_yaml(tmp_path / "validate.yaml", water)), "--output", str(output)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "too short to tell" in result.output and "k = 2: 0.304 ps" in result.output
    values = json.loads(output.read_text())
    assert values["schema"] == "kstep-ensemble" and list(values["runs"]) == RUNS
    for name, run in values["runs"].items():
        assert run["finished"] and run["time_ps"] == pytest.approx(0.2 if "plain" in name else 0.3)
        assert set(run["kinetic"]["elements"]) == {"H", "O", "all"} and len(run["kinetic"]["modes_k"]) == 9
        assert (run["structure"] is None) == (name in ("plain1", "k2_second"))
    assert values["runs"]["k2"]["qm_calls"] == 305 and values["runs"]["plain1"]["qm_calls"] == 409
    assert values["runs"]["k2_second"]["temperature_k"] == 400
    # Bend and stretches of GFN2-xTB, above hindered nothing: a free molecule.
    modes = np.array(values["normal_modes_cm"])
    assert np.abs(modes[:6]).max() < 150 and 1400 < modes[6] < 1700 < 3300 < modes[7] < modes[8] < 3900
    checks = {row["check"] for row in values["verdicts"] if row["run"] == "k = 2"}
    assert {"temperature, H", "bonds, RMSE of means", "distribution of kinetic energy"} <= checks
    assert {row["verdict"] for row in values["verdicts"]} <= {"inside", "outside", "too short to tell"}
    page = (tmp_path / "out" / "ensemble.html").read_text()
    assert page.count("data:image/png") >= 5 and 'class="inside"' in page
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 0 and "outer steps" not in again.output
    for row, before in zip(json.loads(output.read_text())["verdicts"], values["verdicts"], strict=True):
        assert row["verdict"] == before["verdict"]
        assert row["value"] == (None if before["value"] is None else pytest.approx(before["value"], rel=1e-9))
    water["ensemble"]["friction"] = "1 /ps"
    write_yaml(tmp_path / "validate.yaml", water)
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 1 and "other settings (ensemble.friction)" in " ".join(refused.output.split())
    assert CliRunner().invoke(app, [*arguments[:-1], str(tmp_path / "out")]).exit_code == 1


def test_what_was_interrupted_goes_on_as_if_it_had_not_been(
    water: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(water, tmp_path / "whole")
    calls, advance = [], Sampler.advance

    def interrupted(sampler: Sampler, until: int, progress: Any) -> None:
        calls.append(until)
        before, after = len(calls) % 6 == 3, len(calls) % 6 == 0
        if before:
            raise KeyboardInterrupt
        advance(sampler, until, progress)
        if after:  # when the piece is done, and not written yet
            raise KeyboardInterrupt

    monkeypatch.setattr(Sampler, "advance", interrupted)
    attempts = 0
    while True:
        try:
            check(water, tmp_path / "parts")
            break
        except KeyboardInterrupt:
            attempts += 1
    assert attempts > 3
    whole, parts = recordings(tmp_path / "whole"), recordings(tmp_path / "parts")
    for name in RUNS:
        assert whole[name].steps == parts[name].steps
        for array in ("velocities", "positions", "frame_velocities", "potential"):
            assert np.array_equal(getattr(whole[name], array), getattr(parts[name], array)), (name, array)


_KILLED = """
import os, signal, sys
from pathlib import Path
from rich.console import Console
from kstep_models.configuration import load_config
from openmmkstep.workflows.config.validate import ValidateConfig
from openmmkstep.workflows.validate.ensemble.sampling import runs
from openmmkstep.workflows.validate.ensemble.sampling.recording import Sampler
from openmmkstep.workflows.validate.ensemble.workflow import validate_ensemble

calls, advance = [], Sampler.advance

def killed(sampler, until, progress):
    calls.append(until)
    advance(sampler, until, progress)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)

Sampler.advance = killed
config = load_config(Path(sys.argv[1]), ValidateConfig)
validate_ensemble(config, Path(sys.argv[2]), False, Console(quiet=True), print)
"""


def test_what_was_killed_goes_on(water: dict[str, Any], tmp_path: Path) -> None:
    water["ensemble"] |= {"two_temperatures": False, "normal_modes": False, "surrogate_alone": False}
    config = write_yaml(tmp_path / "validate.yaml", water)
    command = [sys.executable, "-c", _KILLED, str(config), str(tmp_path / "killed")]
    result = subprocess.run(command, env=process_environment(), capture_output=True, text=True, timeout=300)
    assert result.returncode == -signal.SIGKILL, result.stderr
    checkpoint = Recording.from_bytes((tmp_path / "killed" / "k2.npz").read_bytes())
    assert 0 < checkpoint.steps < 304
    check(water, tmp_path / "killed")
    check(water, tmp_path / "whole")
    for name in ("k2", "plain1", "plain2"):
        killed, whole = (Recording.from_bytes((tmp_path / f / f"{name}.npz").read_bytes()) for f in ("killed", "whole"))
        assert np.array_equal(killed.velocities, whole.velocities) and len(whole.velocities) > 100


def test_another_default_of_the_second_temperature_is_another_run(
    water: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    water["ensemble"] |= {"normal_modes": False, "surrogate_alone": False, "second_temperature": None}
    for temperature in (400.0, 350.0):
        monkeypatch.setattr(runs, "good_second_temperature", lambda *_, it=temperature: it)
        values = check(water, tmp_path / "out")
        assert values["runs"]["k2_second"]["temperature_k"] == temperature
        recording = Recording.from_bytes((tmp_path / "out" / "k2_second.npz").read_bytes())
        assert recording.facts["run"]["temperature"] == temperature


def test_runs_are_made_longer(water: dict[str, Any], tmp_path: Path) -> None:
    water["ensemble"] |= {"two_temperatures": False, "normal_modes": False, "surrogate_alone": False}
    check(water, tmp_path / "out")
    first = Recording.from_bytes((tmp_path / "out" / "k2.npz").read_bytes())
    water["ensemble"] |= {"time": "0.35 ps", "surrogate_alone": True}
    values = check(water, tmp_path / "out")
    longer = Recording.from_bytes((tmp_path / "out" / "k2.npz").read_bytes())
    assert list(values["runs"]) == ["k2", "surrogate", "plain1", "plain2"]
    assert len(longer.positions) > len(first.positions) > 0
    assert np.array_equal(longer.positions[: len(first.positions)], first.positions)
    water["temperature"] = "310 K"
    with pytest.raises(RunFolderError, match="temperature"):
        check(water, tmp_path / "out")


def test_in_solution(water: dict[str, Any], tmp_path: Path) -> None:
    water["system"] |= {"solvent": {"box_size": "1.9 nm"}, "nonbonded_cutoff": "0.7 nm"}
    water["qm"] |= {"cutoff": "0.7 nm", "switch_distance": "0.6 nm"}
    water["platform"] = "CPU"
    water["ensemble"] |= {"time": "0.08 ps", "plain_time": "0.05 ps", "nonbonded_period": 2, "normal_modes": False}
    water["ensemble"] |= {"two_temperatures": False, "frame_interval": "1 fs"}
    values = check({**water, "ensemble": {**water["ensemble"], "radial_distance": "0.9 nm"}}, tmp_path / "out")
    radial = values["runs"]["k2"]["structure"]["radial"]
    assert set(radial) == {"H", "O"} and 0 < radial["O"]["l1"] < 1
    counts = Recording.from_bytes((tmp_path / "out" / "k2.npz").read_bytes()).counts
    # As many neighbours as the density of water has, less those where the molecule itself is.
    assert counts[:, 0].sum(axis=1).mean() == pytest.approx(33 * 4 / 3 * np.pi * 0.9**3, rel=0.2)
    assert "solvent around O, L1 of g(r)" in {row["check"] for row in values["verdicts"]}
    with pytest.raises(ValueError, match="more than half the box"):
        check({**water, "ensemble": {**water["ensemble"], "radial_distance": "1.2 nm"}}, tmp_path / "other")


def test_a_run_that_breaks_down_is_a_result(water: dict[str, Any], tmp_path: Path) -> None:
    """Plain QM steps of 20 fs."""
    water["inner_step"] = "0.1 fs"
    water["ensemble"] |= {"plain_step": "20 fs", "plain_time": "4 ps", "time": "0.1 ps", "normal_modes": False}
    values = check(water, tmp_path / "out")
    plain = values["runs"]["plain1"]
    assert not plain["finished"] and plain["error"] and plain["time_ps"] < 4
    assert values["runs"]["k2"]["finished"] and values["runs"]["k2"]["structure"] is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ks": [2, 4, 2]}, "ks has a value twice"),
        ({"ks": []}, "at least 1 item"),
        ({"velocity_interval": "10 fs"}, "at most 4 fs"),
        ({"friction": 0}, "greater than 0"),
        ({"nonbonded_period": 3}, "must divide k = 2"),
    ],
)
def test_settings_that_cannot_be(water: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    water["ensemble"] |= changes
    with pytest.raises(ConfigError, match=message):
        parse_config(water, ValidateConfig, "test")


def test_defaults_of_other_checks_need_not_fit(water: dict[str, Any]) -> None:
    water["surrogate"] |= {"period": 3, "base_level": "force-field"}
    water["ensemble"]["ks"] = [6]
    assert parse_config(water, ValidateConfig, "test").ensemble.ks == (6,)


def test_a_method_below(water: dict[str, Any], tmp_path: Path) -> None:
    """Another QM method as surrogate: alone it samples on its own level, with another energy."""
    water["surrogate"] = {"method": "gfn1-xtb"}
    water["ensemble"] |= {"two_temperatures": False, "normal_modes": False, "time": "20 fs", "plain_time": "20 fs"}
    values = check(water, tmp_path / "out")
    assert list(values["runs"]) == ["k2", "surrogate", "plain1", "plain2"]
    assert all(run["finished"] for run in values["runs"].values())
    names = ("k2", "surrogate", "plain1", "plain2")
    means = {
        name: np.mean(Recording.from_bytes((tmp_path / "out" / f"{name}.npz").read_bytes()).potential) for name in names
    }
    # Energies of water lie hundreds of kJ/mol apart in the two methods, and fluctuate by tens.
    assert abs(means["k2"] - means["plain1"]) < 100 < abs(means["surrogate"] - means["plain1"])
