"""Methanol alone: GFN2 above any levels, and a small force field for runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openmm
from openmm import app, unit

from openmmkstep import QMMMPotential
from tests.support.models.methanol import BONDS
from tests.support.models.methanol import POSITIONS as POSITIONS
from tests.support.qmmm.molecules import make_topology

METHANOL = make_topology([("MOH", ("C", "O", "H", "H", "H", "H"), BONDS)])
_FORCE_FIELD = """<ForceField>
 <AtomTypes>
  <Type name="C" class="C" element="C" mass="12.011"/><Type name="O" class="O" element="O" mass="15.999"/>
  <Type name="H" class="H" element="H" mass="1.008"/><Type name="HO" class="HO" element="H" mass="1.008"/>
 </AtomTypes>
 <Residues><Residue name="MOH">
  <Atom name="C0" type="C"/><Atom name="O1" type="O"/><Atom name="H2" type="H"/><Atom name="H3" type="H"/>
  <Atom name="H4" type="H"/><Atom name="H5" type="HO"/>
  <Bond atomName1="C0" atomName2="O1"/><Bond atomName1="C0" atomName2="H2"/><Bond atomName1="C0" atomName2="H3"/>
  <Bond atomName1="C0" atomName2="H4"/><Bond atomName1="O1" atomName2="H5"/>
 </Residue></Residues>
 <HarmonicBondForce>
  <Bond class1="C" class2="O" length="0.141" k="267776"/><Bond class1="C" class2="H" length="0.109" k="284512"/>
  <Bond class1="O" class2="HO" length="0.096" k="462750"/>
 </HarmonicBondForce>
 <HarmonicAngleForce>
  <Angle class1="H" class2="C" class3="H" angle="1.911" k="292"/>
  <Angle class1="H" class2="C" class3="O" angle="1.911" k="418"/>
  <Angle class1="C" class2="O" class3="HO" angle="1.894" k="460"/>
 </HarmonicAngleForce>
</ForceField>
"""


def bare_methanol() -> openmm.System:
    """Masses without forces."""
    system = openmm.System()
    for atom in METHANOL.atoms():
        system.addParticle(atom.element.mass)
    return system


def mixed_methanol(surrogate: Any) -> openmm.System:
    """GFN2-xTB above a surrogate."""
    return QMMMPotential("gfn2-xtb").createMixedSystem(METHANOL, bare_methanol(), range(6), surrogate=surrogate)


def write_methanol(folder: Path) -> dict[str, Any]:
    """Put structure and force field into a folder; returns the section ``system`` of a configuration."""
    with (folder / "methanol.pdb").open("w") as file:
        app.PDBFile.writeFile(METHANOL, POSITIONS * unit.nanometer, file)
    (folder / "methanol.xml").write_text(_FORCE_FIELD)
    return {"structure": "methanol.pdb", "force_field": ["methanol.xml"]}
