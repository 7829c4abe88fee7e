"""Which bonds are refused, and which are cut with a warning."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import openmm
import pytest
from openmm import app

from openmmkstep.qmmm.boundary.cut_bonds import find_cut_bonds
from openmmkstep.qmmm.molecule_graph import MoleculeGraph
from openmmkstep.qmmm.region import CutBondWarning, QMRegion, RegionError
from tests.support.qmmm.molecules import Molecule, make_topology

Bonds = Sequence[tuple[int, int]]


def create(symbols: str, bonds: Bonds, region: Sequence[int], orders: dict[tuple[int, int], int] | None = None):
    topology = make_topology([("MOL", symbols.split(), [])])
    atoms = list(topology.atoms())
    for i, j in bonds:
        topology.addBond(atoms[i], atoms[j], order=(orders or {}).get((i, j)))
    system = openmm.System()
    for _ in atoms:
        system.addParticle(12.0)
    graph = MoleculeGraph(topology, system)
    return find_cut_bonds(topology, graph, region)


BUTANE = ("C C C C" + 10 * " H", [(0, 1), (1, 2), (2, 3)] + [(i // 3, 4 + i) for i in range(3)] + [(1, 7), (1, 8)])
BUTANE[1].extend([(2, 9), (2, 10), (3, 11), (3, 12), (3, 13)])


def test_saturated_carbon_atoms() -> None:
    (cut,) = create(*BUTANE, [0, 1, 4, 5, 6, 7, 8])
    assert (cut.qm, cut.mm, cut.obstacles, cut.doubts) == (1, 2, (), ())


def test_hydrogen() -> None:
    (cut,) = create(*BUTANE, [4])
    assert "hydrogen" in cut.obstacles[0]
    (cut,) = create(*BUTANE, [i for i in range(14) if i != 4])
    assert "hydrogen" in cut.obstacles[0]


@pytest.mark.parametrize("size", [3, 5, 8, 9])
def test_rings(size: int) -> None:
    ring = [(i, (i + 1) % size) for i in range(size)]
    hydrogen = [(i // 2, size + i) for i in range(2 * size)]
    cuts = create("C " * size + "H " * 2 * size, [*ring, *hydrogen], [0, size, size + 1])
    assert len(cuts) == 2
    for cut in cuts:
        assert cut.obstacles == ((f"it is part of a ring of {size} atoms, which stay together",) if size < 9 else ())


# CH2=CH-CH3
PROPENE = ("C C C H H H H H H", [(0, 1), (1, 2), (0, 3), (0, 4), (1, 5), (2, 6), (2, 7), (2, 8)])


def test_double_bonds() -> None:
    (cut,) = create(*PROPENE, [0, 3, 4])
    assert "double" in cut.obstacles[0]
    (cut,) = create(*PROPENE, [2, 6, 7, 8])
    assert cut.obstacles == () and "C1 of MOL 1 (index 1) is unsaturated" in cut.doubts[0]


def test_orders_of_the_topology_count() -> None:
    """Between the halves of butadiene, which looks conjugated, a topology may say that the bond is single."""
    bonds = [(0, 1), (1, 2), (2, 3), (0, 4), (0, 5), (1, 6), (2, 7), (3, 8), (3, 9)]
    symbols, half = "C C C C H H H H H H", [0, 1, 4, 5, 6]
    assert "conjugated" in create(symbols, bonds, half)[0].obstacles[0]
    assert create(symbols, bonds, half, {(1, 2): 1})[0].obstacles == ()
    assert "double" in create(*BUTANE, [0, 1, 4, 5, 6, 7, 8], {(1, 2): 2})[0].obstacles[0]


def test_polar_bonds() -> None:
    """Dimethyl ether between carbon and oxygen, dimethyl disulfide between sulphur atoms."""
    ether = ("C O C H H H H H H", [(0, 1), (1, 2)] + [(0, 3 + i) for i in range(3)] + [(2, 6 + i) for i in range(3)])
    (cut,) = create(*ether, [0, 3, 4, 5])
    assert cut.obstacles == () and "C-O bond" in cut.doubts[0]
    disulfide = (
        "C S S C H H H H H H",
        [(0, 1), (1, 2), (2, 3)] + [(0, 4 + i) for i in range(3)] + [(3, 7 + i) for i in range(3)],
    )
    (cut,) = create(*disulfide, [0, 1, 4, 5, 6])
    assert cut.obstacles == () and "S-S bond" in cut.doubts[0]


def peptide(ala2: Molecule, names: dict[int, set[str]]) -> list[int]:
    return [atom.index for atom in ala2.topology.atoms() if atom.name in names.get(atom.residue.index, set())]


def test_peptides(ala2: Molecule) -> None:
    """The amide is refused, CA-C warned of, CA-CB cut as it is."""

    def region(names: dict[int, set[str]], charge: int = 0) -> QMRegion:
        return QMRegion.create(ala2.topology, ala2.create_system(), peptide(ala2, names), charge, 1)

    acetyl = {"H1", "H2", "H3", "CH3", "C", "O"}
    with pytest.raises(RegionError, match=r"C of ACE 1 .* - N of ALA 2 .*cannot be cut: .*amide"):
        region({0: acetyl})
    with pytest.warns(CutBondWarning, match=r"C of ALA 2 \(index 14\) is unsaturated"):
        region({0: acetyl, 1: {"N", "H", "CA", "HA", "CB", "HB1", "HB2", "HB3"}})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(region({1: {"CB", "HB1", "HB2", "HB3"}}).links) == 1


def test_proline_and_glycine() -> None:
    """The ring of proline cannot be cut; glycine has no side chain but may be cut on both sides of CA."""
    template = app.ForceField("amber14-all.xml")._templates
    for name, inside, ring in (
        ("PRO", ["CB", "HB2", "HB3", "CG", "HG2", "HG3"], True),
        ("GLY", ["CA", "HA2", "HA3"], False),
    ):
        residue = template[name]
        topology = make_topology([(name, [atom.element.symbol for atom in residue.atoms], residue.bonds)])
        system = openmm.System()
        for _ in residue.atoms:
            system.addParticle(12.0)
        members = [place for place, atom in enumerate(residue.atoms) if atom.name in inside]
        cuts = find_cut_bonds(topology, MoleculeGraph(topology, system), members)
        assert len(cuts) == 2
        assert all(("ring of 5" in " ".join(cut.obstacles)) == ring for cut in cuts)
