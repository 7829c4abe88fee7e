"""Learning below top levels that are no QM methods: a force field, and a potential of openmm-ml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app, unit

from kstep_models.frames import FrameFile
from openmmkstep import QMMMPotential, SinglePoint, createIntegrator
from openmmkstep.learning import Learner, LearningSettings
from tests.support.learning import PLATFORM, check_books
from tests.support.levels.methanol import METHANOL, POSITIONS, bare_methanol, write_methanol
from tests.support.models.methanol import BONDS, NUMBERS

SETTINGS = LearningSettings(
    ks=(4, 8), max_calls=100, first_labels=30, trial_steps=8, pool_time=0.5, pool_size=60, seed=3
)


def springs(stiffness: float, lengths: float) -> openmm.Force:
    """Bonds and distances over an angle, the same for all kinds of atoms."""
    force = openmm.HarmonicBondForce()
    rest = np.linalg.norm(POSITIONS[:, None] - POSITIONS[None], axis=-1)
    for i in range(6):
        for j in range(i):
            bonded = (j, i) in BONDS or (i, j) in BONDS
            force.addBond(i, j, lengths * rest[i, j], stiffness * (300000 if bonded else 20000))
    return force


def test_k_step_mm_from_nothing(tmp_path: Path) -> None:
    """A force field above springs of another stiffness; no level tells what the region is."""
    write_methanol(tmp_path)
    system = app.ForceField(str(tmp_path / "methanol.xml")).createSystem(METHANOL)
    potential = QMMMPotential("force-field")

    def mix(surrogate: list[Any] | None) -> openmm.System:
        return potential.createMixedSystem(
            METHANOL, system, range(6), surrogate=surrogate, baseLevel=springs(0.9, 1.01)
        )

    learner = Learner(mix, METHANOL, tmp_path / "learning", settings=SETTINGS, platform=PLATFORM)
    learned = learner.learn(POSITIONS)
    record = check_books(tmp_path / "learning")
    assert learned.k == 8 and record.held is not None and learned.archive is not None
    with FrameFile(tmp_path / "learning" / "labels.h5") as file:
        positions, forces = file.frames("positions"), file.frames("forces")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), PLATFORM)
    for number in (0, -1):
        context.setPositions(positions[number])
        expected = context.getState(forces=True).getForces(asNumpy=True)._value
        np.testing.assert_allclose(forces[number], expected, atol=1e-3)
    changes = []
    for k in (1, 8):
        integrator = createIntegrator(learned.system if k > 1 else mix(None), 0.0005, k)
        context = openmm.Context(learned.system if k > 1 else mix(None), integrator, PLATFORM)
        learned.point.apply_to(context)
        energies = []
        for _ in range(400 // k):
            integrator.step(1)
            energies.append(integrator.getStatistics().totalEnergy)
        changes.append(np.std(energies))
        assert integrator.getStatistics().fallbacks == 0
    # A kT is 2.5 kJ/mol; plain dynamics with this step has a few hundredths.
    assert changes[0] < 0.2 and changes[1] < 0.3


def python_springs(state: openmm.State) -> tuple[float, Any]:
    """Energy, kJ/mol, and forces, kJ/mol/nm, of springs along the bonds."""
    positions = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
    energy, forces = 0.0, np.zeros((6, 3))
    for i, j in BONDS:
        bond = positions[i] - positions[j]
        length, rest = np.linalg.norm(bond), np.linalg.norm(POSITIONS[i] - POSITIONS[j])
        energy += 150000 * (length - rest) ** 2
        pull = 300000 * (length - rest) * bond / length
        forces[i] -= pull
        forces[j] += pull
    return energy, forces


class PythonPotential:
    """What openmm-ml's potentials are to us: something that adds a force in Python, as its neural networks are."""

    def createMixedSystem(  # noqa: N802
        self, topology: app.Topology, system: openmm.System, atoms: list[int], **options: Any
    ) -> openmm.System:
        mixed = openmm.XmlSerializer.clone(system)
        force = openmm.PythonForce(python_springs)
        force.setParticles(atoms)
        mixed.addForce(force)
        return mixed


def test_labels_of_a_force_in_python_above_a_method(tmp_path: Path) -> None:
    """They are what it says beyond the method, and learning that is over is found again."""
    potential = QMMMPotential(PythonPotential())

    def mix(surrogate: list[Any] | None) -> openmm.System:
        return potential.createMixedSystem(METHANOL, bare_methanol(), range(6), surrogate=surrogate)

    settings = LearningSettings(
        ks=(2,), max_calls=40, first_labels=15, trial_steps=6, pool_time=0.3, pool_size=40, acceptance=0.3, seed=3
    )

    def learn() -> Any:
        learner = Learner(mix, METHANOL, tmp_path, start=["gfn1-xtb"], settings=settings, platform=PLATFORM)
        return learner.learn(POSITIONS)

    learned = learn()
    record = check_books(tmp_path)
    assert record.qm_calls == len(record.labelled) + sum(len(trial.errors) + 1 for trial in record.trials)
    assert learn().k == learned.k
    below = SinglePoint("gfn1-xtb", NUMBERS)
    with FrameFile(tmp_path / "labels.h5") as file:
        positions, energies, forces = (file.frames(name) for name in ("positions", "energy", "forces"))
    for number in (0, -1):
        context = openmm.Context(mix(None), openmm.VerletIntegrator(0.001), PLATFORM)
        context.setPositions(positions[number])
        state = context.getState(energy=True, forces=True)
        method = below.compute(positions[number])
        assert energies[number] == pytest.approx(state.getPotentialEnergy()._value - method.energy, abs=1e-2)
        expected = state.getForces(asNumpy=True)._value - method.forces
        np.testing.assert_allclose(forces[number], expected, atol=1)
