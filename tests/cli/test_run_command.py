"""``kstep run``: outputs, report, refusals, and exact continuation after kill -9."""

from __future__ import annotations

import json
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import openmm.app
import pytest
from rich.console import Console
from typer.testing import CliRunner

from kstep_models.configuration import load_config
from kstep_models.frames import FrameFile
from openmmkstep.cli import app
from openmmkstep.engines.xtb import XTB
from openmmkstep.io import dcd
from openmmkstep.io.frames import count_frames
from openmmkstep.io.phase_space import PhaseSpacePoint
from openmmkstep.io.statistics import read_table
from openmmkstep.workflows.config.run import RunConfig
from openmmkstep.workflows.plan import RunPlan
from openmmkstep.workflows.run import production
from openmmkstep.workflows.run.runner import Runner
from openmmkstep.workflows.setup.equilibration import EquilibrationState, ForceFieldEquilibration
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
    plots = ("energy.png", "energies.png", "correction.png", "ramachandran.png", "equilibration.png", "cost.png")
    for name in ("report.html", "report.json", *plots):
        assert (report / name).stat().st_size > 1000, name
    summary = json.loads((report / "report.json").read_text())
    calls = summary["qm_calls"]
    assert calls["made_by_integrator"] >= 61 and calls["made_by_others"] == 0
    assert calls["saved"] == 120 - calls["made"] and calls["made"] == calls["made_by_integrator"]
    assert summary["guard"]["measured_corrections"] > 0 and summary["guard"]["mean_correction_rms_mev_a"] > 0
    assert summary["temperature"]["region"]["mean_k"] > 100 and summary["temperature"]["rest"] is None
    assert summary["dynamics"]["k"] == 2 and summary["dynamics"]["time_ps"] == pytest.approx(0.06)
    assert summary["speed"]["speed_up"] > 0
    parts = summary["energy_parts"]
    assert parts["potential_energy"]["mean_kj_mol"] == pytest.approx(parts["qm"]["mean_kj_mol"], rel=1e-12)
    assert parts["qm_vacuum"]["mean_kj_mol"] == pytest.approx(parts["qm"]["mean_kj_mol"], abs=1e-3)
    assert parts["qm"]["standard_deviation_kj_mol"] > 0
    assert summary["guard"]["outer_steps"] == 60
    page = (report / "report.html").read_text()
    assert (
        page.count("data:image/png;base64,") == len(plots)
        and "QM calls made by others" in page
        and "temperature, QM region" in page
    )
    with h5py.File(work_folder / "out" / "frames.h5") as file:
        assert file.attrs["frames"] == 20
    again = CliRunner().invoke(app, ["run", str(config)])
    assert again.exit_code == 0 and "taking up the run" in again.output and "production (" not in again.output


@pytest.mark.parametrize("ensemble", ["nve", "langevin"])
def test_what_is_not_measured_is_said_so(work_folder: Path, gas_run: dict[str, Any], ensemble: str) -> None:
    """Plain QM dynamics has no surrogate, and so no correction: that is not one of nothing."""
    del gas_run["surrogate"]
    gas_run["integrator"] |= {"k": 1, "ensemble": ensemble}
    gas_run |= {"time": "5 fs", "speed": {"time": "0 fs"}}
    invoke("run", write_yaml(work_folder / "run.yaml", gas_run))
    report = work_folder / "out" / "report"
    summary, page = json.loads((report / "report.json").read_text()), (report / "report.html").read_text()
    assert summary["system"]["embedding"] == "no" and "no embedding" in page
    assert summary["guard"]["mean_correction_rms_mev_a"] is None and summary["guard"]["measured_corrections"] == 0
    assert summary["temperature"]["target_k"] == (300.0 if ensemble == "langevin" else None)
    assert "<td>mean_correction_rms_mev_a</td><td>not measured</td>" in page
    assert not (report / "correction.png").exists() and (report / "energy.png").exists()


