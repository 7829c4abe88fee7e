"""The selection language against the names, numbers and distances of topologies made by hand and by OpenMM."""

from __future__ import annotations

import numpy as np
import pytest
from openmm import Vec3, app, unit

from openmmkstep.workflows.setup.selection import SelectionError, select_atoms
from tests.support.qmmm.molecules import Molecule


def _names(molecule: Molecule, selection: str) -> set[str]:
    atoms = list(molecule.topology.atoms())
    return {f"{atoms[i].residue.name}:{atoms[i].name}" for i in select_atoms(molecule.topology, selection)}


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ("sidechain", {"ALA:CB", "ALA:HB1", "ALA:HB2", "ALA:HB3"}),
        ("backbone", {"ALA:N", "ALA:H", "ALA:CA", "ALA:HA", "ALA:C", "ALA:O"}),
        ("name CA CB and resname ALA", {"ALA:CA", "ALA:CB"}),
        ("name CA, CB and element C", {"ALA:CA", "ALA:CB"}),
        ("protein and not (backbone or element H)", {"ALA:CB"}),
        # "and" binds stronger than "or", "not" only what follows at once.
        ("name CB or name N and resname NME", {"ALA:CB", "NME:N"}),
        ("not element H and sidechain", {"ALA:CB"}),
        ("same residue as name CB and element O", {"ALA:O"}),
    ],
)
def test_names(ala2: Molecule, selection: str, expected: set[str]) -> None:
    assert _names(ala2, selection) == expected


def test_numbers_are_those_of_the_file(ala2: Molecule) -> None:
    residues = list(ala2.topology.residues())
    second = [atom.index for atom in residues[1].atoms()]
    assert select_atoms(ala2.topology, f"resid {residues[1].id}") == second
    assert select_atoms(ala2.topology, f"chain {residues[1].chain.id}") == list(range(22))
    assert select_atoms(ala2.topology, f"resid {residues[0].id}-{residues[2].id}") == list(range(22))
    assert select_atoms(ala2.topology, "index 0-3 and not index 1,2") == [0, 3]


def test_lists_are_united(ala2: Molecule) -> None:
    methyl = select_atoms(ala2.topology, "sidechain")
    assert select_atoms(ala2.topology, ["sidechain", 0, methyl[0], "1-2"]) == sorted({0, 1, 2, *methyl})


def test_repeated_indices_are_left_for_the_region_to_refuse(ala2: Molecule) -> None:
    assert select_atoms(ala2.topology, (3, 1, 3)) == [1, 3, 3]


def _argon(points: np.ndarray, box: np.ndarray | None) -> app.Topology:
    topology = app.Topology()
    chain = topology.addChain("A")
    for _ in points:
        topology.addAtom("Ar", app.element.argon, topology.addResidue("AR", chain))
    if box is not None:
        topology.setPeriodicBoxVectors([Vec3(*row) for row in box] * unit.nanometer)
    return topology


@pytest.mark.parametrize(
    "box",
    [None, np.diag([2.0, 2.4, 3.0]), np.array([[2.0, 0, 0], [0.6, 1.9, 0], [-0.7, 0.8, 1.8]])],
    ids=["cluster", "rectangular", "triclinic"],
)
def test_distances_count_to_the_nearest_image(box: np.ndarray | None) -> None:
    points = np.random.default_rng(4).uniform(-3, 3, size=(60, 3))
    topology = _argon(points, box)
    images = np.zeros((1, 3)) if box is None else np.array(list(np.ndindex(15, 15, 15))) @ box - 7 * box.sum(axis=0)
    nearest = np.linalg.norm(points[:, None] + images - points[0], axis=2).min(axis=1)
    expected = [int(i) for i in np.flatnonzero(nearest <= 0.85)]
    assert select_atoms(topology, "within 8.5 A of index 0", points) == expected
    assert select_atoms(topology, "within 0.85nm of (index 0)", points) == expected
    if box is not None:
        assert 1 < len(expected) < len(points)


def test_whole_water_molecules_near_the_solute(solvated_ala2: Molecule) -> None:
    topology = solvated_ala2.topology
    positions = np.array(solvated_ala2.positions)
    near = select_atoms(topology, "water and within 3 A of solute", positions)
    whole = select_atoms(topology, "same residue as (water and within 3 A of solute)", positions)
    atoms = list(topology.atoms())
    residues = {atoms[i].residue.index for i in near}
    assert near
    assert len(near) < len(whole) == 3 * len(residues)
    assert {atoms[i].residue.index for i in whole} == residues


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ("", "is empty"),
        ("resname ALX", "resname ALX selects nothing; the nearest are ALA"),
        ("name cb", "the nearest are CB"),
        ("resid 77", "no residue has the number 77; the file's numbers run from 1 to"),
        ("index 5000", "there is no atom 5000"),
        ("backbone and sidechain", "'backbone and sidechain' selects nothing"),
        ("water", "selects nothing"),
        ("sidechian", "is 'sidechain' meant"),
        ("(sidechain", r"'\)' is missing before 'its end'"),
        ("sidechain)", "cannot understand"),
        ("sidechain or", "at 'its end'"),
        ("resname", "'resname' needs at least one value"),
        ("resid A", "not 'A'"),
        ("within 4 of solute", "needs its unit"),
        ("within x A of solute", "cannot understand"),
        ("within 0 A of solute", "above 0"),
        ("within 4 A solute", "'of' is missing"),
        ("within 4 A of solute", "needs the positions"),
    ],
)
def test_what_cannot_be_selected(ala2: Molecule, selection: str, message: str) -> None:
    with pytest.raises(SelectionError, match=message):
        select_atoms(ala2.topology, selection)


def test_distances_above_half_the_box_are_refused() -> None:
    points = np.zeros((2, 3))
    with pytest.raises(SelectionError, match="more than half the width of the box"):
        select_atoms(_argon(points, 2 * np.eye(3)), "within 11 A of index 0", points)


def test_ions_are_residues_of_one_atom() -> None:
    # A calcium ion and an alpha carbon share their name; a residue of two atoms named like an ion is none.
    topology = app.Topology()
    chain = topology.addChain("A")
    residues = (("ALA", ("N", "CA", "C")), ("CA", ("CA",)), ("HOH", ("O", "H1")), ("CL", ("CL",)), ("CES", ("CES",)))
    for name, atoms in residues:
        residue = topology.addResidue(name, chain)
        for atom in atoms:
            topology.addAtom(atom, None, residue)
    pair = topology.addResidue("NA", chain)
    for atom in ("X1", "X2"):
        topology.addAtom(atom, None, pair)
    assert select_atoms(topology, "ions") == [3, 6, 7]
    assert select_atoms(topology, "not solute") == [3, 4, 5, 6, 7]
