"""What createMixedSystem() leaves of every force field that OpenMM reads, against sums by hand, term by term."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import openmm
import pytest
from numpy.typing import NDArray
from openmm import app, unit

from openmmkstep import QMMMForce, QMMMPotential
from openmmkstep.qmmm.region import QMRegion
from tests.support.force_fields import butane
from tests.support.force_fields.hand_division import term_by_term
from tests.support.qmmm.molecules import ALA2_PDB
from tests.support.referees.sander import positions_of, tleap

SIDE_CHAIN = [10, 11, 12, 13]
DIPEPTIDE = list(range(22))


def without_parents_forces(
    system: openmm.System, positions: NDArray[np.float64], forces: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Forces [N,3] by particle, those on virtual sites given to the particles that define them, as OpenMM does."""
    carrier = openmm.XmlSerializer.clone(system)
    while carrier.getNumForces():
        carrier.removeForce(0)
    given = openmm.CustomExternalForce("-(fx*x+fy*y+fz*z)")
    for name in ("fx", "fy", "fz"):
        given.addPerParticleParameter(name)
    for particle, force in enumerate(forces):
        given.addParticle(particle, list(force))
    carrier.addForce(given)
    context = openmm.Context(carrier, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    return np.array(context.getState(forces=True).getForces(asNumpy=True)._value)


def check(
    topology: app.Topology,
    system: openmm.System,
    positions: NDArray[np.float64],
    atoms: list[int],
    embedding: str = "electrostatic",
) -> dict[str, float]:
    """Compare energies by kind of force and all forces; returns the reference's energies."""
    context = openmm.Context(
        openmm.XmlSerializer.clone(system),
        openmm.VerletIntegrator(0.001),
        openmm.Platform.getPlatformByName("Reference"),
    )
    context.setPositions(positions)
    context.computeVirtualSites()
    positions = np.array(context.getState(positions=True).getPositions(asNumpy=True)._value)
    region = QMRegion.create(topology, system, atoms, 0, 1)
    mixed = QMMMPotential("gfn2-xtb").createMixedSystem(topology, system, atoms, embedding=embedding)
    expected, expected_forces = term_by_term(system, positions, region.members, embedding == "mechanical")
    energies: dict[str, float] = defaultdict(float)
    forces = np.zeros_like(positions)
    for index in reversed(range(mixed.getNumForces())):
        if QMMMForce.isInstance(mixed.getForce(index)):
            mixed.removeForce(index)
    for group, force in enumerate(mixed.getForces()):
        force.setForceGroup(group)
    mixed_context = openmm.Context(
        mixed, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
    )
    mixed_context.setPositions(positions)
    for group, force in enumerate(mixed.getForces()):
        state = mixed_context.getState(energy=True, forces=True, groups={group})
        energies[type(force).__name__] += state.getPotentialEnergy()._value
        forces += state.getForces(asNumpy=True)._value
    nonbonded = expected["LennardJones"] + expected["Coulomb"]
    kinds = {name for name, energy in expected.items() if energy != 0} - {"LennardJones", "Coulomb"}
    assert {name for name, energy in energies.items() if energy != 0} == kinds | {"NonbondedForce"}
    for kind in kinds:
        assert energies[kind] == pytest.approx(expected[kind], rel=1e-9, abs=1e-9), kind
    assert energies["NonbondedForce"] == pytest.approx(nonbonded, rel=1e-9, abs=1e-9)
    expected_forces = without_parents_forces(system, positions, expected_forces)
    np.testing.assert_allclose(forces, expected_forces, rtol=0, atol=1e-8 * np.abs(expected_forces).max())
    return expected


def solvated(water: str, *files: str) -> tuple[app.Topology, openmm.System, NDArray[np.float64]]:
    """Alanine dipeptide in some 100 waters, all of it slightly moved; with CHARMM's force field ions as well."""
    force_field = app.ForceField(*files)
    charmm = files[0].startswith("charmm")
    pdb = app.PDBFile(str(ALA2_PDB))
    topology = in_one_residue(pdb.topology, "ALAD") if charmm else pdb.topology
    modeller = app.Modeller(topology, pdb.positions)
    options = {"residueTemplates": {next(topology.residues()): "ALAD"}} if charmm else {}
    modeller.addSolvent(
        force_field,
        model=water,
        boxSize=openmm.Vec3(1.6, 1.6, 1.6) * unit.nanometer,
        ionicStrength=(2.0 if charmm else 0.0) * unit.molar,
        **options,
    )
    options = {"residueTemplates": {next(modeller.topology.residues()): "ALAD"}} if charmm else {}
    system = force_field.createSystem(
        modeller.topology, nonbondedMethod=app.NoCutoff, rigidWater=True, flexibleConstraints=True, **options
    )
    positions = np.array(modeller.positions.value_in_unit(unit.nanometer))
    return modeller.topology, system, positions + np.random.default_rng(1).uniform(-0.003, 0.003, positions.shape)


def in_one_residue(topology: app.Topology, name: str) -> app.Topology:
    """A molecule as the one residue that CHARMM has for it."""
    merged = app.Topology()
    residue = merged.addResidue(name, merged.addChain())
    atoms = {atom: merged.addAtom(atom.name, atom.element, residue) for atom in topology.atoms()}
    for first, second in topology.bonds():
        merged.addBond(atoms[first], atoms[second])
    return merged


FORCE_FIELDS = {
    "amber ff14SB, TIP3P": ("tip3p", "amber14-all.xml", "amber14/tip3p.xml"),
    "amber ff19SB, OPC": ("tip4pew", "amber19/protein.ff19SB.xml", "amber19/opc.xml"),
    "amber ff14SB, TIP4P-Ew": ("tip4pew", "amber14-all.xml", "amber14/tip4pew.xml"),
    "amber99sb, TIP5P": ("tip5p", "amber99sb.xml", "tip5p.xml"),
    "CHARMM36, CHARMM's TIP3P": ("tip3p", "charmm36.xml", "charmm36/water.xml"),
    "CHARMM36, TIP4P-Ew": ("tip4pew", "charmm36.xml", "charmm36/tip4pew.xml"),
    "CHARMM36, TIP5P-Ew": ("tip5p", "charmm36.xml", "charmm36/tip5pew.xml"),
}


@pytest.fixture(scope="module", params=FORCE_FIELDS)
def system_of(request: pytest.FixtureRequest) -> tuple[str, app.Topology, openmm.System, NDArray[np.float64]]:
    water, *files = FORCE_FIELDS[request.param]
    return request.param, *solvated(water, *files)


@pytest.mark.parametrize("embedding", ["electrostatic", "mechanical"])
@pytest.mark.parametrize("region", ["dipeptide", "side chain", "water", "dipeptide and water"])
def test_force_fields_in_xml(system_of, region, embedding):
    name, topology, system, positions = system_of
    residues = [residue for residue in topology.residues() if residue.name == "HOH"]
    water = [atom.index for atom in residues[0].atoms()]
    atoms = {
        "dipeptide": DIPEPTIDE,
        "side chain": SIDE_CHAIN,
        "water": water,
        "dipeptide and water": [*DIPEPTIDE, *water],
    }[region]
    expected = check(topology, system, positions, atoms, embedding)
    if "CHARMM" in name:
        assert "CustomNonbondedForce" in expected
    if region in ("side chain", "water") and ("ff19SB" in name or "CHARMM" in name):
        assert expected["CMAPTorsionForce"] != 0


BUTANE = {"molecule": list(range(butane.SIZE)), "methyl group": butane.METHYL}


@pytest.mark.parametrize("region", BUTANE)
def test_charmm_psf(region, tmp_path):
    """Pairs that NBFIX changes, other parameters for pairs of three bonds, Urey-Bradley terms."""
    psf_path, prm_path = butane.write_charmm(tmp_path)
    psf = app.CharmmPsfFile(str(psf_path))
    system = psf.createSystem(app.CharmmParameterSet(str(prm_path)), nonbondedMethod=app.NoCutoff)
    expected = check(psf.topology, system, butane.positions(), BUTANE[region])
    assert expected["CustomNonbondedForce"] != 0
    assert [force.getName() for force in system.getForces()].count("HarmonicBondForce") == 2


@pytest.mark.parametrize("region", BUTANE)
def test_amber_file_of_charmm(region):
    """A prmtop that ParmEd 4.3.1 (ChamberParm) made of the PSF of the test above."""
    prmtop = app.AmberPrmtopFile(str(Path(__file__).parent / "butane_chamber.prmtop"))
    system = prmtop.createSystem(nonbondedMethod=app.NoCutoff)
    expected = check(prmtop.topology, system, butane.positions(), BUTANE[region])
    assert expected["CustomNonbondedForce"] != 0
    assert "UreyBradleyForce" in [force.getName() for force in system.getForces()]


@pytest.mark.parametrize(("rule", "pairs_changed"), [(1, False), (2, False), (2, True), (3, False)])
@pytest.mark.parametrize("region", BUTANE)
def test_gromacs_top(region, rule, pairs_changed, tmp_path):
    """Ryckaert-Bellemans torsions, Urey-Bradley angles, pair types; most have Lennard-Jones forces of their own."""
    top = app.GromacsTopFile(str(butane.write_gromacs(tmp_path, rule, pairs_changed)))
    system = top.createSystem(nonbondedMethod=app.NoCutoff)
    expected = check(top.topology, system, butane.positions(), BUTANE[region])
    assert expected["RBTorsionForce"] != 0
    assert ("CustomNonbondedForce" in expected) == (rule != 2 or pairs_changed)


@pytest.mark.parametrize("region", ["dipeptide", "side chain", "water"])
def test_amber_files(region, tmp_path):
    """ff19SB with its correction maps, in OPC."""
    prmtop = tleap(
        tmp_path,
        "source leaprc.protein.ff19SB\nsource leaprc.water.opc\nm = sequence { ACE ALA NME }\n"
        "solvateShell m OPCBOX 4.0 0.8",
    )
    system = prmtop.createSystem(
        nonbondedMethod=app.NoCutoff, constraints=None, rigidWater=True, flexibleConstraints=True
    )
    positions = positions_of(tmp_path / "system.rst7", seed=6)
    atoms = {"dipeptide": DIPEPTIDE, "side chain": SIDE_CHAIN, "water": [22, 23, 24, 25]}[region]
    expected = check(prmtop.topology, system, positions, atoms)
    assert (expected.get("CMAPTorsionForce", 0) != 0) == (region != "dipeptide")