@pytest.mark.parametrize("mode", ["monitor", "correction", "full"])
def test_metropolis_is_reported(work_folder: Path, gas_run: dict[str, Any], mode: str) -> None:
    gas_run["integrator"] |= {"k": 4, "metropolis": mode, "thermostat_interval": 3, "reduced_flips": False}
    gas_run["speed"] = {"time": "0 fs"}
    invoke("run", write_yaml(work_folder / "run.yaml", gas_run))
    report = work_folder / "out" / "report"
    summary = json.loads((report / "report.json").read_text())["metropolis"]
    page = (report / "report.html").read_text()
    table = read_table(work_folder / "out" / "statistics.csv")
    assert summary["mode"] == mode and summary["thermostat_interval"] == 3 and not summary["reduced_flips"]
    assert summary["mean_acceptance_probability"] == pytest.approx(table["mean_acceptance_probability"][-1])
    assert 0 < summary["mean_acceptance_probability"] <= 1
    # Frames are proposals where steps are rejected: no picture of what was sampled is made of them.
    assert (report / "ramachandran.png").exists() == (mode == "monitor")
    if mode == "monitor":
        assert "acceptance" not in summary and np.isnan(table["acceptance"]).all()
        assert "Metropolis would accept" in page
    else:
        assert summary["accepted_steps"] + summary["rejected_steps"] == 30 and summary["guard_rejections"] == 0
        assert summary["acceptance"] == table["acceptance"][-1] == summary["accepted_steps"] / 30
        assert f"of outer steps accepted ({mode})" in page


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


def test_interrupted_and_continued(work_folder: Path, gas_run: dict[str, Any], environment: dict[str, str]) -> None:
    """Ctrl-C while C++ steps: the run ends at once, and goes on later as if nothing had been."""
    gas_run |= {"time": "0.02 ps", "speed": {"time": "0 fs"}}
    gas_run["equilibration"]["kstep"] = "0 fs"
    config = write_yaml(work_folder / "run.yaml", gas_run)
    invoke("run", config)
    (work_folder / "out").rename(work_folder / "whole")
    with start(config, 13, "wait", environment) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == "waiting\n"
        process.stdin.write("\n")
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=300)
    assert process.returncode in (-signal.SIGINT, 1, 130) and errors.rstrip().endswith("KeyboardInterrupt")
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


