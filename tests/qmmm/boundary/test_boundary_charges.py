"""Charges beside cut bonds: what each scheme keeps."""

from __future__ import annotations

import numpy as np
import openmm
import pytest
from numpy.typing import NDArray

from openmmkstep.openmmapi.region import LinkAtom
from openmmkstep.qmmm.embedding.boundary_charges import CHARGE_SCHEMES, BoundaryCharges, ChargeScheme, boundary_charges
from openmmkstep.qmmm.embedding.errors import EmbeddingError
from openmmkstep.qmmm.molecule_graph import MoleculeGraph
from openmmkstep.qmmm.part_charges import charge_of_parts
from tests.support.qmmm.cut_molecules import HOST, SIDE_CHAIN
from tests.support.qmmm.molecules import Molecule, make_topology

LINK = LinkAtom(SIDE_CHAIN[0], HOST, 0.7)
NEIGHBOURS = [6, 9, 14]  # N, HA and C of the alanine


def charges_of(molecule: Molecule) -> NDArray[np.float64]:
    system = molecule.create_system()
    force = next(force for force in system.getForces() if force.getName() == "NonbondedForce")
    return np.array([force.getParticleParameters(i)[0]._value for i in range(system.getNumParticles())])


def apply(molecule: Molecule, scheme: ChargeScheme) -> tuple[NDArray[np.float64], BoundaryCharges]:
    charges = charges_of(molecule)
    graph = MoleculeGraph(molecule.topology, molecule.create_system())
    return charges, boundary_charges(charges, SIDE_CHAIN, [LINK], graph, scheme)


