"""Selections, structures, topologies, platforms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kstep_models.configuration import parse_config
from openmmkstep.io.topology import topology_from_json, topology_to_json
from openmmkstep.qmmm.molecule_graph import MoleculeGraph
from openmmkstep.workflows.config.sections import SystemSection
from openmmkstep.workflows.setup.equilibration import equilibrate
from openmmkstep.workflows.setup.molecular_system import MolecularSystem, PreparationError, SystemBuilder
from openmmkstep.workflows.setup.platforms import PlatformError, find_platform
from openmmkstep.workflows.setup.selection import SelectionError, select_atoms
from tests.support.qmmm.molecules import ALA2_PDB, Molecule


def test_selections(solvated_ala2: Molecule) -> None:
    topology = solvated_ala2.topology
    assert select_atoms(topology, "solute") == list(range(22))
    assert select_atoms(topology, "all") == list(range(topology.getNumAtoms()))
    assert select_atoms(topology, "0-2, 7") == [0, 1, 2, 7]
    assert select_atoms(topology, (3, 1)) == [1, 3]
    with pytest.raises(SelectionError, match="runs backwards"):
        select_atoms(topology, "5-2")
    with pytest.raises(SelectionError, match="cannot understand"):
        select_atoms(topology, "protein")


def test_topology_round_trip(solvated_ala2: Molecule) -> None:
    copy = topology_from_json(topology_to_json(solvated_ala2.topology))
    assert [str(a) for a in copy.atoms()] == [str(a) for a in solvated_ala2.topology.atoms()]
    assert [a.element for a in copy.atoms()] == [a.element for a in solvated_ala2.topology.atoms()]
    bonds = [[(a.index, b.index) for a, b in topology.bonds()] for topology in (copy, solvated_ala2.topology)]
    assert bonds[0] == bonds[1]
    boxes = [topology.getPeriodicBoxVectors()._value for topology in (copy, solvated_ala2.topology)]
    assert [list(vector) for vector in boxes[0]] == [list(vector) for vector in boxes[1]]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"chains": ["A"], "residues": [["X", "1", 3]]}'])
def test_what_is_no_topology(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a topology|Expecting value"):
        topology_from_json(text)


def test_builder_solvates() -> None:
    section = SystemSection.model_validate({"structure": ALA2_PDB, "solvent": {"box_size": "2 nm"}})
    builder = SystemBuilder(section)
    assert builder.has_solvent
    molecules = builder.build()
    assert molecules.system.usesPeriodicBoundaryConditions()
    assert molecules.topology.getNumAtoms() == len(molecules.positions) > 400
    alone = builder.build_in_vacuum()
    assert alone.system.getNumParticles() == 22 and not alone.system.usesPeriodicBoundaryConditions()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"structure": "nothing.pdb"}, "does not exist"),
        ({"structure": "broken.pdb"}, "cannot be read"),
        ({"structure": str(ALA2_PDB), "force_field": ["no-such-field.xml"]}, "system.force_field"),
        ({"structure": str(ALA2_PDB), "nonbonded_method": "PME"}, "needs a periodic box"),
        ({"structure": str(ALA2_PDB), "force_field": ["amber14/tip3p.xml"]}, "does not fit the structure"),
    ],
)
def test_bad_structures(tmp_path: Path, content: dict[str, object], message: str) -> None:
    (tmp_path / "broken.pdb").write_text("ATOM      1  H1  ACE A   1       x\n")
    with pytest.raises(PreparationError, match=message):
        SystemBuilder(parse_config(content, SystemSection, "test", tmp_path)).build()


def test_unknown_platform() -> None:
    with pytest.raises(PlatformError, match=r"'Quantum'.*Reference"):
        find_platform("Quantum")


def test_equilibration_is_reproducible(ala2: Molecule) -> None:
    molecules = MolecularSystem(ala2.topology, ala2.positions, ala2.create_system())
    first, second = (equilibrate(molecules, 300.0, 0.02, 5, "Reference") for _ in range(2))
    assert np.array_equal(first.positions, second.positions)
    assert not np.array_equal(first.positions, ala2.positions)


def test_charge_groups_are_residues_of_molecules(solvated_ala2: Molecule) -> None:
    graph = MoleculeGraph(solvated_ala2.topology, solvated_ala2.create_system())
    groups = graph.charge_groups()
    assert len(set(groups[:22])) == 3, "ACE, ALA and NME are one molecule, but three charge groups"
    assert len(set(graph.molecules[:22])) == 1
    assert np.all(np.bincount(groups)[3:] == 3)
    assert len(graph.bonds_within(range(22))) == 21
