"""Regions: their charge beside that of the force field, and bonds that the topology does not know."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import openmm
import pytest
from openmm import app, unit

from openmmkstep import QMMMPotential
from openmmkstep.qmmm.force_field.division import SystemDivision
from openmmkstep.qmmm.force_field.nonbonded_terms import RegionCharges
from openmmkstep.qmmm.molecule_graph import MoleculeGraph
from openmmkstep.qmmm.region import QMRegion, RegionChargeWarning, RegionError, region_charge_mismatch
from tests.support.qmmm.energies import energy_and_forces
from tests.support.qmmm.molecules import Molecule, make_topology

ION = ("ION", ["Na"], [])
ACETATE = ("ACT", ["C", "C", "O", "O", "H", "H", "H"], [(0, 1), (1, 2), (1, 3), (0, 4), (0, 5), (0, 6)])
ACETATE_CHARGES = [-0.2, 0.8, -0.85, -0.85, 0.03, 0.03, 0.04]


def system_of(charges: Sequence[float]) -> openmm.System:
    system = openmm.System()
    nonbonded = openmm.NonbondedForce()
    for charge in charges:
        system.addParticle(10)
        nonbonded.addParticle(charge, 0.3, 0.1)
    system.addForce(nonbonded)
    return system


def region_of(topology: app.Topology, system: openmm.System, atoms: Sequence[int], charge: int) -> QMRegion:
    return QMRegion.create(topology, system, atoms, charge, 1)


def test_charge_of_an_anion_left_out() -> None:
    topology, system = make_topology([ACETATE]), system_of(ACETATE_CHARGES)
    message = region_charge_mismatch(system, region_of(topology, system, range(7), 1), MoleculeGraph(topology, system))
    assert message is not None and "given the charge +1" in message and "sum to -1: pass charge=-1" in message
    assert (
        region_charge_mismatch(system, region_of(topology, system, range(7), -1), MoleculeGraph(topology, system))
        is None
    )


@pytest.mark.parametrize(
    ("charges", "charge", "expected"),
    [
        ([0.75], 1, None),  # charges scaled for electronic polarisation
        ([0.0], 1, None),  # no charges in the force field
        ([1.0], 1, None),
        ([1.0], -1, r"sum to \+1: pass charge=1"),
        ([0.4], 1, r"sum to \+0.400: pass charge=0"),
    ],
)
def test_charges_that_need_or_need_no_word(charges: list[float], charge: int, expected: str | None) -> None:
    topology, system = make_topology([ION]), system_of(charges)
    message = region_charge_mismatch(system, region_of(topology, system, [0], charge), MoleculeGraph(topology, system))
    if expected is None:
        assert message is None
    else:
        with pytest.warns(RegionChargeWarning, match=expected):
            QMMMPotential("gfn2-xtb").createMixedSystem(topology, system, [0], charge)


def test_without_one_nonbonded_force_nothing_is_said() -> None:
    topology, system = make_topology([ION]), system_of([1.0])
    system.addForce(openmm.NonbondedForce())
    system.getForce(1).addParticle(0, 1, 0)
    assert region_charge_mismatch(system, region_of(topology, system, [0], -1), MoleculeGraph(topology, system)) is None


def ion_in_water(ion: str, model: str) -> tuple[app.Topology, openmm.System, list[int]]:
    """An ion with the first water as a region in a box of water."""
    field = app.ForceField(f"amber14/{model}.xml")
    modeller = app.Modeller(make_topology([(ion.upper(), [ion], [])]), [[1, 1, 1]] * unit.nanometer)
    next(modeller.topology.atoms()).name = ion.upper()
    modeller.addSolvent(field, model=model, boxSize=openmm.Vec3(2, 2, 2) * unit.nanometer, neutralize=False)
    system = field.createSystem(modeller.topology, nonbondedMethod=app.PME, nonbondedCutoff=0.8)
    water = next(residue for residue in modeller.topology.residues() if residue.name == "HOH")
    return modeller.topology, system, [0, *(atom.index for atom in water.atoms() if atom.element is not None)]


@pytest.mark.parametrize("model", ["tip3p", "tip4pew"])
@pytest.mark.parametrize("ion", ["Mg", "Zn"])
def test_charge_of_an_ion_with_its_water_left_out(model: str, ion: str) -> None:
    """The charge of four-site water is on a site that is no QM atom, and counts all the same."""
    topology, system, atoms = ion_in_water(ion, model)
    potential = QMMMPotential("gfn2-xtb")
    with pytest.warns(RegionChargeWarning, match=r"of its 4 atoms sum to \+2: pass charge=2,"):
        potential.createMixedSystem(topology, system, atoms, cutoff=0.8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        potential.createMixedSystem(topology, system, atoms, 2, cutoff=0.8)


@pytest.mark.parametrize(("ion", "charge"), [("Na", 1), ("Cl", -1)])
def test_charge_left_out_where_it_leaves_an_odd_electron(ion: str, charge: int) -> None:
    """The number of electrons is refused, and what is probably meant is named."""
    topology, system, atoms = ion_in_water(ion, "tip3p")
    potential = QMMMPotential("gfn2-xtb")
    with pytest.raises(RegionError, match=rf"must be even; but the force field gives .* the charge \{charge:+d}"):
        potential.createMixedSystem(topology, system, atoms, cutoff=0.8)
    # Where charge and force field agree there is nothing to add.
    with pytest.raises(RegionError, match=r"must be odd$"):
        potential.createMixedSystem(topology, system, atoms, charge, 2, cutoff=0.8)


def test_charge_of_chorismate_left_out(chorismate_mutase: Path) -> None:
    prmtop = app.AmberPrmtopFile(str(chorismate_mutase / "wt.sp20.prmtop"))
    system = prmtop.createSystem(nonbondedMethod=app.NoCutoff, constraints=app.HBonds)
    substrate = [atom.index for atom in prmtop.topology.atoms() if atom.residue.name == "CHO"]
    potential = QMMMPotential("gfn2-xtb")
    with pytest.warns(RegionChargeWarning, match=r"charge \+0, but .* of its 24 atoms sum to -2: pass charge=-2"):
        potential.createMixedSystem(prmtop.topology, system, substrate)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        potential.createMixedSystem(prmtop.topology, system, substrate, charge=-2)


# Bonds that the topology does not know


def without_bonds(topology: app.Topology) -> app.Topology:
    bare = app.Topology()
    chain = bare.addChain()
    for residue in topology.residues():
        copy = bare.addResidue(residue.name, chain, residue.id)
        for atom in residue.atoms():
            bare.addAtom(atom.name, atom.element, copy)
    return bare


@pytest.mark.parametrize("constraints", [None, app.HBonds, app.AllBonds])
def test_bonds_missing_in_the_topology_are_found(ala2: Molecule, ala2_atoms: list[int], constraints: object) -> None:
    system = ala2.create_system(constraints=constraints)
    bare = without_bonds(ala2.topology)
    graph = MoleculeGraph(bare, system)
    assert graph.bonds == MoleculeGraph(ala2.topology, system).bonds
    with pytest.raises(RegionError, match=r"C of ACE 1 \(index 4\) - N of ALA 2 \(index 6\) .* cannot be cut"):
        QMRegion.create(bare, system, range(6), 0, 1, graph)
    left = SystemDivision(system, ala2_atoms, graph, charges=RegionCharges.REMOVED)
    assert energy_and_forces(left.system, ala2.positions)[0] == pytest.approx(0, abs=1e-9)
    assert left.system.getNumConstraints() == 0


def test_a_single_bond_missing_in_the_topology_is_found(ala2: Molecule) -> None:
    """As with a disulfide bridge that a file does not list."""
    system = ala2.create_system()
    partial = without_bonds(ala2.topology)
    atoms = list(partial.atoms())
    for bond in ala2.topology.bonds():
        if {bond[0].index, bond[1].index} != {4, 6}:
            partial.addBond(atoms[bond[0].index], atoms[bond[1].index])
    with pytest.raises(RegionError, match=r"C of ACE 1 \(index 4\) - N of ALA 2 \(index 6\) .* cannot be cut"):
        QMRegion.create(partial, system, range(6), 0, 1)


@pytest.mark.parametrize("constrain", [True, False])
def test_restraints_and_constraints_between_molecules_are_no_bonds(ala2: Molecule, constrain: bool) -> None:
    topology, system = make_topology([ACETATE, ION]), system_of([*ACETATE_CHARGES, 1.0])
    if constrain:
        system.addConstraint(2, 7, 0.3)
    else:
        spring = openmm.HarmonicBondForce()
        spring.addBond(2, 7, 0.3, 1000)
        system.addForce(spring)
    graph = MoleculeGraph(topology, system)
    assert graph.cut_bonds(range(7)) == []
    assert graph.molecules.tolist() == 7 * [0] + [1]


def test_without_a_nonbonded_force_only_what_has_no_bonds_is_doubted() -> None:
    """The springs of a topology without bonds are its bonds; one between two molecules of bonds is a restraint."""
    system = openmm.System()
    spring = openmm.HarmonicBondForce()
    for _ in range(4):
        system.addParticle(10)
    spring.addBond(1, 2, 0.1, 1000)
    system.addForce(spring)
    pairs = make_topology([("A", ["C", "C"], [(0, 1)]), ("B", ["C", "C"], [(0, 1)])])
    assert MoleculeGraph(pairs, system).bonds == [(0, 1), (2, 3)]
    bare = make_topology([("A", ["C"] * 4, [])])
    assert MoleculeGraph(bare, system).bonds == [(1, 2)]


def test_separations(ala2: Molecule) -> None:
    graph = MoleculeGraph(ala2.topology, ala2.create_system())
    assert [graph.separation(4, other) for other in (4, 6, 8, 14, 16)] == [0, 1, 2, 3, None]
    assert graph.separation(4, 16, limit=5) == 4
