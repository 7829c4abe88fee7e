"""Molecules as fixtures; a conftest.py imports those that its tests use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app, unit

from tests.support.qmmm.molecules import ALA2_PDB, Molecule, water_box

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


@pytest.fixture
def ala2() -> Molecule:
    """Alanine dipeptide in the gas phase."""
    pdb = app.PDBFile(str(ALA2_PDB))
    force_field = app.ForceField("amber14-all.xml")
    return Molecule(
        pdb.topology,
        pdb.getPositions(asNumpy=True).value_in_unit(unit.nanometer),
        lambda **options: force_field.createSystem(pdb.topology, **options),
    )


@pytest.fixture(scope="session")
def solvated_parts() -> tuple[app.Topology, Any, app.ForceField]:
    pdb = app.PDBFile(str(ALA2_PDB))
    force_field = app.ForceField("amber14-all.xml", "amber14/tip3p.xml")
    modeller = app.Modeller(pdb.topology, pdb.positions)
    modeller.addSolvent(force_field, model="tip3p", boxSize=openmm.Vec3(2.2, 2.2, 2.2) * unit.nanometer)
    positions = np.array(modeller.positions.value_in_unit(unit.nanometer))
    return modeller.topology, positions, force_field


@pytest.fixture
def solvated_ala2(solvated_parts: tuple[app.Topology, Any, app.ForceField]) -> Molecule:
    """Alanine dipeptide in a box of about 330 TIP3P waters, 2.2 nm wide."""
    topology, positions, force_field = solvated_parts
    return Molecule(topology, positions, lambda **options: force_field.createSystem(topology, **options))


@pytest.fixture(scope="session")
def ala2_atoms() -> list[int]:
    """Indices of the solute in both."""
    return list(range(22))


@pytest.fixture(scope="session")
def flexible_water() -> Molecule:
    """A box of 258 waters, flexible unless asked otherwise."""
    box = water_box()
    return Molecule(box.topology, box.positions, lambda **o: box.create_system(**{"rigidWater": False, **o}))


@pytest.fixture
def chorismate_mutase() -> Path:
    """The folder of the chorismate mutase structure, where it lies beside the project."""
    folder = DATA / "chorismate_mutase"
    if not folder.is_dir():
        pytest.skip(f"the chorismate mutase structure is not beside the project ({folder})")
    return folder
