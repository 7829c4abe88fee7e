"""``kstep doctor``: of the installation, whatever is wrong with it, and of a configuration."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from openmmkstep._libraries import required_versions
from openmmkstep.cli import app
from openmmkstep.engines import registry
from tests.support.packages import Install
from tests.support.yaml_files import write_yaml


def doctor(*arguments: object) -> tuple[int, dict[str, dict[str, str]]]:
    """Exit code, and the checks by name."""
    result = CliRunner().invoke(app, ["doctor", *map(str, arguments), "--json"])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, {check["name"]: check for check in json.loads(result.output)}


def test_everything_is_found() -> None:
    code, checks = doctor()
    assert code == 0
    for name in ("openmm", "torch", "plugin", "libxtb", "QM engines"):
        assert checks[name]["status"] == "ok", checks[name]
    platforms = checks["platforms"]
    assert "Reference" in platforms["detail"]
    # A machine may have a device that OpenMM runs on and the plugin does not yet.
    assert platforms["status"] == ("warning" if "not on" in platforms["detail"] else "ok")
    assert "libxtb" in CliRunner().invoke(app, ["doctor"]).output


def test_engines_of_packages_that_cannot_be_used(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """Findings, but no reason why the main job should not run."""
    monkeypatch.setattr(registry, "_registered", {})
    group = registry.ENTRY_POINT_GROUP
    sound = "class Engine:\n    pass\n"
    install("good-engine", {"Good": "good_engine:Engine"}, sound, group)
    install("bad-engine", {"bad": "bad_engine:Engine", "Taken": "bad_engine:Engine"}, "1 / 0", group)
    install("other-engine", {"taken": "other_engine:Engine", "GFN1-xTB": "other_engine:Engine"}, sound, group)
    code, checks = doctor()
    assert code == 0
    sound_ones = checks["QM engines"]["detail"].split(", ")
    assert {"gfn2-xtb", "good"} <= set(sound_ones) and {"bad", "taken", "gfn1-xtb"}.isdisjoint(sound_ones)
    found = {name: checks[f"QM engine {name}"] for name in ("bad", "taken", "gfn1-xtb")}
    assert {check["status"] for check in found.values()} == {"warning"}
    assert "bad-engine (bad_engine:Engine) cannot be loaded (ZeroDivisionError" in found["bad"]["detail"]
    assert "bad-engine" in found["taken"]["detail"] and "other-engine" in found["taken"]["detail"]
    assert "openmm-kstep" in found["gfn1-xtb"]["detail"] and "other-engine" in found["gfn1-xtb"]["detail"]
    assert found["bad"]["remedy"] == "repair or uninstall that package"


def test_a_configuration_with_an_engine_of_a_package(
    install: Install, work_folder: Path, gas_run: dict[str, Any]
) -> None:
    offered = {"TroubledSprings": "some_springs:TroubledSprings"}
    module = "from tests.support.engines.troublesome import TroubledSprings"
    install("some-springs", offered, module, registry.ENTRY_POINT_GROUP)
    gas_run["qm"] |= {"method": "troubledsprings", "settings": {"length": 0.11}}
    code, checks = doctor(write_yaml(work_folder / "run.yaml", gas_run))
    assert code == 0 and checks["levels"]["detail"].startswith("troubledsprings every")
    gas_run["qm"] |= {"settings": {"lenght": 0.11}}
    code, checks = doctor(write_yaml(work_folder / "run.yaml", gas_run))
    assert code == 1 and "no setting 'lenght': did you mean 'length'?" in checks["configuration"]["detail"]


def test_a_configuration_with_a_broken_engine(install: Install, work_folder: Path, gas_run: dict[str, Any]) -> None:
    install("bad-engine", {"bad": "bad_engine:Engine"}, "1 / 0", registry.ENTRY_POINT_GROUP)
    gas_run["qm"] |= {"method": "Bad"}
    code, checks = doctor(write_yaml(work_folder / "run.yaml", gas_run))
    assert code == 1 and "bad-engine (bad_engine:Engine) cannot be loaded" in checks["configuration"]["detail"]


def doctor_of(environment: dict[str, str], first: Path) -> tuple[int, dict[str, dict[str, str]]]:
    """The same in a process of its own, with a folder before all others."""
    variables = {**environment, "PYTHONPATH": os.pathsep.join([str(first), environment["PYTHONPATH"]])}
    command = [sys.executable, "-c", "from openmmkstep.cli import main; main()", "doctor", "--json"]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300, check=False)
    assert not done.stderr, done.stderr
    return done.returncode, {check["name"]: check for check in json.loads(done.stdout)}


@pytest.mark.parametrize(("name", "version"), [("openmm", "8.1.2"), ("torch", "2.12.1")])
def test_another_version_found_first(environment: dict[str, str], tmp_path: Path, name: str, version: str) -> None:
    """Importing it would end the process, as symbols that do not fit do."""
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("import os; os._exit(127)\n")
    (tmp_path / name / "version.py").write_text(f"__version__ = '{version}'\n")
    code, checks = doctor_of(environment, tmp_path)
    assert code == 1 and checks[name]["status"] == "failed" and "plugin" not in checks
    assert f"built for {name} {required_versions()[name]}, but {version} is found first" in checks[name]["detail"]
    assert f"take {tmp_path} out of PYTHONPATH" in checks[name]["remedy"]


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("import os, sys; sys.stderr.write('symbol lookup error: x.so'); sys.stderr.flush(); os._exit(127)", "127"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV: no message"),
        ("raise ImportError('undefined symbol: y')", "undefined symbol: y"),
    ],
)
def test_a_plugin_that_ends_the_process(environment: dict[str, str], tmp_path: Path, code: str, how: str) -> None:
    """The version is right, and loading goes wrong all the same."""
    (tmp_path / "openmm").mkdir()
    (tmp_path / "openmm" / "__init__.py").write_text(code + "\n")
    (tmp_path / "openmm" / "version.py").write_text(f"short_version = '{required_versions()['openmm']}'\n")
    exit_code, checks = doctor_of(environment, tmp_path)
    assert exit_code == 1
    assert checks["plugin"]["status"] == "failed" and how in checks["plugin"]["detail"], checks["plugin"]


def test_a_configuration(work_folder: Path, gas_run: dict[str, Any]) -> None:
    gas_run["integrator"] |= {"k": 8}
    gas_run["surrogate"] |= {"period": 4}
    config = write_yaml(work_folder / "run.yaml", gas_run)
    code, checks = doctor(config)
    assert code == 0 and {check["status"] for check in checks.values()} == {"ok"}
    details = {name: check["detail"] for name, check in checks.items()}
    assert details["system"] == "22 particles, 0 constraints: 1 ACE, 1 ALA, 1 NME"
    assert details["box"] == "none"
    assert details["QM region"] == "22 atoms (C6H12N2O2), charge +0, multiplicity 1, 78 electrons"
    assert details["levels"] == (
        "gfn2-xtb every 4 fs (k = 8), springs.pt every 2 fs, base level force-field every 0.5 fs, "
        "nonbonded MM forces every 0.5 fs"
    )
    assert "0.06 ps, Langevin at 300 K, platform Reference: 16 QM calls" in details["dynamics"]
    assert details["output"] == f"{work_folder / 'out'}, new" and not (work_folder / "out").exists()
    assert "springs.pt" in details["surrogate"] and "trained for gfn2-xtb" in details["surrogate"]


@pytest.mark.parametrize(
    ("far_field", "beyond"),
    [
        ({}, "beyond by force-field charges of the region"),
        ({"far_field": "qm"}, "beyond by the Ewald sum"),
        ({"far_field": "none"}, "nothing beyond"),
    ],
)
def test_a_configuration_in_water(
    work_folder: Path, gas_run: dict[str, Any], far_field: dict[str, str], beyond: str
) -> None:
    gas_run["system"] |= {"force_field": ["amber14-all.xml", "amber14/tip3p.xml"], "solvent": {"box_size": "2 nm"}}
    gas_run["qm"] |= {"atoms": "0-24", "cutoff": "0.6 nm", **far_field}
    del gas_run["surrogate"]
    gas_run["integrator"] |= {"k": 1, "ensemble": "nve"}
    code, checks = doctor(write_yaml(work_folder / "run.yaml", gas_run))
    assert code == 0, checks
    assert checks["box"]["detail"] == "2.000 x 2.000 x 2.000 nm, nonbonded cut-off 0.9 nm"
    assert "25 atoms (C6H14N2O3), 1 water molecules or ions" in checks["QM region"]["detail"]
    assert "charges within 0.6 nm of" in checks["embedding"]["detail"]
    assert checks["embedding"]["detail"].endswith(f" MM particles, {beyond}")
    assert "constant energy" in checks["dynamics"]["detail"] and "surrogate" not in checks


@pytest.mark.parametrize(
    ("section", "changes", "last", "message"),
    [
        ("integrator", {"kk": 3}, "configuration", "did you mean integrator.k?"),
        ("system", {"structure": "none.pdb"}, "configuration", "structure: "),
        ("surrogate", {"archive": "none.pt"}, "structure", "none.pt does not exist"),
        ("qm", {"atoms": "0-5"}, "box", "cannot be cut"),
        ("qm", {"charge": 1}, "box", "multiplicity must be even"),
    ],
)
def test_a_configuration_that_cannot_run(
    work_folder: Path, gas_run: dict[str, Any], section: str, changes: dict[str, Any], last: str, message: str
) -> None:
    gas_run[section] |= changes
    result = CliRunner().invoke(app, ["doctor", str(write_yaml(work_folder / "run.yaml", gas_run)), "--json"])
    checks = json.loads(result.output)
    assert result.exit_code == 1 and checks[-1]["status"] == "failed" and message in checks[-1]["detail"]
    assert len(checks) == 1 or checks[-2]["name"] == last
    assert not (work_folder / "out").exists()


def test_what_is_in_the_output_folder(work_folder: Path, gas_run: dict[str, Any]) -> None:
    gas_run |= {"time": "2 fs", "speed": {"time": "0 fs"}}
    config = write_yaml(work_folder / "run.yaml", gas_run)
    assert CliRunner().invoke(app, ["run", str(config)]).exit_code == 0
    code, checks = doctor(config)
    assert code == 0 and checks["output"]["detail"].endswith("out holds this run, which is taken up")
    capitals = gas_run | {"qm": gas_run["qm"] | {"method": "GFN2-xTB"}}
    code, checks = doctor(write_yaml(config, capitals))
    assert code == 0 and checks["output"]["detail"].endswith("out holds this run, which is taken up")
    code, checks = doctor(write_yaml(config, gas_run | {"seed": 9}))
    assert code == 1 and "holds a run with other settings (seed)" in checks["output"]["detail"]
    (work_folder / "out" / "run.json").write_text("[1]")
    code, checks = doctor(config)
    assert code == 1 and "run.json is damaged" in checks["configuration"]["detail"]


@pytest.mark.parametrize(("atoms", "charge", "region"), [("all", -1, "-1"), ("all", 2, "+2")])
def test_warnings_are_shown(work_folder: Path, gas_run: dict[str, Any], atoms: str, charge: int, region: str) -> None:
    """A charge that is not the force field's: of the doctor a finding, of a run a line; both go on."""
    del gas_run["surrogate"]
    gas_run["integrator"] |= {"k": 1}
    gas_run["qm"] |= {"atoms": atoms, "charge": charge, "multiplicity": 1 + abs(charge) % 2}
    gas_run |= {"time": "1 fs", "speed": {"time": "0 fs"}}
    config = write_yaml(work_folder / "run.yaml", gas_run)
    code, checks = doctor(config)
    assert code == 0 and f"charge {region}" in checks["QM region"]["detail"]
    assert checks["warning"]["status"] == "warning" and "charge" in checks["warning"]["detail"]
    result = CliRunner().invoke(app, ["run", str(config)])
    lines = [line for line in result.output.splitlines() if line.startswith("warning: ")]
    assert len(lines) == 1 and f"charge {region}" in lines[0] and "Warning" not in result.output
