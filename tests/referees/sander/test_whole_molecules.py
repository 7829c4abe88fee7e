"""Whole molecules as regions among all charges, without a box: sander has the same Hamiltonian, term by term."""

from __future__ import annotations

import pytest
from openmm import app

from openmmkstep import QMMMPotential
from tests.support.referees.orca_program import SETTINGS
from tests.support.referees.sander import calculate, positions_of, program, tleap
from tests.support.referees.terms import TOLERANCE, deviations, terms_of


@pytest.mark.parametrize("residue", ["ALA", "WAT"])
def test_molecule_among_waters(residue, tmp_path, record_property):
    """The dipeptide, or a flexible water beside it."""
    prmtop = tleap(
        tmp_path,
        "source leaprc.protein.ff14SB\nsource leaprc.water.tip3p\nm = sequence { ACE ALA NME }\n"
        "solvateShell m TIP3PBOX 4.0 0.8",
    )
    positions = positions_of(tmp_path / "system.rst7", seed=2)
    molecules = {"ALA": range(22), "WAT": range(22, 25)}
    system = prmtop.createSystem(nonbondedMethod=app.NoCutoff, rigidWater=False)
    assert system.getNumParticles() > 60
    region = list(molecules[residue])
    mixed = QMMMPotential("gfn2-xtb", **SETTINGS).createMixedSystem(prmtop.topology, system, region)
    theirs = calculate(tmp_path / "sander", tmp_path / "system.prmtop", positions, region)
    found = deviations(terms_of(mixed, positions), theirs)
    record_property("deviations", found)
    assert len(theirs.charges) == len(positions) - len(region)
    assert max(found.values()) < TOLERANCE, found


def test_chorismate_mutase(chorismate_mutase, tmp_path, record_property):
    """The substrate in 6,764 charges of the enzyme and its water."""
    program("sander")
    source = chorismate_mutase / "wt.sp20.prmtop"
    prmtop = app.AmberPrmtopFile(str(source))
    positions = positions_of(chorismate_mutase / "md1.rst7", seed=3)
    region = [atom.index for atom in prmtop.topology.atoms() if atom.residue.name == "CHO"]
    system = prmtop.createSystem(nonbondedMethod=app.NoCutoff, rigidWater=False)
    mixed = QMMMPotential("gfn2-xtb", **SETTINGS).createMixedSystem(prmtop.topology, system, region, charge=-2)
    theirs = calculate(tmp_path / "sander", source, positions, region, charge=-2)
    found = deviations(terms_of(mixed, positions), theirs)
    record_property("deviations", found)
    assert len(theirs.charges) == 6764
    assert max(found.values()) < TOLERANCE, found
