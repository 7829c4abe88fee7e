"""Charge groups: connected, small, of whole charge where possible, and always the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openmm
import pytest
from openmm import app
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from openmmkstep import EmbeddingCharges, QMMMForce
from openmmkstep.qmmm.embedding.charge_groups import PART_BONDS, PART_SIZE, charge_groups
from openmmkstep.qmmm.forces import find_qm_force
from openmmkstep.qmmm.levels import force_groups
from openmmkstep.qmmm.molecule_graph import MoleculeGraph
from openmmkstep.qmmm.potential import QMMMPotential
from tests.support.qmmm.energies import energy_and_forces
from tests.support.qmmm.molecules import Molecule, make_topology, water_box

CUTOFF, SWITCH = 0.85, 0.68
WATER = np.array([[0, 0, 0], [0.096, 0, 0], [-0.024, 0.093, 0]])


def charges_of(system: openmm.System) -> np.ndarray:
    nonbonded = next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    return np.array([nonbonded.getParticleParameters(i)[0]._value for i in range(nonbonded.getNumParticles())])


def groups_of(molecule: Molecule, system: openmm.System, region: Sequence[int] = ()) -> np.ndarray:
    return charge_groups(MoleculeGraph(molecule.topology, system), charges_of(system), region)


def chain_of(charges: Sequence[float], hydrogens: int = 0) -> tuple[app.Topology, np.ndarray]:
    """One residue: a chain of atoms with the charges given and neutral hydrogens on each."""
    n = len(charges)
    bonds = [(i, i + 1) for i in range(n - 1)] + [(k % n, n + k) for k in range(hydrogens * n)]
    topology = make_topology([("POL", ["C"] * n + ["H"] * hydrogens * n, bonds)])
    return topology, np.array([*charges, *[0.0] * hydrogens * n])


def without_forces(topology: app.Topology) -> MoleculeGraph:
    system = openmm.System()
    for _ in range(topology.getNumAtoms()):
        system.addParticle(1)
    return MoleculeGraph(topology, system)


def test_small_molecules_and_residues_of_proteins_stay_whole(solvated_ala2: Molecule) -> None:
    groups = groups_of(solvated_ala2, solvated_ala2.create_system())
    residues = [atom.residue.index for atom in solvated_ala2.topology.atoms()]
    assert groups.tolist() == residues
    assert len(set(groups[:22])) == 3, "ACE, ALA and NME are one molecule, but three charge groups"


def test_longest_protein_residues_stay_whole() -> None:
    """Arginine, lysine and tryptophan at the ends of a chain and inside it."""
    field = app.ForceField("amber14-all.xml")
    names = ["NARG", "TRP", "LYS", "GLU", "TYR", "NTRP", "ARG", "CARG"]
    for name in names:
        template = field._templates[name]
        symbols = [atom.element.symbol for atom in template.atoms]
        graph = without_forces(make_topology([(name, symbols, template.bonds)]))
        charges = [template.atoms[i].parameters.get("charge", 0.0) for i in range(len(symbols))]
        assert set(charge_groups(graph, charges)) == {0}, name


def test_ions_and_sites(tmp_path: Path) -> None:
    water = water_box(1.6, "amber14/tip4pew.xml", "tip4pew")
    system = water.create_system(nonbondedCutoff=0.7)
    groups = groups_of(water, system, range(4))
    assert np.all(groups[:4] == -1)
    assert groups[4:].tolist() == [i // 4 for i in range(len(groups) - 4)]
    ions = make_topology([("NA", ["Na"], []), ("CL", ["Cl"], []), ("NA", ["Na"], [])])
    assert charge_groups(without_forces(ions), [1, -1, 1]).tolist() == [0, 1, 2]


def test_region_is_left_out_and_what_it_parts_is_parted() -> None:
    topology, charges = chain_of([0.1, -0.1, 0.0, 0.2, -0.2])
    assert charge_groups(without_forces(topology), charges, [2]).tolist() == [0, 0, -1, 1, 1]


def test_whole_charges_are_found() -> None:
    """A phosphate and an ammonium in a long chain of neutral pairs."""
    neutral = [0.2, -0.2] * 6
    charges = [*neutral, 0.5, -0.8, -0.7, *neutral, 0.3, 0.4, 0.3, *neutral]
    topology, values = chain_of(charges)
    groups = charge_groups(without_forces(topology), values)
    totals = np.bincount(groups, values)
    np.testing.assert_allclose(totals, np.round(totals), atol=1e-9)
    assert sorted(np.round(totals[np.abs(totals) > 0.5])) == [-1, 1]


def test_opposite_charges_of_a_bond_are_not_parted() -> None:
    """A carbonyl of +0.84 and -0.84 e makes whole charges neither of carbon nor of oxygen, in a ring too."""
    charges = np.array([0.84, -0.84] * 12)
    ring = [(i, (i + 1) % 24) for i in range(24)] + [(i, i + 24) for i in range(24)]
    topology = make_topology([("RNG", ["C"] * 24 + ["H"] * 24, ring)])
    groups = charge_groups(without_forces(topology), [*charges, *np.zeros(24)])
    np.testing.assert_allclose(np.bincount(groups[:24], charges), 0, atol=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_any_molecule(seed: int) -> None:
    random = np.random.default_rng(seed)
    n = int(random.integers(40, 300))
    bonds = [(int(random.integers(max(0, i - 6), i)), i) for i in range(1, n)]
    bonds += [(int(a), int(b)) for a, b in random.integers(0, n, size=(n // 10, 2)) if a != b]
    topology = make_topology([("ANY", ["C"] * n, sorted(set(map(tuple, map(sorted, bonds)))))])
    charges = random.normal(scale=0.3, size=n)
    graph = without_forces(topology)
    groups = charge_groups(graph, charges)
    assert np.array_equal(groups, charge_groups(graph, charges))
    assert set(groups) == set(range(groups.max() + 1))
    # Connected: of the bonds inside groups alone there are as many components as groups.
    inside = np.array([(i, j) for i, j in graph.bonds if groups[i] == groups[j]]).reshape(-1, 2)
    adjacency = coo_array((np.ones(len(inside)), (inside[:, 0], inside[:, 1])), shape=(n, n))
    assert connected_components(adjacency, directed=False)[0] == groups.max() + 1
    # Small: beside what hangs on a single atom.
    degree = np.bincount(np.array(graph.bonds).ravel(), minlength=n)
    largest_host = max(1 + sum(degree[m] == 1 for m in graph.neighbours(i)) for i in range(n))
    assert np.bincount(groups).max() <= max(PART_SIZE, largest_host)
    # Terminal atoms stay with the atom that they are bonded to.
    assert all(groups[i] == groups[graph.neighbours(i)[0]] for i in range(n) if degree[i] == 1)
    for group in range(groups.max() + 1):
        members = [i for i in range(n) if groups[i] == group and degree[i] > 1]
        assert all(distance(graph, members, i, j) <= PART_BONDS for i in members for j in members)


def distance(graph: MoleculeGraph, members: list[int], first: int, second: int) -> int:
    """Number of bonds between two members along members."""
    reached, front, steps = {first}, [first], 0
    while second not in reached:
        front = [k for i in front for k in graph.neighbours(i) if k in members and k not in reached]
        reached.update(front)
        steps += 1
    return steps


def test_no_partition_of_a_short_chain_is_better() -> None:
    """Against all partitions of a chain of 13 atoms, by the cost that the module states."""
    random = np.random.default_rng(2)
    for _ in range(20):
        charges = random.normal(scale=0.4, size=13)
        topology, values = chain_of(charges)
        found = cost([list(np.flatnonzero(groups == g)) for groups in [charge_groups(without_forces(topology), values)]
                      for g in range(groups.max() + 1)], charges)  # fmt: skip
        # Ends stay with their neighbours; a part has at most five atoms besides.
        best = [np.inf] * 14
        best[0] = 0.0
        for end in range(2, 14):
            for start in range(max(0, end - 7), end):
                inner = end - start - (start == 0) - (end == 13)
                if inner <= PART_BONDS + 1 and (start == 0 or start >= 2) and (end == 13 or end <= 11):
                    best[end] = min(best[end], best[start] + cost([list(range(start, end))], charges))
        assert found == pytest.approx(best[13], abs=1e-9)


def cost(parts: list[list[int]], charges: np.ndarray) -> float:
    totals = np.array([charges[part].sum() for part in parts])
    whole = np.arange(-5, 6)
    return float(sum(np.min((q - whole) ** 2 + 0.05 * np.abs(whole)) + 1e-4 for q in totals))


def test_a_lipid() -> None:
    """CHARMM builds its lipids of neutral and singly charged parts, and these are found."""
    pdb = app.PDBFile(str(Path(app.__file__).parent / "data" / "POPC.pdb"))
    modeller = app.Modeller(pdb.topology, pdb.positions)
    modeller.delete(list(modeller.topology.residues())[1:])
    system = app.ForceField("charmm36.xml").createSystem(modeller.topology)
    charges = charges_of(system)
    groups = charge_groups(MoleculeGraph(modeller.topology, system), charges)
    totals = np.bincount(groups, charges)
    assert 8 <= groups.max() + 1 <= 14
    np.testing.assert_allclose(totals, np.round(totals), atol=1e-6)
    assert totals.sum() == pytest.approx(0, abs=1e-9)


def long_residue() -> tuple[app.Topology, openmm.System, np.ndarray]:
    """A QM water, and one MM residue: a chain of 2.4 nm whose head accepts a hydrogen bond."""
    chain = ("LIP", ["C"] * 13, [(i, i + 1) for i in range(12)])
    topology = make_topology([("HOH", ["O", "H", "H"], [(0, 1), (0, 2)]), chain])
    system = openmm.System()
    nonbonded = openmm.NonbondedForce()
    for charge in [0, 0, 0, -0.8, 0.8, *(0.01 * (-1) ** k for k in range(2, 13))]:
        system.addParticle(12)
        nonbonded.addParticle(charge, 0.3, 0)
    system.addForce(nonbonded)
    positions = np.concatenate([WATER, [[0.28 + 0.2 * k, 0, 0] for k in range(13)]])
    return topology, system, positions


ALL_CHARGES = -13341.982


def test_a_long_residue_is_seen_where_it_touches_the_region() -> None:
    topology, system, positions = long_residue()
    potential = QMMMPotential("gfn2-xtb")
    whole = potential.createMixedSystem(topology, system, [0, 1, 2])
    assert energy_and_forces(whole, positions, {force_groups.QM})[0] == pytest.approx(ALL_CHARGES, abs=1e-3)
    cut = potential.createMixedSystem(topology, system, [0, 1, 2], cutoff=CUTOFF)
    assert energy_and_forces(cut, positions, {force_groups.QM})[0] == pytest.approx(ALL_CHARGES, abs=0.01)


def test_switching_by_the_nearest_atom_keeps_what_touches_the_region() -> None:
    """The factor of a group is 1 - prod (1 - S(r)) over all pairs of a region atom and a group atom."""
    topology, system, positions = long_residue()
    mixed = QMMMPotential("gfn2-xtb").createMixedSystem(topology, system, [0, 1, 2], cutoff=CUTOFF)
    particles, charges, groups = find_qm_force(mixed).getEmbeddingCharges().getCharges()
    distances = np.linalg.norm(positions[particles][:, None] - positions[None, :3], axis=2)
    t = np.clip((distances - SWITCH) / (CUTOFF - SWITCH), 0, 1)
    missing = np.prod(10 * t**3 - 15 * t**4 + 6 * t**5, axis=1)
    factors = np.array([1 - np.prod(missing[groups == group]) for group in range(groups.max() + 1)])
    assert factors[0] == 1 and factors[-1] == 0
    alone = openmm.System()
    for _ in range(16):
        alone.addParticle(1)
    alone.addForce(
        QMMMForce([0, 1, 2], [8, 1, 1], embeddingCharges=EmbeddingCharges(particles, factors[groups] * charges))
    )
    assert energy_and_forces(alone, positions)[0] == pytest.approx(ALL_CHARGES, abs=0.05)
