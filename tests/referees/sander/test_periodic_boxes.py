"""Periodic boxes. What is the same Hamiltonian, and what is not.

Through EXTERN sander shows the region the charges within `qmcut` of it, atom by atom, and nothing beyond; here charge
groups are switched off. They agree where every group is nearer than the switching distance, or none is. In PME sander's
region has no charges, which is ``farField="none"`` here. All other terms are the same in any box.
"""

from __future__ import annotations

import numpy as np
import openmm
import pytest
from openmm import app

from openmmkstep import QMMMPotential
from tests.support.referees.link_atoms import (
    at_fixed_distances,
    charges_of,
    charges_with_nothing_to_choose,
    distances_at,
)
from tests.support.referees.orca_program import SETTINGS
from tests.support.referees.sander import calculate, positions_of, rounded, tleap, with_charges
from tests.support.referees.terms import TOLERANCE, deviations, terms_of

EWALD = {"nonbondedMethod": app.Ewald, "ewaldErrorTolerance": 1e-10, "rigidWater": False}


def boxed(prmtop: app.AmberPrmtopFile, width: float, **options) -> openmm.System:
    """The system in a cubic box, nm wide, as sander has it: no correction for Lennard-Jones beyond the cut-off."""
    prmtop.topology.setPeriodicBoxVectors(np.eye(3) * width)
    system = prmtop.createSystem(**EWALD, **options)
    system.setDefaultPeriodicBoxVectors(*(np.eye(3) * width))
    nonbonded = next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    nonbonded.setUseDispersionCorrection(False)
    return system


@pytest.mark.parametrize("region", ["dipeptide", "side chain"])
def test_droplet_within_the_cutoff(region, tmp_path, record_property):
    """The dipeptide, or its side chain, among waters that it sees in full, across the border of the box."""
    prmtop = tleap(
        tmp_path,
        "source leaprc.protein.ff14SB\nsource leaprc.water.tip3p\nm = sequence { ACE ALA NME }\n"
        "solvateShell m TIP3PBOX 4.0 0.8\nsetbox m vdw 5.0",
    )
    positions = positions_of(tmp_path / "system.rst7", seed=5)
    width, cutoff = 3.6, 1.2
    # Some molecules on the other side, as whole as they are.
    positions = rounded(positions - positions[:22].mean(axis=0) + np.array([0.1, 1.8, 0.2]))
    for residue in prmtop.topology.residues():
        atoms = [atom.index for atom in residue.atoms()]
        if residue.name == "HOH":
            positions[atoms] -= width * np.floor(positions[atoms[0]] / width)
    positions = rounded(positions)
    assert len(positions) > 60
    topology, path = prmtop.topology, tmp_path / "system.prmtop"
    atoms, cuts = list(range(22)), []
    if region == "side chain":
        atoms, cuts = [10, 11, 12, 13], [(10, 8)]
        path = tmp_path / "changed.prmtop"
        changes = charges_with_nothing_to_choose(prmtop, atoms, cuts)
        prmtop = with_charges(tmp_path / "system.prmtop", path, changes)
    system = boxed(prmtop, width, nonbondedCutoff=cutoff)
    mixed = QMMMPotential("gfn2-xtb", **SETTINGS).createMixedSystem(
        topology,
        system,
        atoms,
        cutoff=1.75,
        switchDistance=1.7,
        farField="none",
        linkAtomDistances=distances_at(system, positions, cuts),
        chargeScheme="none",
    )
    theirs = calculate(tmp_path / "sander", path, positions, atoms, box=width, cutoff=cutoff, qm_cutoff=1.1)
    ours = terms_of(mixed, positions)
    found = deviations(ours, theirs)
    if cuts:
        rest = at_fixed_distances(mixed, positions, cuts, ours.total_force) - theirs.forces
        found["force"] = float(np.abs(rest).max() / np.abs(theirs.forces).max())
    record_property("deviations", found)
    assert len(theirs.charges) == len(positions) - len(atoms) - len(cuts)
    assert max(found.values()) < TOLERANCE, found


def test_box_of_water(tmp_path, record_property):
    """Where the cut-off goes through the water, sander cuts atom by atom; all else is the same."""
    prmtop = tleap(
        tmp_path,
        "source leaprc.protein.ff14SB\nsource leaprc.water.tip3p\nm = sequence { ACE ALA NME }\n"
        "solvateBox m TIP3PBOX 7.0 iso",
    )
    width = float((tmp_path / "system.rst7").read_text().splitlines()[-1].split()[0]) / 10
    positions = positions_of(tmp_path / "system.rst7", seed=8)
    atoms, cutoff, qm_cutoff = list(range(22)), 0.8, 0.7
    system = boxed(prmtop, width, nonbondedCutoff=cutoff)
    mixed = QMMMPotential("gfn2-xtb", **SETTINGS).createMixedSystem(
        prmtop.topology, system, atoms, cutoff=qm_cutoff, farField="none"
    )
    theirs = calculate(
        *(tmp_path / "sander", tmp_path / "system.prmtop", positions, atoms),
        box=width,
        cutoff=cutoff,
        qm_cutoff=qm_cutoff,
    )
    found = deviations(terms_of(mixed, positions), theirs, without=("qm",))
    record_property("deviations", found)
    assert max(found.values()) < TOLERANCE, found
    apart = positions[22:, None] - positions[None, :22]
    apart -= width * np.round(apart / width)
    near = np.linalg.norm(apart, axis=2).min(axis=1) < qm_cutoff
    np.testing.assert_allclose(theirs.charges, charges_of(prmtop)[22:][near], rtol=0, atol=1e-8)
    # Molecules that it cuts leave the region a charge of its surroundings; charge groups have none.
    assert abs(theirs.charges.sum()) > 0.1