def seen(result: BoundaryCharges, positions: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """All charges that are seen and their places."""
    outside = np.setdiff1d(np.arange(len(positions)), SIDE_CHAIN)
    bonds = result.bond_charges
    places = [positions[b.first] + b.weight * (positions[b.second] - positions[b.first]) for b in bonds]
    values = np.concatenate([result.charges[outside], [b.charge for b in bonds]])
    return values, np.concatenate([positions[outside], np.reshape(places, (-1, 3))])


@pytest.mark.parametrize("scheme", CHARGE_SCHEMES)
def test_all_charges_sum_to_that_of_the_whole_system(ala2: Molecule, scheme: ChargeScheme) -> None:
    charges, result = apply(ala2, scheme)
    values, _ = seen(result, np.asarray(ala2.positions))
    assert values.sum() == pytest.approx(charges.sum(), abs=1e-12)


@pytest.mark.parametrize("scheme", ["shift", "rcd"])
def test_dipole_moment_is_kept(ala2: Molecule, scheme: ChargeScheme) -> None:
    positions = np.asarray(ala2.positions)
    _, before = apply(ala2, "none")
    _, after = apply(ala2, scheme)
    moments = [values @ places for values, places in (seen(before, positions), seen(after, positions))]
    np.testing.assert_allclose(moments[1], moments[0], rtol=0, atol=1e-12)


def test_the_fraction_of_a_charge_goes_to_the_end_of_the_bond(ala2: Molecule) -> None:
    charges, result = apply(ala2, "none")
    # The methyl group of ff14SB's alanine has -0.1825 + 3 * 0.0603.
    assert charges[SIDE_CHAIN].sum() == pytest.approx(-0.0016, abs=1e-10)
    expected = charges.copy()
    expected[HOST] += charges[SIDE_CHAIN].sum()
    np.testing.assert_allclose(result.charges, expected, atol=1e-12)


def test_many_side_chains_have_their_charges() -> None:
    """Fractions of many parts add up to more than half a charge, and every part keeps its own."""
    symbols, bonds = ["C", "C", "H", "H"], [(0, 1), (1, 2), (1, 3)]
    topology = make_topology([("RES", symbols, bonds)] * 7)
    system = openmm.System()
    for _ in range(28):
        system.addParticle(12)
    graph = MoleculeGraph(topology, system)
    charges = [-0.9, -0.1, 0.05, -0.05] * 7
    region = [4 * residue for residue in range(7)]
    links = [LinkAtom(atom, atom + 1, 0.7) for atom in region]
    assert charge_of_parts(region, [-0.9] * 7, graph) == -7
    result = boundary_charges(charges, region, links, graph, "none")
    np.testing.assert_allclose(result.charges[1::4], -0.1 + 0.1, atol=1e-12)


def test_deleted_charge_is_shared_by_the_residue(ala2: Molecule) -> None:
    charges, result = apply(ala2, "delete")
    residue = [6, 7, 9, 14, 15]
    share = (charges[HOST] + charges[SIDE_CHAIN].sum()) / len(residue)
    assert result.charges[HOST] == 0 and not result.bond_charges
    np.testing.assert_allclose(result.charges[residue], charges[residue] + share, atol=1e-12)


@pytest.mark.parametrize(("scheme", "in_the_middle", "at_neighbours"), [("rc", 1, 0), ("rcd", 2, -1)])
def test_redistributed_charges(ala2: Molecule, scheme: ChargeScheme, in_the_middle: int, at_neighbours: int) -> None:
    """As in the tables of Lin and Truhlar (2005)."""
    charges, result = apply(ala2, scheme)
    share = (charges[HOST] + charges[SIDE_CHAIN].sum()) / 3
    assert {(b.first, b.second, b.weight) for b in result.bond_charges} == {(n, HOST, 0.5) for n in NEIGHBOURS}
    np.testing.assert_allclose([b.charge for b in result.bond_charges], in_the_middle * share)
    np.testing.assert_allclose(result.charges[NEIGHBOURS], charges[NEIGHBOURS] + at_neighbours * share, atol=1e-12)
    assert result.charges[HOST] == 0


def test_several_cuts_at_one_atom_and_at_neighbours() -> None:
    """Propane's middle carbon as MM end of two cuts; two carbons in a row as MM ends of one each."""
    bonds = [(0, 1), (1, 2), (1, 3), (2, 4), (2, 5), (4, 6)]
    topology = make_topology([("CHN", ["C", "C", "C", "C", "C", "H", "H"], bonds)])
    system = openmm.System()
    for _ in range(7):
        system.addParticle(12)
    graph = MoleculeGraph(topology, system)
    charges = [0.1, -0.3, 0.2, 0.05, -0.2, 0.1, 0.05]
    twice = boundary_charges(charges, [0, 3], [LinkAtom(0, 1, 0.7), LinkAtom(3, 1, 0.7)], graph, "shift")
    assert twice.charges[1] == 0
    assert {b.first for b in twice.bond_charges} == {2}
    inside = sum(charges[i] for i in (0, 3))
    assert twice.charges[2] == pytest.approx(0.2 + (-0.3 + inside))
    # 1 and 2 are bonded to each other, and neither gives its charge to the other.
    row = boundary_charges(charges, [0, 4, 6], [LinkAtom(0, 1, 0.7), LinkAtom(4, 2, 0.7)], graph, "rc")
    assert {(b.first, b.second) for b in row.bond_charges} == {(3, 1), (5, 2)}
    assert row.charges[[1, 2]].tolist() == [0, 0]


def test_an_end_that_stands_alone_is_refused() -> None:
    topology = make_topology([("ETH", ["C", "C"], [(0, 1)])])
    system = openmm.System()
    for _ in range(2):
        system.addParticle(12)
    graph = MoleculeGraph(topology, system)
    for scheme in ("shift", "rc", "rcd"):
        with pytest.raises(EmbeddingError, match=r"C1 of ETH 1 .*has no MM neighbour"):
            boundary_charges([0.1, -0.1], [0], [LinkAtom(0, 1, 0.7)], graph, scheme)
    with pytest.raises(EmbeddingError, match="alone in its residue"):
        boundary_charges([0.1, -0.1], [0], [LinkAtom(0, 1, 0.7)], graph, "delete")


def test_unknown_scheme(ala2: Molecule) -> None:
    with pytest.raises(EmbeddingError, match="chargeScheme must be one of none, delete, shift, rc, rcd, got 'rdc'"):
        apply(ala2, "rdc")  # type: ignore[arg-type]
