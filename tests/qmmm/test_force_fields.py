"""What every generator of OpenMM makes inside a region is recognised without a question, term by term."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app, unit

from openmmkstep.qmmm.force_field.division import SystemDivision
from openmmkstep.qmmm.force_field.nonbonded_terms import RegionCharges
from openmmkstep.qmmm.force_field.origins import has_charmm_impropers
from openmmkstep.qmmm.force_field.recognition import AmbiguousForceError
from openmmkstep.qmmm.molecule_graph import MoleculeGraph
from tests.support.qmmm.energies import energy_and_forces, with_forces
from tests.support.qmmm.molecules import Molecule

FORMALDEHYDE = np.array([[0.0, 0.0, 0.0], [0.121, 0.004, 0.01], [-0.06, 0.095, -0.006], [-0.055, -0.094, 0.012]])

PSF = """PSF EXT XPLOR

       1 !NTITLE
 REMARKS formaldehyde

       4 !NATOM
         1 FRM      1        FRM      C        CT       0.300000       12.0110           0
         2 FRM      1        FRM      O        OT      -0.400000       15.9990           0
         3 FRM      1        FRM      H1       HT       0.050000        1.0080           0
         4 FRM      1        FRM      H2       HT       0.050000        1.0080           0

       3 !NBOND: bonds
         1         2         1         3         1         4

       3 !NTHETA: angles
         2         1         3         2         1         4         3         1         4

       0 !NPHI: dihedrals


       1 !NIMPHI: impropers
         1         2         3         4

       0 !NDON: donors


       0 !NACC: acceptors


       0 !NNB

         0         0         0         0

"""

PRM = """* formaldehyde
*
ATOMS
MASS  1 CT 12.011
MASS  2 OT 15.999
MASS  3 HT  1.008

BONDS
CT OT 600.0 1.20
CT HT 330.0 1.10

ANGLES
OT CT HT  65.0 122.0
HT CT HT  35.0 116.0  20.0 1.85

IMPROPER
CT OT HT HT 45.0 0 0.0

