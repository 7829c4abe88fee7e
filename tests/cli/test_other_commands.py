"""``kstep doctor``, ``generate``, ``bench`` and ``validate`` on small cases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import openmm.app
import pytest
from typer.testing import CliRunner

from kstep_models.frames import FrameFile
from kstep_models.locks import locked
from openmmkstep import QMMMPotential
from openmmkstep.cli import app
from tests.support.yaml_files import write_yaml


def invoke(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def sampling() -> dict[str, Any]:
    return {
        "system": {"structure": "alanine_dipeptide.pdb", "force_field": ["amber14-all.xml"]},
        "qm": {"method": "gfn2-xtb", "atoms": "all"},
        "sampling": {
            "trajectories": 3,
            "frames_per_trajectory": 4,
            "steps_per_frame": 2,
            "time_step": "1 fs",
            "temperatures": [300, 500],
            "equilibration": "2 fs",
            "conformers": {"time": "0.1 ps", "temperature": "600 K"},
        },
        "platform": "Reference",
        "seed": 5,
        "output": "frames.h5",
    }


def test_generate_and_resume(work_folder: Path, sampling: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(work_folder)
    config = write_yaml(work_folder / "generate.yaml", sampling)
    output = invoke("generate", config)
    assert "12 frames" in output
    # No terminal here: plain lines, of which the first and the last always come.
    assert output.startswith("trajectory 1: conformer: 0 of 12") and "trajectory 3: 300 K: 12 of 12" in output
    with FrameFile("frames.h5") as file:
        whole = {name: file.frames(name) for name in ("positions", "forces", "energy", "trajectory", "temperature")}
        assert whole["trajectory"].tolist() == 4 * [0] + 4 * [1] + 4 * [2]
        assert whole["temperature"].tolist() == 4 * [300] + 4 * [500] + 4 * [300]
    refused = CliRunner().invoke(app, ["generate", str(config)])
    assert refused.exit_code == 1 and "exists already" in refused.output
    # As a kill in the second trajectory would leave it.
    from openmmkstep.io.frames import keep_frames

    keep_frames("frames.h5", 6)
    assert "12 frames" in invoke("generate", config, "--resume")
    with FrameFile("frames.h5") as file:
        for name, values in whole.items():
            assert np.array_equal(file.frames(name), values), name


def test_generate_nothing(work_folder: Path, sampling: dict[str, Any]) -> None:
    """Where every trajectory fails, scripts are told."""
    sampling["qm"] |= {"settings": {"max_iterations": 1}}
    result = CliRunner().invoke(app, ["generate", str(write_yaml(work_folder / "generate.yaml", sampling))])
    assert result.exit_code == 1 and "0 frames in" in result.output
    assert all(f"trajectory {number} was given up: " in result.output for number in (1, 2, 3))


def test_generate_where_somebody_writes(work_folder: Path, sampling: dict[str, Any]) -> None:
    config, output = write_yaml(work_folder / "generate.yaml", sampling), work_folder / "frames.h5"
    for arguments in ([], ["--resume"]):
        with locked(output):
            refused = CliRunner().invoke(app, ["generate", str(config), "--output", str(output), *arguments])
        assert refused.exit_code == 1 and "frames.h5 is being written by process" in refused.output
    assert not output.exists()


def qm_forces(structure: Path, positions: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """From a QM system without any surrogate."""
    topology = openmm.app.PDBFile(str(structure)).topology
    bare = openmm.app.ForceField("amber14-all.xml").createSystem(topology)
    system = QMMMPotential("gfn2-xtb").createMixedSystem(topology, bare, range(len(positions)))
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    return np.asarray(context.getState(forces=True).getForces(asNumpy=True)._value)


def test_generate_with_an_earlier_surrogate(
    work_folder: Path, sampling: dict[str, Any], gas_run: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels are of the QM level at outer steps, whatever carries the dynamics in between."""
    monkeypatch.chdir(work_folder)
    sampling["surrogate"] = gas_run["surrogate"]
    sampling["qm"] = gas_run["qm"]
    sampling["system"] = gas_run["system"]
    sampling["sampling"] |= {"trajectories": 1, "steps_per_frame": 3, "time_step": "0.5 fs", "k": 4}
    invoke("generate", write_yaml(work_folder / "generate.yaml", sampling))
    with FrameFile("frames.h5") as file:
        times, positions, forces = file.frames("time"), file.frames("positions"), file.frames("forces")
    assert times == pytest.approx([0.006, 0.012, 0.018, 0.024])
    expected = qm_forces(work_folder / "alanine_dipeptide.pdb", positions[2])
    assert np.abs(forces[2] - expected).max() < 1e-3 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 4}, "needs a surrogate"),
        ({"nonbonded_period": 2}, "must divide k"),
    ],
)
def test_impossible_sampling_is_refused(
    work_folder: Path, sampling: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    sampling["sampling"] |= change
    refused = CliRunner().invoke(app, ["generate", str(write_yaml(work_folder / "generate.yaml", sampling))])
    assert refused.exit_code == 1
    assert message in " ".join(refused.output.split())


def test_fit_bonded_and_run_with_it(
    work_folder: Path, sampling: dict[str, Any], gas_run: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(work_folder)
    sampling["sampling"] |= {"frames_per_trajectory": 30, "temperatures": [500]}
    invoke("generate", write_yaml(work_folder / "generate.yaml", sampling))
    assert "on held-out trajectories" in invoke("fit-bonded", "frames.h5", "--output", "base.json")
    gas_run["surrogate"] = {"archive": "springs.pt", "period": 2, "base_level": "base.json"}
    gas_run |= {"time": "0.01 ps", "speed": {"time": "0 fs"}}
    invoke("run", write_yaml(work_folder / "run.yaml", gas_run))
    summary = json.loads(Path("out/report/report.json").read_text())
    assert summary["dynamics"]["base_level"] is True
    assert summary["qm_calls"]["surrogate_calls"] == [21, 11]


def test_generate_in_water(work_folder: Path, sampling: dict[str, Any]) -> None:
    sampling["system"] |= {"force_field": ["amber14-all.xml", "amber14/tip3p.xml"], "solvent": {"box_size": "2 nm"}}
    sampling["qm"] |= {"atoms": "solute", "cutoff": "0.6 nm", "switch_distance": "0.5 nm"}
    sampling["sampling"] |= {"trajectories": 1, "frames_per_trajectory": 2}
    sampling["platform"] = "CPU"
    output = work_folder / "water.h5"
    invoke("generate", write_yaml(work_folder / "generate.yaml", sampling), "--output", output)
    with FrameFile(output) as file:
        assert file.has_environment and len(file) == 2
        frame = file.frame(1)
        environment = frame.environment
        assert environment is not None
        assert 100 < len(np.asarray(environment.charges)) < 1000
        # QM atoms and charges exchange forces: no net force.
        total = np.sum(np.asarray(frame.forces), axis=0) + np.sum(np.asarray(environment.forces), axis=0)
        assert np.abs(total).max() < 0.01


@pytest.mark.compile
def test_bench_writes_its_schema(work_folder: Path, gas_run: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KSTEP_CACHE", str(work_folder / "cache"))
    config = {
        "cases": {
            "gas": {
                "system": gas_run["system"],
                "qm": gas_run["qm"],
                "equilibration": "0.05 ps",
                "platform": "Reference",
            },
            "split": {
                "system": gas_run["system"],
                "qm": gas_run["qm"],
                "equilibration": "0.01 ps",
                "nonbonded_period": 2,
                "platform": "Reference",
            },
        },
        "surrogate": {**gas_run["surrogate"], "compiled": True},
        "k": 2,
        "inner_step": "0.5 fs",
        "plain_steps": ["0.5 fs"],
        "segment": "2 fs",
        "repeats": 2,
    }
    output = work_folder / "bench.json"
    text = invoke("bench", write_yaml(work_folder / "bench.yaml", config), "--output", output)
    assert "stock MTS" in text
    results = json.loads(output.read_text())
    assert (results["schema"], results["version"], results["k"]) == ("kstep-bench", 1, 2)
    assert results["machine"]["cores"] and results["machine"]["versions"]["openmm"]
    case = results["cases"]["gas"]
    assert case["platform"] == "Reference"
    assert case["compiled_surrogate"]
    assert len(list((work_folder / "cache").glob("springs-*.pt2"))) == 1
    assert list(case["methods"]) == ["plain 0.5 fs", "kstep", "stock MTS"]
    for method in case["methods"].values():
        assert len(method["seconds_per_ps"]["all"]) == 2
        assert set(method["parts"]) == {"qm", "surrogate", "common", "integrator", "rest"}
        assert method["seconds_per_ps"]["median"] > 0
    assert case["methods"]["plain 0.5 fs"]["speed_up"]["median"] == 1.0
    assert case["methods"]["kstep"]["qm_calls_per_ps"] == pytest.approx(1000)
    assert case["methods"]["kstep"]["surrogate_calls_per_ps"] == pytest.approx([2000, 1000])
    assert case["methods"]["stock MTS"]["qm_calls_per_ps"] == pytest.approx(1000, rel=0.51)
    split = results["cases"]["split"]["methods"]
    assert list(split) == ["plain 0.5 fs", "plain 0.5 fs, MM split", "kstep", "stock MTS"]
    assert split["plain 0.5 fs, MM split"]["qm_calls_per_ps"] == pytest.approx(2000, rel=0.3)
    calls = {cost["force"]: (cost["level"], cost["calls_per_ps"]) for cost in case["forces"]}
    assert calls["QMMMForce"] == ("qm", pytest.approx(1000))
    assert calls["nothing"] == (None, None)
    assert {"base level", "surrogate"} <= {level for level, _ in calls.values()}
    assert all(cost["seconds"] > 0 for cost in case["forces"])


@pytest.mark.compile
def test_compile(work_folder: Path) -> None:
    package = work_folder / "springs.pt2"
    text = invoke("compile", work_folder / "springs.pt", "--output", package)
    assert "agree with the archive's" in text and package.is_file()
    result = CliRunner().invoke(app, ["compile", str(work_folder / "springs.pt"), "--atoms", "5"])
    assert result.exit_code == 1 and "molecule of 22 atoms, not 5" in result.output


@pytest.fixture
def validation(gas_run: dict[str, Any]) -> dict[str, Any]:
    return {
        "system": gas_run["system"],
        "qm": gas_run["qm"],
        "surrogate": gas_run["surrogate"],
        "force_field_equilibration": "0.05 ps",
        "equilibration": "4 fs",
        "nve": {"ks": [2], "time": "10 fs", "plain_steps": ["0.5 fs"], "plain_time": "5 fs"},
        "thermostat": {"k": 2, "time": "40 fs"},
    }


def test_validate_nve(work_folder: Path, validation: dict[str, Any]) -> None:
    output = work_folder / "nve.json"
    invoke("validate", "nve", write_yaml(work_folder / "validate.yaml", validation), "--output", output)
    results = json.loads(output.read_text())
    expected = ["k = 2, base level (network every 2)", "k = 2, network only", "surrogate alone", "plain QM, 0.5 fs"]
    assert list(results["runs"]) == expected
    assert all(run["finished"] and "drift_mev_atom_ps" in run for run in results["runs"].values())
    assert output.with_suffix(".png").stat().st_size > 1000


def test_validate_temperature(work_folder: Path, validation: dict[str, Any]) -> None:
    output = work_folder / "temperature.json"
    invoke("validate", "temperature", write_yaml(work_folder / "validate.yaml", validation), "--output", output)
    results = json.loads(output.read_text())
    assert {name: value["atoms"] for name, value in results["elements"].items()} == {
        "H": 12,
        "C": 6,
        "N": 2,
        "O": 2,
        "all": 22,
    }
    assert results["elements"]["all"]["error_k"] > 0
    assert output.with_suffix(".png").stat().st_size > 1000
