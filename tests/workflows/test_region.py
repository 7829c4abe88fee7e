"""``kstep region``: what it tells of regions that can be, and of those that cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openmm import app as openmm_app
from openmm import unit
from typer.testing import CliRunner

from openmmkstep.cli import app
from openmmkstep.workflows.config.sections import QMSection
from openmmkstep.workflows.region.inspection import RegionInspection, inspect_region
from openmmkstep.workflows.setup.molecular_system import MolecularSystem
from tests.support.qmmm.molecules import ALA2_PDB
from tests.support.yaml_files import write_yaml

SIDE_CHAIN = "sidechain and resname ALA"


@pytest.fixture(scope="module")
def molecules() -> MolecularSystem:
    """Alanine dipeptide in water."""
    pdb = openmm_app.PDBFile(str(ALA2_PDB))
    field = openmm_app.ForceField("amber14-all.xml", "amber14/tip3p.xml")
    modeller = openmm_app.Modeller(pdb.topology, pdb.positions)
    modeller.addSolvent(field, boxSize=[2.2, 2.2, 2.2] * unit.nanometer)
    system = field.createSystem(modeller.topology, nonbondedMethod=openmm_app.PME, nonbondedCutoff=0.9)
    positions = np.array(modeller.positions.value_in_unit(unit.nanometer))
    return MolecularSystem(modeller.topology, positions, system)


def inspect(molecules: MolecularSystem, **section: Any) -> RegionInspection:
    return inspect_region(molecules, QMSection.model_validate({"cutoff": "0.8 nm", **section}))


def test_a_side_chain(molecules: MolecularSystem) -> None:
    found = inspect(molecules, atoms=SIDE_CHAIN)
    assert (found.atoms, found.formula, found.electrons) == (4, "CH4", 10)
    assert found.problems == found.warnings == found.proposals == ()
    assert found.force_field_charge == 0
    assert found.residues[0].charge == pytest.approx(-0.0016)
    (residue,) = found.residues
    assert (residue.atoms, residue.of, residue.names) == (4, 10, ("CB", "HB1", "HB2", "HB3"))
    (cut,), (link,) = found.cut_bonds, found.link_atoms
    assert (cut.qm, cut.mm) == (10, 8) and link.bond == cut.name
    assert link.ratio == pytest.approx(0.109 / 0.1526)
    x = molecules.positions
    assert link.distance == pytest.approx(link.ratio * np.linalg.norm(x[10] - x[8]), abs=1e-4)
    outside = [i for i in range(len(x)) if i not in range(10, 14)]
    delta = x[outside][:, None] - x[None, 10:14]
    near = np.linalg.norm(delta - 2.2 * np.round(delta / 2.2), axis=2).min(axis=1) < 0.8
    assert found.charges_within_cutoff == near.sum()


def test_an_amide_is_cut(molecules: MolecularSystem) -> None:
    found = inspect(molecules, atoms="resname ACE")
    assert len(found.problems) == 1 and "cannot be cut" in found.problems[0] and "amide" in found.problems[0]
    assert found.link_atoms == () and len(found.cut_bonds) == 1
    assert any("'sidechain and resid 2'" in proposal for proposal in found.proposals)


def test_a_charge_left_out(molecules: MolecularSystem) -> None:
    found = inspect(molecules, atoms="solute", charge=2)
    assert found.electrons == 76 and "sum to +0" in found.warnings[0]
    assert found.proposals == ("charge: 0, as the force field has it",)
    odd = inspect(molecules, atoms="solute", charge=1)
    assert "multiplicity must be even" in odd.problems[0]


def test_a_long_region(molecules: MolecularSystem) -> None:
    found = inspect(molecules, atoms="all")
    assert found.half_box == pytest.approx(1.1) and found.extent > 1.1
    assert "more than half the box" in found.warnings[0]


def test_the_command(tmp_path: Path, molecules: MolecularSystem) -> None:
    content = {
        "system": {"structure": str(ALA2_PDB), "force_field": ["amber14-all.xml"]},
        "qm": {"atoms": SIDE_CHAIN},
        "integrator": {"k": 1},
        "time": "1 ps",
    }
    config = write_yaml(tmp_path / "run.yaml", content)
    result = CliRunner().invoke(app, ["region", str(config), "--output", str(tmp_path / "region.json")])
    assert result.exit_code == 0, result.output
    assert "CB of ALA 2 (index 10) - CA of ALA 2 (index 8)" in result.output and "shift" in result.output
    saved = json.loads((tmp_path / "region.json").read_text())
    assert saved["schema"] == "kstep-region" and saved["cut_bonds"][0]["mm"] == 8
    content["qm"] = {"atoms": "resname NME"}
    result = CliRunner().invoke(app, ["region", str(write_yaml(tmp_path / "run.yaml", content))])
    assert result.exit_code == 1 and "problem:" in result.output
    result = CliRunner().invoke(app, ["region", str(config), "--output", str(tmp_path / "none" / "region.json")])
    assert result.exit_code == 1 and "is not a folder" in result.output
    assert not (tmp_path / "output").exists()
