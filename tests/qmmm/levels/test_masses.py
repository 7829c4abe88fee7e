"""Heavier hydrogen in the region: masses move along bonds, their sum stays, positions are sampled as before."""

from __future__ import annotations

import numpy as np
import openmm
import pytest
from openmm import app, unit

from openmmkstep import QMMMPotential
from openmmkstep.io.phase_space import PhaseSpacePoint
from openmmkstep.qmmm.region import RegionError
from openmmkstep.workflows.config.sections import QMSection
from openmmkstep.workflows.setup.mixed_system import build_mixed_system
from openmmkstep.workflows.setup.molecular_system import MolecularSystem
from tests.support.levels.methanol import METHANOL, POSITIONS, bare_methanol
from tests.support.qmmm.molecules import Molecule


def masses(system: openmm.System) -> np.ndarray:
    return np.array([system.getParticleMass(i).value_in_unit(unit.dalton) for i in range(system.getNumParticles())])


def test_mass_moves_along_bonds() -> None:
    system = bare_methanol()
    potential = QMMMPotential("gfn2-xtb")
    mixed = potential.createMixedSystem(METHANOL, system, range(6), hydrogenMass=2.5 * unit.dalton)
    before, after = masses(system), masses(mixed)
    assert after[2:].tolist() == [2.5] * 4
    np.testing.assert_allclose(after[:2], [before[0] - 3 * (2.5 - before[2]), before[1] - (2.5 - before[5])])
    assert after.sum() == pytest.approx(before.sum(), abs=1e-12)


def test_only_in_the_region(solvated_ala2: Molecule, ala2_atoms: list[int]) -> None:
    """What is cut off or around it keeps its masses; as a configuration says it."""
    system = solvated_ala2.create_system(nonbondedMethod=app.PME, nonbondedCutoff=0.9)
    molecules = MolecularSystem(solvated_ala2.topology, solvated_ala2.positions, system)
    section = QMSection.model_validate({"atoms": "solute", "cutoff": "0.8 nm", "hydrogen_mass": 3.0})
    mixed = build_mixed_system(molecules, section)
    before, after = masses(system), masses(mixed.system)
    hydrogen = [a.index for a in solvated_ala2.topology.atoms() if a.element.atomic_number == 1]
    inside = [index for index in hydrogen if index in ala2_atoms]
    assert after[inside].tolist() == [3.0] * len(inside)
    # By these kstep validate tells temperatures and normal modes.
    np.testing.assert_array_equal(mixed.region.masses, after[list(mixed.region.particles)])
    outside = np.setdiff1d(np.arange(len(before)), ala2_atoms)
    np.testing.assert_array_equal(after[outside], before[outside])
    assert after.sum() == pytest.approx(before.sum(), abs=1e-9)


def test_heavier_atoms_go_on_at_the_same_temperature() -> None:
    before = bare_methanol()
    after = QMMMPotential("gfn2-xtb").createMixedSystem(METHANOL, before, range(6), hydrogenMass=3)
    velocities = np.random.default_rng(1).normal(size=(6, 3))
    point = PhaseSpacePoint(POSITIONS, velocities, np.eye(3)).between(before, after)
    np.testing.assert_allclose(
        masses(after)[:, None] * point.velocities**2, masses(before)[:, None] * velocities**2, rtol=1e-12
    )
    same = PhaseSpacePoint(POSITIONS, velocities, np.eye(3)).between(before, before)
    np.testing.assert_array_equal(same.velocities, velocities)


@pytest.mark.parametrize(("mass", "message"), [(0.5, "between 1 and 4 amu"), (4.0, "would keep a mass of 3.0 amu")])
def test_masses_that_make_no_sense(mass: float, message: str) -> None:
    with pytest.raises(RegionError, match=message):
        QMMMPotential("gfn2-xtb").createMixedSystem(METHANOL, bare_methanol(), range(6), hydrogenMass=mass)
