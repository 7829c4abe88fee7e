"""``kstep region``: what it tells of regions that can be, and of those that cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app as openmm_app
from openmm import unit
from typer.testing import CliRunner

from openmmkstep.cli import app
from openmmkstep.qmmm.region import RegionError
from openmmkstep.workflows.config.sections import QMSection
from openmmkstep.workflows.region.inspection import RegionInspection, inspect_region
from openmmkstep.workflows.setup.mixed_system import build_mixed_system
from openmmkstep.workflows.setup.molecular_system import MolecularSystem
from openmmkstep.workflows.setup.region_extent import RegionExtentWarning
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


def a_chain(length: int, box: float) -> tuple[MolecularSystem, QMSection]:
    """Hydrogen molecules in a row along x, 0.4 nm apart, and one far off, torn apart and strewn over images."""
    topology, system = openmm_app.Topology(), openmm.System()
    system.setDefaultPeriodicBoxVectors(*(box * np.eye(3)))
    force = openmm.NonbondedForce()
    force.setNonbondedMethod(openmm.NonbondedForce.PME)
    positions = []
    chain = topology.addChain()
    for index in range(length + 1):
        residue = topology.addResidue("HYD", chain)
        pair = [topology.addAtom(f"H{k}", openmm_app.element.hydrogen, residue) for k in (1, 2)]
        topology.addBond(*pair)
        for k in (0, 1):
            system.addParticle(1.008)
            force.addParticle(0, 0.2, 0.1)
            place = (0.4 * index, 0.075 * k, 0) if index < length else (0.0, 0.075 * k, 0.5 * box)
            positions.append(np.array(place) + box * np.array([index % 3 - 1, k, index - k]))
        force.addException(2 * index, 2 * index + 1, 0, 1, 0)
    system.addForce(force)
    return MolecularSystem(topology, np.array(positions), system), QMSection.model_validate(
        {"atoms": list(range(2 * length)), "embedding": "mechanical"}
    )


def test_the_length_of_a_region_that_the_box_tears_apart() -> None:
    molecules, qm = a_chain(3, 2.4)
    found = inspect_region(molecules, qm)
    assert found.half_box == pytest.approx(1.2)
    assert found.extent == pytest.approx(np.hypot(0.8, 0.075))
    assert found.problems == found.warnings == ()


def test_a_region_longer_than_half_the_box() -> None:
    molecules, qm = a_chain(5, 2.4)
    found = inspect_region(molecules, qm)
    assert found.extent == pytest.approx(np.hypot(1.6, 0.075)) and found.problems == ()
    assert (
        "more than half the box (1.20 nm)" in found.warnings[0] and "0.80 nm from its own images" in found.warnings[0]
    )
    with pytest.warns(RegionExtentWarning, match="more than half the box"):
        build_mixed_system(molecules, qm)


def test_a_region_that_reaches_around_the_box() -> None:
    molecules, qm = a_chain(6, 2.4)
    assert "0.40 nm from its own images" in inspect_region(molecules, qm).problems[0]
    with pytest.raises(RegionError, match=r"reaches around the periodic box.*larger box"):
        build_mixed_system(molecules, qm)


def test_without_a_box_no_region_is_too_long(molecules: MolecularSystem) -> None:
    system = openmm.System()
    for index in range(molecules.system.getNumParticles()):
        system.addParticle(molecules.system.getParticleMass(index))
    found = inspect_region(
        MolecularSystem(molecules.topology, molecules.positions, system), QMSection.model_validate({"atoms": "all"})
    )
    assert found.half_box is None and found.extent > 2.2
    assert not any("box" in text for text in found.problems + found.warnings)


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
