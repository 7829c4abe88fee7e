"""``kstep bench-spectrum`` on water: its scores, its extrapolation, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ase
import ase.io
import pytest
import yaml
from typer.testing import CliRunner

from openmmkstep.cli import app
from openmmkstep.rttddft.units import NM_PER_BOHR
from openmmkstep.workflows.spectra.bench.stopwatch import Spent
from openmmkstep.workflows.spectra.bench.traces import Traces
from tests.support.electrons.systems import WATER

LEVEL = {"method": "rks", "functional": "pbe0", "basis": "6-31g", "grid_level": 0}
PULSE = {"amplitude": 0.01, "photon_energy": 8.0, "center": "100 as", "width": "30 as"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ase.io.write(tmp_path / "water.xyz", ase.Atoms("OHH", WATER.positions * NM_PER_BOHR * 10))
    return tmp_path


def invoke(folder: Path, case: dict[str, Any], **options: Any) -> Any:
    path = folder / "bench.yaml"
    content = {"cases": {"water": {"geometry": "water.xyz", "level": LEVEL, **case}}, "time_step": "10 as", **options}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return CliRunner().invoke(app, ["bench-spectrum", str(path), "--output", str(folder / "result.json")])


def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text())["cases"]["water"]


def test_kick_with_all_comparisons(folder: Path) -> None:
    names = ["static_fock", "dynamic_modes", "esprit", "linear_response"]
    done = invoke(folder, {"kick": 1e-3, "directions": ["z"], "comparisons": names}, steps=260, propagator="cfm4")
    assert done.exit_code == 0, done.output
    case = results(folder)
    assert (case["molecule"], case["basis_functions"]) == ("H2O", 13)
    assert case["reference_run"] == {"directions": ["z"], "steps": 260, "is_whole": True}
    methods = case["methods"]
    assert list(methods) == ["reference", "reduced", *names]
    reference, reduced = methods["reference"], methods["reduced"]
    assert reference["speed_up"] == 1.0 and reference["fock_builds"] > 4 * 260
    assert reduced["dipole_error"] < 0.01 and reduced["spectral_overlap"] > 0.9999 and reduced["peak_shift_ev"] < 0.01
    assert reduced["fock_builds_saved"] == reference["fock_builds"] / reduced["fock_builds"] > 10
    assert reduced["speed_up"] == pytest.approx(reference["seconds"] / reduced["seconds"])
    # Independent electrons are far off; linear response differs by the time step only; the others know the beginning.
    assert methods["static_fock"]["dipole_error"] > 0.5 and methods["static_fock"]["spectral_overlap"] < 0.95
    assert methods["linear_response"]["dipole_error"] < 0.05 and methods["linear_response"]["spectral_overlap"] > 0.999
    for name, share in (("dynamic_modes", 0.73), ("esprit", 0.92)):
        assert methods[name]["dipole_error"] < 0.02
        # What they learned from is on their bill.
        motion = reference["seconds"] - reference["preparation_seconds"]
        assert methods[name]["seconds"] > reference["preparation_seconds"] + share * motion


def test_short_reference_in_a_pulse(folder: Path) -> None:
    case = {"pulse": PULSE, "directions": ["z", "x"], "reference_directions": ["z"], "reference_steps": 30}
    done = invoke(folder, case | {"comparisons": ["static_fock"]}, steps=60)
    assert done.exit_code == 0, done.output
    case = results(folder)
    assert case["reference_run"] == {"directions": ["z"], "steps": 30, "is_whole": False}
    for name in ("reduced", "static_fock"):
        assert case["methods"][name]["spectral_overlap"] is None
    assert case["methods"]["reduced"]["dipole_error"] < 0.02
    assert "30 steps along z" in " ".join(done.output.split())


def test_beginning_that_is_too_short_is_left_out(folder: Path) -> None:
    done = invoke(folder, {"kick": 1e-3, "directions": ["z"], "comparisons": ["esprit"]}, steps=30)
    assert done.exit_code == 0, done.output
    assert results(folder)["methods"]["esprit"] is None


def test_several_reductions(folder: Path) -> None:
    reductions = {"loose": {"tolerance": 0.2}, "default": {}, "computed": {"response": "computed"}}
    done = invoke(folder, {"kick": 1e-3, "directions": ["z"], "reductions": reductions}, steps=60)
    assert done.exit_code == 0, done.output
    methods = results(folder)["methods"]
    assert list(methods) == ["reference", *reductions]
    evaluations = [methods[name]["fock_builds"] for name in ("computed", "loose", "default")]
    assert evaluations == sorted(set(evaluations))
    assert methods["default"]["dipole_error"] < methods["loose"]["dipole_error"]


def test_cost_of_more_steps() -> None:
    traces = Traces({}, Spent(1.0, 2.0), Spent(3.0, 4.0), 10).extrapolated(2.0)
    assert (traces.total.wall, traces.total.processor, traces.fock_builds) == (7.0, 10.0, 20)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ({}, "either 'kick' or 'pulse'"),
        ({"kick": 1e-3, "pulse": PULSE}, "either 'kick' or 'pulse'"),
        ({"pulse": PULSE, "comparisons": ["esprit"]}, "only static_fock can be compared"),
        ({"kick": 1e-3, "directions": ["x"], "reference_directions": ["z"]}, "among the directions"),
        ({"kick": 1e-3, "directions": ["x", "x"]}, "must differ"),
        ({"kick": 1e-3, "reference_steps": 100}, "is more than steps 60"),
        ({"kick": 1e-3, "level": {"method": "rhf"}}, "level.functional is missing"),
        ({"kick": 1e-3, "reductions": {"reference": {}}}, "another name than reference"),
        ({"kick": 1e-3, "reductions": {"own": {"response": "none.pt"}}}, "none.pt"),
        ({"kick": 1e-3, "geometry": "none.xyz"}, "do not exist"),
        ({"kick": 1e-3, "referencesteps": 10}, "did you mean cases.water.reference_steps"),
    ],
)
def test_bad_input(folder: Path, case: dict[str, Any], message: str) -> None:
    done = invoke(folder, case, steps=60)
    assert done.exit_code == 1
    assert message in " ".join(done.output.split())
    assert not (folder / "result.json").exists()
