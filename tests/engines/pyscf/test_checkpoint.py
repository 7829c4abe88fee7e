"""Densities go along with checkpoints: the same dynamics to the last bit, and no calculation from nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm
import pytest

from openmmkstep import KStepIntegrator, QMMMForce
from tests.engines.pyscf.test_properties import FORMALDEHYDE

pytest.importorskip("pyscf", reason="PySCF is not installed: pip install 'openmm-kstep[pyscf]'")


def create(basis: str = "6-31g") -> tuple[openmm.Context, QMMMForce]:
    system = openmm.System()
    for mass in (16.0, 12.0, 1.0, 1.0):
        system.addParticle(mass)
    force = QMMMForce(range(4), [8, 6, 1, 1], "pyscf", settings={"xc": "pbe", "basis": basis})
    force.setForceGroup(1)
    system.addForce(force)
    integrator = KStepIntegrator(300, 1.0, 0.0005, 1, qmGroup=1)
    integrator.setRandomNumberSeed(3)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(FORMALDEHYDE)
    context.setVelocitiesToTemperature(300, 7)
    return context, force


def go_on(context: openmm.Context, force: QMMMForce, steps: int) -> tuple[Any, list[int]]:
    iterations = []
    for _ in range(steps):
        context.getIntegrator().step(1)
        iterations.append(force.getLastResult(context).iterations)
    state = context.getState(positions=True, velocities=True)
    return np.concatenate([state.getPositions(asNumpy=True), state.getVelocities(asNumpy=True)]), iterations


def test_a_run_that_is_taken_up_goes_on_as_if_nothing_had_been() -> None:
    context, force = create()
    before = go_on(context, force, 6)[1]
    checkpoint = context.createCheckpoint()
    expected, iterations = go_on(context, force, 4)
    assert max(iterations) < 0.8 * before[0]
    other, other_force = create()
    go_on(other, other_force, 2)
    other.loadCheckpoint(checkpoint)
    found, again = go_on(other, other_force, 4)
    np.testing.assert_array_equal(found, expected)
    assert again == iterations


def test_densities_of_another_basis_set_are_not_used() -> None:
    context, force = create()
    go_on(context, force, 2)
    other, other_force = create("sto-3g")
    other.loadCheckpoint(context.createCheckpoint())
    assert np.isfinite(go_on(other, other_force, 2)[0]).all()
