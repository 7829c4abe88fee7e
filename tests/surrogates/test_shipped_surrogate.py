"""The surrogate that ships with the example fits the example, and knows its molecule."""

from __future__ import annotations

import numpy as np
import openmm
from openmm import app

from openmmkstep import KStepIntegrator, QMMMPotential
from openmmkstep.qmmm import force_groups
from openmmkstep.surrogates.suitability import read_surrogate_contract
from tests.support.qmmm.molecules import EXAMPLES, Molecule

ARCHIVE = EXAMPLES / "alanine_dipeptide" / "ala2-gfn2.pt"


def test_contract_states_what_it_was_trained_on() -> None:
    contract = read_surrogate_contract(ARCHIVE)
    assert contract.level_of_theory["method"] == "gfn2-xtb"
    assert contract.inputs == ("positions", "potential")
    assert contract.training_data["digest"].startswith("sha256:")
    assert contract.validation, "measured errors belong into the contract"


def test_its_forces_are_near_those_of_gfn2(ala2: Molecule, ala2_atoms: list[int]) -> None:
    mixed = QMMMPotential("gfn2-xtb").createMixedSystem(
        ala2.topology, ala2.create_system(), ala2_atoms, surrogate=ARCHIVE
    )
    integrator = KStepIntegrator(300, 5, 0.0005, 4)
    integrator.setRandomNumberSeed(2)
    context = openmm.Context(mixed, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(ala2.positions)
    context.setVelocitiesToTemperature(300, 3)
    integrator.step(50)
    statistics = integrator.getStatistics()
    forces = context.getState(forces=True, groups={force_groups.QM}).getForces(asNumpy=True)._value
    # A tenth of the forces themselves, averaged over a tenth of a picosecond: a wrong unit, a wrong order of atoms or a
    # damaged archive is far beyond.
    assert statistics.meanCorrectionRMS < 0.1 * np.sqrt(np.mean(np.asarray(forces) ** 2))
    assert statistics.fallbacks == 0


def test_it_follows_the_field_of_the_water(solvated_ala2: Molecule, ala2_atoms: list[int]) -> None:
    system = solvated_ala2.create_system(nonbondedMethod=app.PME, nonbondedCutoff=0.9)
    mixed = QMMMPotential("gfn2-xtb").createMixedSystem(
        solvated_ala2.topology, system, ala2_atoms, cutoff=0.6, switchDistance=0.5, surrogate=ARCHIVE
    )
    context = openmm.Context(mixed, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(solvated_ala2.positions)
    forces = {
        group: np.asarray(context.getState(forces=True, groups={group}).getForces(asNumpy=True)._value)[22:]
        for group in (force_groups.SURROGATE, force_groups.QM)
    }
    size = np.sqrt(np.mean(forces[force_groups.QM] ** 2))
    assert size > 1.0
    assert np.sqrt(np.mean((forces[force_groups.SURROGATE] - forces[force_groups.QM]) ** 2)) < 0.3 * size