NONBONDED
CT 0.0 -0.07 2.0
OT 0.0 -0.12 1.7
HT 0.0 -0.03 1.2
END
"""

TOP = """[ defaults ]
1 2 yes 0.5 0.5
[ atomtypes ]
CT 6 12.011  0.30 A 0.35 0.29
OT 8 15.999 -0.40 A 0.30 0.50
HT 1  1.008  0.05 A 0.22 0.12
[ moleculetype ]
FRM 3
[ atoms ]
1 CT 1 FRM C  1  0.30 12.011
2 OT 1 FRM O  1 -0.40 15.999
3 HT 1 FRM H1 1  0.05 1.008
4 HT 1 FRM H2 1  0.05 1.008
[ bonds ]
1 2 1 0.120 500000
1 3 1 0.110 280000
1 4 1 0.110 280000
[ angles ]
2 1 3 1 122.0 500
2 1 4 1 122.0 500
3 1 4 5 116.0 300 0.185 17000
[ dihedrals ]
1 2 3 4 2 0.0 160
[ system ]
formaldehyde
[ molecules ]
FRM 2
"""


def assert_region_is_the_molecule_in_vacuum(
    molecule: Molecule, system: openmm.System, region: list[int], names: set[str]
) -> None:
    """Nothing of an isolated region is left, and what was removed is everything."""
    division = SystemDivision(system, region, MoleculeGraph(molecule.topology, system), charges=RegionCharges.REMOVED)
    removed = division.region_forces()
    assert {force.getName() for force in removed} == names
    inside, inside_forces = energy_and_forces(with_forces(bare(system), removed), molecule.positions)
    outside, _ = energy_and_forces(division.system, molecule.positions)
    whole, whole_forces = energy_and_forces(system, molecule.positions)
    assert outside + inside == pytest.approx(whole, rel=1e-9)
    if len(region) == system.getNumParticles():
        assert outside == pytest.approx(0, abs=1e-9)
        np.testing.assert_allclose(inside_forces, whole_forces, rtol=1e-7, atol=1e-5)


def bare(system: openmm.System) -> openmm.System:
    copy = openmm.XmlSerializer.clone(system)
    while copy.getNumForces():
        copy.removeForce(0)
    return copy


@pytest.fixture(scope="module")
def lipid() -> tuple[app.Topology, Any]:
    """One molecule of POPC, 134 atoms, with the harmonic improper torsions of CHARMM."""
    pdb = app.PDBFile(str(Path(app.__file__).parent / "data" / "POPC.pdb"))
    modeller = app.Modeller(pdb.topology, pdb.positions)
    modeller.delete(list(pdb.topology.residues())[1:])
    return modeller.topology, np.array(modeller.positions.value_in_unit(unit.nanometer))


CHARMM = {"HarmonicBondForce", "HarmonicAngleForce", "PeriodicTorsionForce", "CustomTorsionForce"} | {
    "RegionPairs",
    "RegionLennardJones",
    "LennardJones14",
}


@pytest.mark.parametrize("name", ["charmm36", pytest.param("charmm36_2024", marks=pytest.mark.slow)])
def test_charmm(lipid: tuple[app.Topology, Any], name: str) -> None:
    topology, positions = lipid
    molecule = Molecule(topology, positions, app.ForceField(f"{name}.xml").createSystem)
    assert_region_is_the_molecule_in_vacuum(molecule, molecule.create_system(topology), list(range(134)), CHARMM)


def test_amber_with_correction_maps(ala2: Molecule, ala2_atoms: list[int]) -> None:
    system = app.ForceField("amber19/protein.ff19SB.xml").createSystem(ala2.topology)
    names = {"HarmonicBondForce", "HarmonicAngleForce", "PeriodicTorsionForce", "CMAPTorsionForce", "RegionPairs"}
    assert_region_is_the_molecule_in_vacuum(ala2, system, ala2_atoms, names)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("k*min(dtheta, 2*pi-dtheta)^2; dtheta = abs(theta-theta0);pi = 3.141593;", True),
        ("k*min(dtheta, 2*pi - dtheta)^2; dtheta = abs(theta - theta0); pi = 3.141592653589793", True),
        ("k*(theta-theta0)^2", True),
        ("0.5*k*min(dtheta, 2*pi-dtheta)^2; dtheta = abs(theta-theta0); pi = 3.1415926535", False),
        ("k*(1-cos(theta-theta0))", False),
    ],
)
def test_forms_of_charmm_impropers(expression: str, expected: bool) -> None:
    """Those of CharmmPsfFile, charmm36_2024.xml and charmm36.xml; not those of dihedral restraints."""
    assert has_charmm_impropers(openmm.CustomTorsionForce(expression)) is expected


def test_a_second_improper_force_beside_that_of_charmm_is_in_doubt(lipid: tuple[app.Topology, Any]) -> None:
    topology, _ = lipid
    system = app.ForceField("charmm36.xml").createSystem(topology)
    improper = next(force for force in system.getForces() if isinstance(force, openmm.CustomTorsionForce))
    own = openmm.CustomTorsionForce(improper.getEnergyFunction())
    for parameter in ("k", "theta0"):
        own.addPerTorsionParameter(parameter)
    own.addTorsion(*improper.getTorsionParameters(0)[:4], [10.0, 0.1])
    index = system.addForce(own)
    graph = MoleculeGraph(topology, system)
    with pytest.raises(AmbiguousForceError, match=rf"force {index} \(CustomTorsionForce"):
        SystemDivision(system, range(134), graph)
    left = SystemDivision(system, range(134), graph, keep_forces=[own]).system
    kept = [force for force in left.getForces() if isinstance(force, openmm.CustomTorsionForce)]
    assert [force.getNumTorsions() for force in kept] == [1]


def test_amber_lipid(lipid: tuple[app.Topology, Any]) -> None:
    topology, positions = lipid
    molecule = Molecule(topology, positions, app.ForceField("amber14/lipid17.xml").createSystem)
    names = {"HarmonicBondForce", "HarmonicAngleForce", "PeriodicTorsionForce", "RegionPairs"}
    assert_region_is_the_molecule_in_vacuum(molecule, molecule.create_system(topology), list(range(134)), names)


def test_charmm_psf(tmp_path: Path) -> None:
    """Its Urey-Bradley terms are in a second force of the same name, its impropers in one of a default name."""
    (tmp_path / "frm.psf").write_text(PSF)
    (tmp_path / "frm.prm").write_text(PRM)
    psf = app.CharmmPsfFile(str(tmp_path / "frm.psf"))
    system = psf.createSystem(app.CharmmParameterSet(str(tmp_path / "frm.prm")))
    assert [force.getName() for force in system.getForces()].count("HarmonicBondForce") == 2
    molecule = Molecule(psf.topology, FORMALDEHYDE, lambda: system)
    # No pairs: all four atoms are neighbours of two bonds.
    names = {"HarmonicBondForce", "HarmonicAngleForce", "CustomTorsionForce", "RegionPairs"}
    assert_region_is_the_molecule_in_vacuum(molecule, system, list(range(4)), names)


def two_of_them(apart: float) -> Any:
    return np.concatenate([FORMALDEHYDE, FORMALDEHYDE + np.array([0, 0.1, apart])])


def test_gromacs(tmp_path: Path) -> None:
    """Urey-Bradley terms among the bonds, harmonic impropers in a force of their own name."""
    (tmp_path / "frm.top").write_text(TOP)
    top = app.GromacsTopFile(str(tmp_path / "frm.top"))
    system = top.createSystem()
    molecule = Molecule(top.topology, two_of_them(0.5), lambda: system)
    names = {"HarmonicBondForce", "HarmonicAngleForce", "HarmonicTorsionForce", "RegionPairs"}
    division = SystemDivision(system, range(4), MoleculeGraph(molecule.topology, system))
    removed = division.region_forces()
    assert {force.getName() for force in removed} == names
    whole, _ = energy_and_forces(system, molecule.positions)
    both, _ = energy_and_forces(with_forces(division.system, removed), molecule.positions)
    inside, _ = energy_and_forces(with_forces(bare(system), removed), molecule.positions)
    alone, _ = energy_and_forces(division.system, two_of_them(500))
    assert both == pytest.approx(whole, rel=1e-12)
    # Two equal molecules, of which one is in the region: each has half of the energy when they are far apart.
    assert inside == pytest.approx(alone, rel=1e-6)


def test_a_gromacs_region_of_the_whole_system_asks_about_urey_bradley_terms(tmp_path: Path) -> None:
    """Nothing outside tells that they belong to the force field."""
    (tmp_path / "frm.top").write_text(TOP.replace("FRM 2", "FRM 1"))
    top = app.GromacsTopFile(str(tmp_path / "frm.top"))
    system = top.createSystem()
    graph = MoleculeGraph(top.topology, system)
    with pytest.raises(AmbiguousForceError, match=r"H1 of FRM 1 .* - H2 of FRM 1 .* is a pair across an angle"):
        SystemDivision(system, range(4), graph)
    left = SystemDivision(
        system, range(4), graph, charges=RegionCharges.REMOVED, remove_forces=["HarmonicBondForce"]
    ).system
    assert energy_and_forces(left, FORMALDEHYDE)[0] == pytest.approx(0, abs=1e-9)


def test_amber_files(chorismate_mutase: Path) -> None:
    """The substrate and two flexible waters, whose hydrogens Amber bonds to each other."""
    prmtop = app.AmberPrmtopFile(str(chorismate_mutase / "wt.sp20.prmtop"))
    restart = app.AmberInpcrdFile(str(chorismate_mutase / "md1.rst7"))
    system = prmtop.createSystem(nonbondedMethod=app.NoCutoff, rigidWater=False)
    residues = list(prmtop.topology.residues())
    chosen = [r for r in residues if r.name == "CHO"] + [r for r in residues if r.name in ("WAT", "HOH")][:2]
    region = [atom.index for residue in chosen for atom in residue.atoms()]
    positions = np.array(restart.positions.value_in_unit(unit.nanometer))
    molecule = Molecule(prmtop.topology, positions, prmtop.createSystem)
    division = SystemDivision(system, region, MoleculeGraph(molecule.topology, system))
    removed = division.region_forces()
    bonds = next(force for force in removed if isinstance(force, openmm.HarmonicBondForce))
    assert bonds.getNumBonds() == 24 + 3 + 3
    whole, _ = energy_and_forces(system, positions)
    both, _ = energy_and_forces(with_forces(division.system, removed), positions)
    assert both == pytest.approx(whole, rel=1e-9)