def test_what_a_name_stands_for_has_changed(
    work_folder: Path, gas_run: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another file under the surrogate's name, other defaults of an engine: not the run that is here."""
    gas_run["speed"], gas_run["time"] = {"time": "0 fs"}, "5 fs"
    config = write_yaml(work_folder / "run.yaml", gas_run)
    invoke("run", config)
    archive = work_folder / "springs.pt"
    content = archive.read_bytes()
    archive.write_bytes(content + b"\0")
    refused = CliRunner().invoke(app, ["run", str(config)])
    assert refused.exit_code == 1 and "other settings (surrogate_digests)" in refused.output
    archive.write_bytes(content)
    with monkeypatch.context() as patch:
        patch.setattr(XTB, "describe", lambda _: {"accuracy": 0.5})
        refused = CliRunner().invoke(app, ["run", str(config)])
    assert refused.exit_code == 1 and "other settings (level_of_theory.accuracy" in refused.output
    assert "taking up" in invoke("run", config)


class Reader:
    """A reporter that keeps the file of frames open for some steps, as an analysis beside the run does."""

    def __init__(self, path: Path, steps: tuple[int, int]) -> None:
        self._path = path
        self._steps = steps
        self._file: FrameFile | None = None

    def describeNextReport(self, simulation: openmm.app.Simulation) -> dict[str, Any]:  # noqa: N802
        return {"steps": 1, "periodic": None, "include": []}

    def report(self, simulation: openmm.app.Simulation, state: openmm.State) -> None:
        if simulation.currentStep == self._steps[0]:
            self._file = FrameFile(self._path)
        elif simulation.currentStep == self._steps[1] and self._file is not None:
            self._file.close()


@pytest.mark.parametrize("steps", [(9, 12), (9, 31)])
def test_a_reader_keeps_frames_from_a_checkpoint(
    work_folder: Path,
    gas_run: dict[str, Any],
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    steps: tuple[int, int],
) -> None:
    """No checkpoint is written then that would count on frames which are in memory only."""
    monkeypatch.setattr(production, "_PATIENCE", 0.0)
    gas_run["speed"] = {"time": "0 fs"}
    gas_run["output"] |= {"frames": "1 fs"}
    whole = write_yaml(work_folder / "whole.yaml", gas_run | {"output": gas_run["output"] | {"folder": "whole"}})
    invoke("run", whole)
    out, checkpoints = work_folder / "out", []
    real = production.Checkpoint.write

    def write(checkpoint: production.Checkpoint, path: Path) -> None:
        checkpoints.append((checkpoint.step, checkpoint.outputs["frames.h5"].size))
        real(checkpoint, path)

    monkeypatch.setattr(production.Checkpoint, "write", write)
    plan = RunPlan.of(load_config(write_yaml(work_folder / "run.yaml", gas_run), RunConfig))
    Runner(plan, "test", Console(quiet=True), [Reader(out / "frames.h5", steps)]).run()
    # Those of the reader's steps are missing, and no other has fewer frames than steps.
    assert checkpoints == [(step, step) for step in range(10, 70, 10) if not steps[0] < step < steps[1]]
    assert_same_trajectory(work_folder / "whole", out)


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
        ("qm", {"atoms": "0-5"}, "cannot be cut"),
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


@pytest.mark.parametrize(
    ("far_field", "text"),
    [("force-field", "force-field charges beyond its cut-off"), ("qm", "Ewald sum beyond its cut-off")],
)
def test_run_in_water(work_folder: Path, gas_run: dict[str, Any], far_field: str, text: str) -> None:
    """Everything at once: solvent, embedding with cut-off, base level, slow nonbonded forces, on the CPU platform."""
    gas_run["system"] |= {"force_field": ["amber14-all.xml", "amber14/tip3p.xml"], "solvent": {"box_size": "2 nm"}}
    gas_run["qm"] |= {"atoms": "solute", "cutoff": "0.6 nm", "switch_distance": "0.5 nm", "far_field": far_field}
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
    assert summary["energy"]["conserved_drift_error_kj_mol_ps"] is None and "drift (kJ/mol/ps)" in page
    assert summary["system"]["far_field"] == far_field and text in page


@pytest.fixture
def pressure_run(gas_run: dict[str, Any]) -> dict[str, Any]:
    """Alanine dipeptide in a small box: heated with restraints, then at constant pressure to the end."""
    held = [{"atoms": "solute and not element H", "force_constant": "200 kJ/mol/A^2"}]
    return {
        **gas_run,
        "system": {
            "structure": "alanine_dipeptide.pdb",
            "solvent": {"box_size": "2 nm"},
            "nonbonded_cutoff": "0.7 nm",
        },
        "qm": {"method": "gfn2-xtb", "atoms": "solute", "cutoff": "0.7 nm", "switch_distance": "0.6 nm"},
        "integrator": {"k": 2, "inner_step": "0.5 fs", "pressure": "1 bar", "barostat_period": 3},
        "equilibration": {
            "stages": [
                {"time": "0.1 ps", "start_temperature": "50 K", "friction": "50 /ps", "restraints": held},
                {"time": "0.2 ps", "pressure": "1 bar", "restraints": held, "time_step": "2 fs"},
            ],
            "kstep": "0 fs",
        },
        "time": "12 fs",
        "speed": {"time": "0 fs"},
        "platform": "CPU",
    }


def test_the_box_of_the_barostat_goes_on_into_production(work_folder: Path, pressure_run: dict[str, Any]) -> None:
    config = write_yaml(work_folder / "run.yaml", pressure_run)
    assert "stage 2 of 2 (0.2 ps)" in invoke("run", config)
    out = work_folder / "out"
    table, statistics = read_table(out / "equilibration.csv"), read_table(out / "statistics.csv")
    assert table["stage"].tolist() == [0.0] * 100 + [1.0] * 100
    assert table["temperature"][0] < 100 and table["temperature"][99] > 200
    start, end = (PhaseSpacePoint.from_bytes((out / f"{name}.npz").read_bytes()) for name in ("start", "final"))
    assert table["volume"][99] == pytest.approx(8.0) and abs(table["volume"][-1] - 8.0) > 1e-3
    assert np.linalg.det(start.box) == pytest.approx(table["volume"][-1], rel=1e-9)
    assert statistics["volume"][-1] == pytest.approx(np.linalg.det(end.box), rel=1e-6)
    # Held: no heavy atom of the solute is where diffusion would have taken it.
    prepared = openmm.app.PDBFile(str(out / "prepared.pdb")).getPositions(asNumpy=True)._value
    assert np.linalg.norm((start.positions - prepared)[[1, 4, 6, 8]], axis=1).max() < 0.05
    summary = json.loads((out / "report" / "report.json").read_text())
    assert summary["qm_calls"]["made_by_others"] >= 4
    assert summary["box"]["density_g_cm3"] == pytest.approx(0.9, abs=0.2)
    assert "density (g/cm³) at 1 bar" in (out / "report" / "report.html").read_text()


def test_a_stage_that_is_done_is_not_done_again(work_folder: Path, pressure_run: dict[str, Any]) -> None:
    """A run that stops in its second stage goes on there."""
    pressure_run["integrator"].pop("pressure")
    pressure_run["integrator"].pop("barostat_period")
    config = write_yaml(work_folder / "run.yaml", pressure_run)
    plan = RunPlan.of(load_config(config, RunConfig))
    advance, stages = ForceFieldEquilibration.advance, []

    def stopping(self: ForceFieldEquilibration, state: EquilibrationState, progress: Any) -> EquilibrationState:
        stages.append(state.stage)
        if stages == [0, 1]:
            raise KeyboardInterrupt
        return advance(self, state, progress)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ForceFieldEquilibration, "advance", stopping)
        with pytest.raises(KeyboardInterrupt):
            Runner(plan, "test", Console(quiet=True)).run()
        Runner(plan, "test", Console(quiet=True)).run()
    assert stages == [0, 1, 1]
    assert read_table(work_folder / "out" / "equilibration.csv")["stage"].tolist() == [0.0] * 100 + [1.0] * 100


