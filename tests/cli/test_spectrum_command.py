"""``kstep spectrum`` on water: against linear response, over geometries, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np
import pytest
import yaml
from pyscf import dft, qmmm, tddft
from typer.testing import CliRunner

from kstep_models.frames import Environment, Frame, FrameWriter, RegionDescription
from openmmkstep.cli import app
from openmmkstep.rttddft import LevelOfTheory
from openmmkstep.rttddft.electronic_structure.mean_field import create_mean_field
from openmmkstep.rttddft.units import EV_PER_HARTREE, NM_PER_BOHR
from tests.support.electrons.systems import WATER

POSITIONS = WATER.positions * NM_PER_BOHR * 10


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    """Three geometries of water."""
    random = np.random.default_rng(1)
    images = [ase.Atoms("OHH", POSITIONS + scale * random.normal(size=(3, 3))) for scale in (0.0, 0.03, 0.03)]
    ase.io.write(tmp_path / "water.xyz", images)
    return {
        "geometries": "water.xyz",
        "level": {"method": "rks", "functional": "pbe0", "basis": "6-31g", "grid_level": 1},
        "time": "6 fs",
        "time_step": "10 as",
        "highest": 22,
    }


def invoke(folder: Path, config: dict[str, Any]) -> Any:
    path = folder / "spectrum.yaml"
    path.write_text(yaml.safe_dump(config))
    return CliRunner().invoke(app, ["spectrum", str(path), "--output", str(folder / "result.json")])


def test_geometries_with_error_band(tmp_path: Path, config: dict[str, Any]) -> None:
    result = invoke(tmp_path, config)
    assert result.exit_code == 0, result.output
    results = json.loads((tmp_path / "result.json").read_text())
    assert (results["schema"], results["version"], results["molecule"]) == ("kstep-spectrum", 1, "H2O")
    assert (tmp_path / "result.png").stat().st_size > 1000
    spectra = np.array([geometry["strength_per_ev"] for geometry in results["geometries"]])
    assert spectra.shape == (3, len(results["energy_ev"]))
    np.testing.assert_allclose(results["mean_per_ev"], spectra.mean(axis=0))
    np.testing.assert_allclose(results["standard_error_per_ev"], spectra.std(axis=0, ddof=1) / np.sqrt(3))
    assert results["fock_builds"] < 300
    assert all(0.003 < geometry["estimated_dipole_error"] < 0.05 for geometry in results["geometries"])
    # The first geometry is not distorted: bright lines of linear response.
    response = tddft.TDDFT(create_mean_field(WATER, LevelOfTheory("rks", "6-31g", "pbe0", grid_level=1)).run())
    response.nstates = 20
    response.kernel()
    energies = response.e * EV_PER_HARTREE
    bright = energies[(response.oscillator_strength() > 0.05) & (energies < 21)]
    found = np.array(results["geometries"][0]["lines_ev"])
    assert len(bright) >= 3
    # Neighbours within a width of a line that short a trace shifts; 0.06 eV is a tenth of it.
    assert max(np.abs(found - line).min() for line in bright) < 0.06


def test_pade_and_full_fock_matrices(tmp_path: Path, config: dict[str, Any]) -> None:
    ase.io.write(tmp_path / "water.xyz", ase.Atoms("OHH", POSITIONS))
    config |= {"transform": "pade", "reduction": None, "time": "4 fs", "directions": ["z"]}
    config["level"]["basis"] = "sto-3g"
    result = invoke(tmp_path, config)
    assert result.exit_code == 0, result.output
    results = json.loads((tmp_path / "result.json").read_text())
    assert results["fock_builds"] > 400
    assert results["standard_error_per_ev"] == [0.0] * len(results["energy_ev"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"geometries": "none.xyz"}, "do not exist"),
        ({"frames": "frames.h5"}, "either 'geometries' or 'frames'"),
        ({"geometries": None, "frames": "frames.h5"}, "frames.h5 does not exist"),
        ({"charge": 1}, "multiplicity"),
        ({"level": {"method": "rks", "functional": "pbe0", "basis": "6-31x"}}, "basis set '6-31x' is not known"),
        ({"level": {"method": "rks"}}, "needs a functional"),
        ({"level": {"method": "rhf"}}, "reduction: null"),
        ({"time": "0.1 fs"}, "less than 20 steps"),
        ({"timestep": "5 as"}, "did you mean time_step"),
    ],
)
def test_bad_input(tmp_path: Path, config: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    result = invoke(tmp_path, config | changes)
    assert result.exit_code == 1
    assert message in " ".join(result.output.split())
    assert not (tmp_path / "result.json").exists()


def test_geometries_of_different_molecules(tmp_path: Path, config: dict[str, Any]) -> None:
    ase.io.write(tmp_path / "water.xyz", [ase.Atoms("OHH", POSITIONS), ase.Atoms("HOH", POSITIONS[[1, 0, 2]])])
    result = invoke(tmp_path, config)
    assert result.exit_code == 1 and "same order" in " ".join(result.output.split())


def test_frames_in_their_charges(tmp_path: Path, config: dict[str, Any]) -> None:
    """A frame of a QM/MM run: its charges shift the lines; without them the spectrum is that of the geometry."""
    frame = Frame(
        positions=WATER.positions * NM_PER_BOHR,
        energy=0.0,
        forces=np.zeros((3, 3)),
        charges=np.array([-0.6, 0.3, 0.3]),
        dipole=np.zeros(3),
        trajectory=0,
        time=0.0,
        temperature=300.0,
        environment=Environment(
            potential=np.zeros(3),
            potential_gradient=np.zeros((3, 3)),
            positions=np.array([[0.0, 0.0, 0.29], [0.05, 0.0, 0.36]]),
            charges=np.array([0.8, -0.8]),
            forces=np.zeros((2, 3)),
        ),
    )
    region = RegionDescription(WATER.numbers, [16.0, 1.0, 1.0], [[0, 1], [0, 2]], 0, 1, {"method": "none"})
    with FrameWriter(tmp_path / "frames.h5", region, environment=True) as writer:
        for _ in range(3):
            writer.append(frame)
    del config["geometries"]
    config |= {"frames": "frames.h5", "max_geometries": 1, "directions": ["z"], "time": "3 fs"}
    config["level"]["basis"] = "sto-3g"
    lines, energies = {}, {}
    for vacuum in (False, True):
        result = invoke(tmp_path, config | {"in_vacuum": vacuum})
        assert result.exit_code == 0, result.output
        (geometry,) = json.loads((tmp_path / "result.json").read_text())["geometries"]
        lines[vacuum], energies[vacuum] = geometry["lines_ev"], geometry["ground_energy_hartree"]
    # PySCF itself, with the same charges.
    mean_field = dft.RKS(create_mean_field(WATER, LevelOfTheory("rhf", "sto-3g")).mol)
    mean_field.xc, mean_field.grids.level = "pbe0", 1
    assert energies[True] == pytest.approx(mean_field.kernel(), abs=1e-6)
    charges = frame.environment.positions / NM_PER_BOHR, frame.environment.charges
    embedded = qmmm.mm_charge(mean_field, *charges, unit="Bohr")
    assert energies[False] == pytest.approx(embedded.kernel(), abs=1e-6)
    assert abs(lines[False][0] - lines[True][0]) > 0.05


def test_charges_in_a_fresh_process() -> None:
    """PySCF's parts are not loaded by ``import pyscf``; tests that import them would hide that one is missing."""
    code = """
import numpy as np
from openmmkstep.rttddft import LevelOfTheory, Molecule, PointCharges
from openmmkstep.rttddft.electronic_structure.mean_field import create_mean_field

charges = PointCharges(np.array([[0.0, 0.0, 8.0]]), np.array([0.5]))
hydrogen = Molecule.create("HH", [[0, 0, 0], [0, 0, 0.074]])
create_mean_field(hydrogen, LevelOfTheory("rks", "sto-3g", "pbe"), charges)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
