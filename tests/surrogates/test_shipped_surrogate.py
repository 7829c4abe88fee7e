"""The surrogate that ships with the example fits the example, and knows its molecule."""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app

from kstep_models.units import MEV_PER_ANGSTROM
from openmmkstep import KStepIntegrator, QMMMPotential
from openmmkstep.qmmm.levels import force_groups
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
    """Over a run, within twice the error that the archive states for its temperature."""
    mixed = QMMMPotential("gfn2-xtb").createMixedSystem(
        ala2.topology, ala2.create_system(), ala2_atoms, surrogate=ARCHIVE
    )
    integrator = KStepIntegrator(300, 5, 0.0005, 4)
    integrator.setRandomNumberSeed(2)
    context = openmm.Context(mixed, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(ala2.positions)
    context.setVelocitiesToTemperature(300, 3)
    integrator.step(100)
    statistics = integrator.getStatistics()
    stated = validation("gas")["force_rmse_by_temperature"]["300"]
    assert statistics.meanCorrectionRMS is not None
    assert statistics.meanCorrectionRMS * MEV_PER_ANGSTROM < 2 * stated
    assert statistics.fallbacks == 0


def test_it_follows_the_field_of_the_water(solvated_ala2: Molecule, ala2_atoms: list[int]) -> None:
    """Forces on the molecule and on the water near it, within twice the errors that the archive states for water."""
    system = solvated_ala2.create_system(nonbondedMethod=app.PME, nonbondedCutoff=0.9)
    mixed = QMMMPotential("gfn2-xtb").createMixedSystem(
        solvated_ala2.topology, system, ala2_atoms, cutoff=0.9, switchDistance=0.7, surrogate=ARCHIVE
    )
    context = openmm.Context(mixed, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(solvated_ala2.positions)
    surrogate, qm = (
        np.asarray(context.getState(forces=True, groups={group}).getForces(asNumpy=True)._value)
        for group in (force_groups.SURROGATE, force_groups.QM)
    )
    box = np.diag(context.getState().getPeriodicBoxVectors(asNumpy=True)._value)
    apart = solvated_ala2.positions[:, None] - solvated_ala2.positions[ala2_atoms]
    near = np.linalg.norm(apart - box * np.round(apart / box), axis=2).min(axis=1) < 0.5
    near[ala2_atoms] = False
    stated = validation("embedded")
    assert rms((surrogate - qm)[ala2_atoms]) < 2 * stated["force_rmse"]
    # As a part of the forces: water that has not settled stands farther away than in the frames.
    part = stated["environment_force_rmse"] / stated["environment_force_rms"]
    assert rms((surrogate - qm)[near]) < 2 * part * rms(qm[near])


def validation(kind: str) -> dict[str, Any]:
    """What the archive says of its own errors on frames that it was not trained on, meV/A."""
    figures = read_surrogate_contract(ARCHIVE).validation
    assert figures["units"]["force"] == "meV/A"
    return figures[kind]


def rms(forces: NDArray[np.float64]) -> float:
    """Of all components of forces in kJ/mol/nm, meV/A."""
    return float(np.sqrt(np.mean(forces**2))) * MEV_PER_ANGSTROM