def test_a_pressure_without_a_box_is_refused_before_anything_else(work_folder: Path, gas_run: dict[str, Any]) -> None:
    gas_run["integrator"]["pressure"] = "1 bar"
    result = CliRunner().invoke(app, ["run", str(write_yaml(work_folder / "run.yaml", gas_run))])
    assert result.exit_code == 1
    assert "integrator.pressure: a pressure needs a periodic system" in result.output.replace("\n", " ")


@pytest.fixture
def cached_run(work_folder: Path, gas_run: dict[str, Any]) -> dict[str, Any]:
    """The same run with an engine in Python that costs nothing."""
    settings = {"calculator": "lj", "parameters": {"sigma": 1.0, "epsilon": 1e-4, "rc": 3.0}}
    qm = {"method": "ase", "atoms": "all", "embedding": "mechanical", "settings": settings}
    return {**gas_run, "qm": qm, "cache": {"folder": "qm-cache", "size": "10 MB"}, "speed": {"time": "0 fs"}}


def test_a_run_that_is_repeated_takes_its_results_from_the_cache(work_folder: Path, cached_run: dict[str, Any]) -> None:
    del cached_run["surrogate"]
    cached_run["integrator"] |= {"k": 1}
    cached_run["time"] = "10 fs"
    cached_run["output"]["energies"] = "0 fs"
    config = write_yaml(work_folder / "run.yaml", cached_run)

    def used() -> tuple[int, int]:
        found = re.search(r"(\d+) of (\d+) QM results came from the cache", invoke("run", config))
        assert found is not None
        return int(found[1]), int(found[2])

    hits, calls = used()
    # Where production begins equilibration has been.
    assert hits <= 1 and calls >= 11
    (work_folder / "out").rename(work_folder / "whole")
    assert used() == (calls, calls)
    assert_same_trajectory(work_folder / "whole", work_folder / "out")
    # It is no setting of the run: one that is taken up may have another cache or none.
    del cached_run["cache"]
    assert "taking up the run" in invoke("run", write_yaml(config, cached_run))


def test_engines_of_the_plugin_need_no_cache(work_folder: Path, gas_run: dict[str, Any]) -> None:
    gas_run["cache"] = {"folder": "qm-cache"}
    result = CliRunner().invoke(app, ["run", str(write_yaml(work_folder / "run.yaml", gas_run))])
    assert result.exit_code == 1 and "gfn2-xtb runs inside the plugin" in result.output.replace("\n", " ")
    assert not (work_folder / "qm-cache").exists()
