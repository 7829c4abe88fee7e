"""Archives and QM engines give through openmm-ml what they give directly, and what it does with them is right."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
from numpy.typing import NDArray
from openmm import app, unit
from openmmml import MLPotential

from openmmkstep import QMMMForce, QMMMPotential, TorchScriptForce
from openmmkstep.engines.protocol import EngineError
from openmmkstep.surrogates.suitability import SurrogateError
from tests.support.models.springs import write_springs
from tests.support.qmmm.energies import energy_and_forces
from tests.support.qmmm.molecules import EXAMPLES, Molecule

Array = NDArray[np.float64]

ARCHIVE = EXAMPLES / "alanine_dipeptide" / "ala2-gfn2.pt"
"""Trained for alanine dipeptide among charges."""
SIDE_CHAIN = [10, 11, 12, 13]
"""CB and its hydrogen atoms."""


def context_of(system: openmm.System, positions: Any) -> openmm.Context:
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    context.computeVirtualSites()
    return context


def numbers_of(topology: app.Topology) -> list[int]:
    return [atom.element.atomic_number for atom in topology.atoms()]


def assert_same(one: tuple[float, Array], other: tuple[float, Array]) -> None:
    """To what rounding in sums of some thousands of kJ/mol leaves."""
    assert one[0] == pytest.approx(other[0], abs=1e-6)
    np.testing.assert_allclose(one[1], other[1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("group", [0, 5])
def test_an_archive_is_its_force(ala2: Molecule, group: int) -> None:
    ours = openmm.System()
    for atom in ala2.topology.atoms():
        ours.addParticle(atom.element.mass)
    ours.addForce(TorchScriptForce(ARCHIVE, range(22), numbers_of(ala2.topology)))
    potential = MLPotential("kstep", modelPath=str(ARCHIVE))
    if group == 0:
        theirs = potential.createSystem(ala2.topology)
    else:
        theirs = openmm.System()
        for atom in ala2.topology.atoms():
            theirs.addParticle(atom.element.mass)
        potential._impl.addForces(ala2.topology, theirs, list(range(22)), group)
    assert_same(energy_and_forces(theirs, ala2.positions, {group}), energy_and_forces(ours, ala2.positions))


def test_a_qm_engine_is_its_force(ala2: Molecule) -> None:
    ours = openmm.System()
    for atom in ala2.topology.atoms():
        ours.addParticle(atom.element.mass)
    ours.addForce(QMMMForce(range(22), numbers_of(ala2.topology), "gfn1-xtb", settings={"accuracy": 0.1}))
    direct = energy_and_forces(ours, ala2.positions)
    for potential in (
        MLPotential("gfn1-xtb", accuracy=0.1),
        MLPotential("kstep-qm", method="GFN1-xTB", accuracy=0.1),
    ):
        assert_same(energy_and_forces(potential.createSystem(ala2.topology), ala2.positions), direct)


def test_mechanical_embedding_is_ours_too(solvated_ala2: Molecule, ala2_atoms: list[int]) -> None:
    """Of a cluster: the same terms leave the force field."""
    system = solvated_ala2.create_system(nonbondedMethod=app.NoCutoff)
    theirs = MLPotential("kstep", modelPath=str(ARCHIVE)).createMixedSystem(
        solvated_ala2.topology, system, ala2_atoms, forceGroup=3
    )
    ours = QMMMPotential("gfn2-xtb").createMixedSystem(
        solvated_ala2.topology, system, ala2_atoms, embedding="mechanical", surrogate=ARCHIVE
    )
    assert_same(
        energy_and_forces(theirs, solvated_ala2.positions), energy_and_forces(ours, solvated_ala2.positions, {0, 1})
    )
    alone = energy_and_forces(theirs, solvated_ala2.positions, {3})
    assert alone[0] != 0 and np.abs(alone[1][22:]).max() == 0


@pytest.mark.parametrize("name", ["kstep", "gfn2-xtb"])
def test_electrostatic_embedding_is_ours(solvated_ala2: Molecule, ala2_atoms: list[int], name: str) -> None:
    system = solvated_ala2.create_system(nonbondedMethod=app.PME, nonbondedCutoff=0.9)
    options: dict[str, Any] = {"embedding": "electrostatic", "cutoff": 0.8 * unit.nanometer}
    potential = MLPotential(name, modelPath=str(ARCHIVE)) if name == "kstep" else MLPotential(name)
    assert "electrostatic" in potential.getSupportedEmbeddings()
    told = potential.createMixedSystem(
        solvated_ala2.topology, system, ala2_atoms, forceGroup=4, returnInfo=True, **options
    )
    ours = QMMMPotential("gfn2-xtb").createMixedSystem(
        solvated_ala2.topology, system, ala2_atoms, surrogate=ARCHIVE, **options
    )
    level = 1 if name == "kstep" else 2
    theirs = energy_and_forces(told["system"], solvated_ala2.positions)
    assert_same(theirs, energy_and_forces(ours, solvated_ala2.positions, {0, level}))
    # The surroundings feel the region.
    assert np.abs(energy_and_forces(told["system"], solvated_ala2.positions, {4})[1][22:]).max() > 10
    assert told["topology"] is solvated_ala2.topology and told["oldToNew"][:2] == [0, 1]


def test_interpolation(ala2: Molecule, tmp_path: Path) -> None:
    archive = write_springs(tmp_path / "springs.pt", ala2.topology, ala2.positions + 0.003)
    system = ala2.create_system(constraints=None)
    mixed = MLPotential("kstep", modelPath=str(archive)).createMixedSystem(
        ala2.topology, system, range(22), interpolate=True
    )
    context = context_of(mixed, ala2.positions)
    ends = []
    for value in (0.0, 1.0, 0.25):
        context.setParameter("lambda_interpolate", value)
        ends.append(context.getState(energy=True).getPotentialEnergy()._value)
    ours = MLPotential("kstep", modelPath=str(archive)).createSystem(ala2.topology)
    # openmm-ml writes pairs of the NonbondedForce as another force.
    assert ends[0] == pytest.approx(energy_and_forces(system, ala2.positions)[0], abs=1e-5)
    assert ends[1] == pytest.approx(energy_and_forces(ours, ala2.positions)[0], abs=1e-6)
    assert ends[2] == pytest.approx(0.75 * ends[0] + 0.25 * ends[1], abs=1e-6)


@pytest.mark.parametrize("scheme", ["shift", "rcd"])
def test_bonds_that_are_cut(ala2: Molecule, scheme: str) -> None:
    potential = MLPotential("gfn2-xtb")
    system = ala2.create_system(constraints=None)
    with pytest.raises(ValueError, match=r"the region cuts a bond, .*use embedding='electrostatic'"):
        potential.createMixedSystem(ala2.topology, system, SIDE_CHAIN)
    options: dict[str, Any] = {"embedding": "electrostatic", "chargeScheme": scheme}
    distances = [(8, 10, 0.11 * unit.nanometer)]
    theirs = potential.createMixedSystem(ala2.topology, system, SIDE_CHAIN, linkAtomDistances=distances, **options)
    ours = QMMMPotential("gfn2-xtb").createMixedSystem(
        ala2.topology, system, SIDE_CHAIN, linkAtomDistances=distances, **options
    )
    assert_same(energy_and_forces(theirs, ala2.positions), energy_and_forces(ours, ala2.positions))


def test_charge_and_multiplicity(ala2: Molecule) -> None:
    potential = MLPotential("gfn2-xtb")
    neutral = energy_and_forces(potential.createSystem(ala2.topology), ala2.positions)[0]
    cation = energy_and_forces(potential.createSystem(ala2.topology, charge=1, multiplicity=2), ala2.positions)[0]
    # An ionisation costs some 10 eV.
    assert 600 < cation - neutral < 1500


def test_refusals(ala2: Molecule, solvated_ala2: Molecule, ala2_atoms: list[int], tmp_path: Path) -> None:
    archive = MLPotential("kstep", modelPath=str(ARCHIVE))
    with pytest.raises(SurrogateError, match="trained with charge 0, and 1 is asked for: pass charge=0"):
        archive.createSystem(ala2.topology, charge=1, multiplicity=2)
    with pytest.raises(SurrogateError, match="does not fit these atoms"):
        archive.createSystem(solvated_ala2.topology)
    with pytest.raises(SurrogateError, match="cannot be used"):
        MLPotential("kstep", modelPath=str(tmp_path / "absent.pt"))
    with pytest.raises(EngineError, match="has no setting 'acuracy'"):
        MLPotential("gfn2-xtb", acuracy=1)
    with pytest.raises(EngineError, match="unknown QM method 'kstep-qm'"):
        MLPotential("kstep-qm")
    system = solvated_ala2.create_system(nonbondedMethod=app.PME, nonbondedCutoff=0.9)
    with pytest.raises(ValueError, match="interpolate=True is for embedding='mechanical'"):
        archive.createMixedSystem(
            solvated_ala2.topology, system, ala2_atoms, embedding="electrostatic", interpolate=True, cutoff=0.8
        )
    topology = copy.deepcopy(ala2.topology)
    next(topology.atoms()).element = None
    with pytest.raises(ValueError, match=r"atom 0 \(H1\) has no element"):
        archive.createSystem(topology)


@pytest.mark.parametrize("first", ["openmmml", "openmmkstep.openmm_ml.factories", "openmmkstep.openmm_ml.potentials"])
def test_either_package_may_be_imported_first(first: str) -> None:
    code = f"import {first}; from openmmml import MLPotential; MLPotential('gfn2-xtb')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
