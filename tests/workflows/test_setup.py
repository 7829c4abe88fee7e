"""Selections, structures, topologies, platforms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app, unit

from kstep_models.configuration import parse_config
from openmmkstep.io.topology import topology_from_json, topology_to_json
from openmmkstep.openmmapi.qmmm_force import QMMMForce
from openmmkstep.qmmm.force_field.recognition import AmbiguousForceError
from openmmkstep.qmmm.forces import find_qm_force
from openmmkstep.qmmm.levels import force_groups
from openmmkstep.qmmm.molecule_graph import MoleculeGraph
from openmmkstep.qmmm.region import RegionChargeWarning
from openmmkstep.workflows.config.sections import QMSection, SurrogateSection, SystemSection
from openmmkstep.workflows.setup.equilibration import equilibrate
from openmmkstep.workflows.setup.mixed_system import build_mixed_system
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
        select_atoms(topology, "enzyme")


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


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"solvent": {"box_size": "2 nm"}}, None),
        ({"solvent": {"box_size": "2 nm"}, "switch_distance": "0.8 nm"}, 0.8),
        ({"nonbonded_method": "CutoffNonPeriodic", "switch_distance": "7 angstrom"}, 0.7),
        ({"switch_distance": "0.8 nm"}, None),
    ],
)
def test_switched_lennard_jones(settings: dict[str, Any], expected: float | None) -> None:
    system = SystemBuilder(SystemSection.model_validate({"structure": ALA2_PDB, **settings})).build().system
    force = next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    assert force.getUseSwitchingFunction() == (expected is not None)
    if expected is not None:
        assert force.getSwitchingDistance()._value == pytest.approx(expected)


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


def test_a_charge_that_the_force_field_contradicts_is_named(ala2: Molecule) -> None:
    molecules = MolecularSystem(ala2.topology, ala2.positions, ala2.create_system())
    section = QMSection.model_validate({"atoms": "all", "charge": 2})
    with pytest.warns(RegionChargeWarning, match=r"given the charge \+2, but .* sum to \+0: pass charge=0"):
        build_mixed_system(molecules, section)


def test_several_mixed_systems_of_one_molecular_system_share_its_graph(
    ala2: Molecule, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    class Counted(MoleculeGraph):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr("openmmkstep.workflows.setup.molecular_system.MoleculeGraph", Counted)
    monkeypatch.setattr("openmmkstep.qmmm.region.MoleculeGraph", Counted)
    molecules = MolecularSystem(ala2.topology, ala2.positions, ala2.create_system())
    for _ in range(2):
        build_mixed_system(molecules, QMSection.model_validate({"atoms": "all"}))
    assert len(made) == 1


def test_settings_and_doubtful_forces_in_a_configuration(ala2: Molecule) -> None:
    system = ala2.create_system()
    bias = openmm.CustomTorsionForce("50*(1-cos(theta-1))")
    bias.addTorsion(4, 6, 8, 14)
    system.addForce(bias)
    molecules = MolecularSystem(ala2.topology, ala2.positions, system)
    section = {"atoms": "all", "settings": {"accuracy": 0.1}}
    with pytest.raises(AmbiguousForceError, match="force 5"):
        build_mixed_system(molecules, QMSection.model_validate(section))
    for key, left in (("keep_forces", 1), ("remove_forces", 0)):
        for reference in (5, "CustomTorsionForce"):
            mixed = build_mixed_system(molecules, QMSection.model_validate({**section, key: [reference]})).system
            assert [type(force) for force in mixed.getForces()].count(openmm.CustomTorsionForce) == left
            assert find_qm_force(mixed).getEngineSettings()["accuracy"] == 0.1


def test_a_method_as_surrogate_in_a_configuration(ala2: Molecule) -> None:
    molecules = MolecularSystem(ala2.topology, ala2.positions, ala2.create_system())
    section = SurrogateSection.model_validate(
        {"method": "GFN1-xTB", "settings": {"accuracy": 0.1}, "base_level": "gfn-ff", "period": 2}
    )
    mixed = build_mixed_system(molecules, QMSection.model_validate({"atoms": "all"}), section).system
    engines = {
        force.getForceGroup(): QMMMForce.cast(force) for force in mixed.getForces() if QMMMForce.isInstance(force)
    }
    found = {group: force.getEngine() for group, force in engines.items()}
    assert found == {
        force_groups.QM: "gfn2-xtb",
        force_groups.SURROGATE: "gfn1-xtb",
        force_groups.BASE_LEVEL: "gfn-ff",
    }
    assert engines[force_groups.SURROGATE].getEngineSettings()["accuracy"] == 0.1


def test_velocities_of_another_integrator_fit_the_constraints(solvated_ala2: Molecule) -> None:
    """Water is rigid: what LangevinMiddleIntegrator leaves along its bonds is no error of the first step."""
    system = solvated_ala2.create_system(nonbondedMethod=app.CutoffPeriodic, nonbondedCutoff=0.9 * unit.nanometer)
    molecules = MolecularSystem(solvated_ala2.topology, solvated_ala2.positions, system)
    point = equilibrate(molecules, 300.0, 0.1, 3, "CPU")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), *find_platform("CPU"))
    context.getIntegrator().setConstraintTolerance(1e-8)
    point.apply_to(context)

    def along_bonds(velocities: np.ndarray) -> float:
        """The largest, nm/ps."""
        largest = 0.0
        for index in range(system.getNumConstraints()):
            i, j, length = system.getConstraintParameters(index)
            bond = point.positions[i] - point.positions[j]
            largest = max(largest, abs((velocities[i] - velocities[j]) @ bond / length._value))
        return largest

    assert along_bonds(point.velocities) > 1e-2
    assert along_bonds(context.getState(velocities=True).getVelocities(asNumpy=True)._value) < 1e-5
