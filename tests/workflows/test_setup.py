"""Selections, structures, topologies, platforms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from openmmkstep.io.topology import readTopology, writeTopology
from openmmkstep.qmmm.molecule_graph import MoleculeGraph
from openmmkstep.workflows.config.sections import SystemSection
from openmmkstep.workflows.setup.equilibration import equilibrate
from openmmkstep.workflows.setup.molecular_system import MolecularSystem, PreparationError, SystemBuilder
from openmmkstep.workflows.setup.platforms import PlatformError, findPlatform
from openmmkstep.workflows.setup.selection import SelectionError, selectAtoms
from tests.support.qmmm.molecules import ALA2_PDB, Molecule


def test_selections(solvatedAla2: Molecule) -> None:
    topology = solvatedAla2.topology
    assert selectAtoms(topology, "solute") == list(range(22))
    assert selectAtoms(topology, "all") == list(range(topology.getNumAtoms()))
    assert selectAtoms(topology, "0-2, 7") == [0, 1, 2, 7]
    assert selectAtoms(topology, (3, 1)) == [1, 3]
    with pytest.raises(SelectionError, match="runs backwards"):
        selectAtoms(topology, "5-2")
    with pytest.raises(SelectionError, match="cannot understand"):
        selectAtoms(topology, "protein")


def test_topology_file_round_trip(solvatedAla2: Molecule, tmp_path: Path) -> None:
    path = tmp_path / "topology.json"
    writeTopology(path, solvatedAla2.topology)
    copy = readTopology(path)
    assert [str(a) for a in copy.atoms()] == [str(a) for a in solvatedAla2.topology.atoms()]
    assert [a.element for a in copy.atoms()] == [a.element for a in solvatedAla2.topology.atoms()]
    bonds = [[(a.index, b.index) for a, b in topology.bonds()] for topology in (copy, solvatedAla2.topology)]
    assert bonds[0] == bonds[1]
    boxes = [topology.getPeriodicBoxVectors()._value for topology in (copy, solvatedAla2.topology)]
    assert [list(vector) for vector in boxes[0]] == [list(vector) for vector in boxes[1]]


def test_builder_solvates(tmp_path: Path) -> None:
    section = SystemSection.model_validate({"structure": ALA2_PDB, "solvent": {"boxSize": "2 nm"}})
    builder = SystemBuilder(section, tmp_path)
    assert builder.hasSolvent
    molecules = builder.build()
    assert molecules.system.usesPeriodicBoundaryConditions()
    assert molecules.topology.getNumAtoms() == len(molecules.positions) > 400
    alone = builder.buildInVacuum()
    assert alone.system.getNumParticles() == 22 and not alone.system.usesPeriodicBoundaryConditions()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"structure": "nothing.pdb"}, "does not exist"),
        ({"structure": "broken.pdb"}, "cannot be read"),
        ({"structure": str(ALA2_PDB), "forceField": ["no-such-field.xml"]}, "system.forceField"),
        ({"structure": str(ALA2_PDB), "nonbondedMethod": "PME"}, "needs a periodic box"),
        ({"structure": str(ALA2_PDB), "forceField": ["amber14/tip3p.xml"]}, "does not fit the structure"),
    ],
)
def test_bad_structures(tmp_path: Path, content: dict[str, object], message: str) -> None:
    (tmp_path / "broken.pdb").write_text("ATOM      1  H1  ACE A   1       x\n")
    with pytest.raises(PreparationError, match=message):
        SystemBuilder(SystemSection.model_validate(content), tmp_path).build()


def test_unknown_platform() -> None:
    with pytest.raises(PlatformError, match=r"'Quantum'.*Reference"):
        findPlatform("Quantum")


def test_equilibration_is_reproducible(ala2: Molecule) -> None:
    molecules = MolecularSystem(ala2.topology, ala2.positions, ala2.createSystem())
    first, second = (equilibrate(molecules, 300.0, 0.02, 5, "Reference") for _ in range(2))
    assert np.array_equal(first.positions, second.positions)
    assert not np.array_equal(first.positions, ala2.positions)


def test_charge_groups_are_residues_of_molecules(solvatedAla2: Molecule) -> None:
    graph = MoleculeGraph(solvatedAla2.topology, solvatedAla2.createSystem())
    groups = graph.chargeGroups()
    assert len(set(groups[:22])) == 3, "ACE, ALA and NME are one molecule, but three charge groups"
    assert len(set(graph.molecules[:22])) == 1
    assert np.all(np.bincount(groups)[3:] == 3)
    assert len(graph.bondsWithin(range(22))) == 21
