"""Parameters that are changed between steps, announced by OpenMM or not, act from the next step on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import openmm
import pytest

from openmmkstep import KStepIntegrator
from tests.support.qmmm.chain import Chain, make_chain
from tests.support.qmmm.new_contexts import assert_goes_on_as_new, new_context, running_context, state_of


def bonds() -> tuple[openmm.Force, Callable[[Any], None]]:
    force = openmm.HarmonicBondForce()
    force.addBond(0, 4, 0.3, 500.0)
    return force, lambda f: f.setBondParameters(0, 0, 4, 0.2, 500.0)


def switched_off() -> tuple[openmm.Force, Callable[[Any], None]]:
    force = openmm.HarmonicBondForce()
    force.addBond(0, 4, 0.2, 500.0)
    return force, lambda f: f.setBondParameters(0, 0, 4, 0.2, 0.0)


def angles() -> tuple[openmm.Force, Callable[[Any], None]]:
    force = openmm.HarmonicAngleForce()
    force.addAngle(0, 2, 4, 2.0, 100.0)
    return force, lambda f: f.setAngleParameters(0, 0, 2, 4, 2.5, 100.0)


def torsions() -> tuple[openmm.Force, Callable[[Any], None]]:
    force = openmm.PeriodicTorsionForce()
    force.addTorsion(0, 1, 2, 3, 2, 0.3, 20.0)
    return force, lambda f: f.setTorsionParameters(0, 0, 1, 2, 3, 1, 0.3, 20.0)


def map_of_torsions() -> tuple[openmm.Force, Callable[[Any], None]]:
    force = openmm.CMAPTorsionForce()
    force.addMap(4, np.linspace(0, 10, 16))
    force.addTorsion(0, 0, 1, 2, 3, 1, 2, 3, 4)
    return force, lambda f: f.setMapParameters(0, 4, np.linspace(10, 0, 16) ** 2)


def charges() -> tuple[openmm.Force, Callable[[Any], None]]:
    force = openmm.NonbondedForce()
    for i in range(5):
        force.addParticle(0.1 * (-1) ** i, 0.1, 0.1)
    return force, lambda f: f.setParticleParameters(2, 0.3, 0.1, 0.1)


def pairs() -> tuple[openmm.Force, Callable[[Any], None]]:
    force = openmm.CustomNonbondedForce("table(r)")
    force.addTabulatedFunction("table", openmm.Continuous1DFunction([0.0, 5.0, 1.0, 0.0], 0.0, 2.0))
    for _ in range(5):
        force.addParticle([])

    def change(f: Any) -> None:
        f.getTabulatedFunction(0).setFunctionParameters([0.0, 2.0, 9.0, 0.0], 0.0, 2.0)

    return force, change


def anchors() -> tuple[openmm.Force, Callable[[Any], None]]:
    force = openmm.CustomExternalForce("500*(x-x0)^2")
    force.addPerParticleParameter("x0")
    force.addParticle(1, [0.1])
    return force, lambda f: f.setParticleParameters(0, 1, [0.2])


def centroids() -> tuple[openmm.Force, Callable[[Any], None]]:
    force = openmm.CustomCentroidBondForce(2, "k*distance(g1,g2)^2")
    force.addPerBondParameter("k")
    for group in ([0, 1], [3, 4]):
        force.addGroup(group)
    force.addBond([0, 1], [200.0])
    return force, lambda f: f.setBondParameters(0, [0, 1], [700.0])


def metadynamics() -> tuple[openmm.Force, Callable[[Any], None]]:
    """A bias on a collective variable that grows as `openmm.app.Metadynamics` lets it."""
    force = openmm.CustomCVForce("bias(rmsd)")
    force.addCollectiveVariable("rmsd", openmm.RMSDForce(np.random.default_rng(1).normal(scale=0.2, size=(5, 3))))
    force.addTabulatedFunction("bias", openmm.Continuous1DFunction(np.zeros(20), 0.0, 1.0))

    def change(f: Any) -> None:
        f.getTabulatedFunction(0).setFunctionParameters(300 * np.linspace(0, 1, 20) ** 2, 0.0, 1.0)

    return force, change


FORCES = [
    bonds,
    switched_off,
    angles,
    torsions,
    map_of_torsions,
    charges,
    pairs,
    anchors,
    centroids,
    metadynamics,
]


@pytest.mark.parametrize("group", [0, 1, 2], ids=["common", "surrogate", "QM"])
@pytest.mark.parametrize("make", FORCES, ids=lambda make: make.__name__)
def test_parameters_of_forces(platform, make, group):
    force, change = make()
    force.setForceGroup(group)
    chain = make_chain()
    chain.system.addForce(force)
    context = running_context(chain, platform)
    unchanged = new_context(context)
    change(force)
    force.updateParametersInContext(context)
    assert_goes_on_as_new(context)
    unchanged.getIntegrator().step(2)
    assert abs(state_of(context)[1] - state_of(unchanged)[1]).max() > 1e-6


def test_a_parameter_takes_effect_in_its_first_half_kick(reference):
    """An anchor moved by 0.1 nm pulls with 100 kJ/mol/nm at once, and its work is no error of the energy."""
    system = openmm.System()
    for _ in range(2):
        system.addParticle(10.0)
    anchor = openmm.CustomExternalForce("0.5*1000*(x-x0)^2")
    anchor.addPerParticleParameter("x0")
    anchor.addParticle(1, [5.0])
    system.addForce(anchor)
    qm = openmm.HarmonicBondForce()
    qm.setForceGroup(2)
    system.addForce(qm)
    integrator = KStepIntegrator(0.001, 1)
    context = openmm.Context(system, integrator, reference)
    context.setPositions([[0, 0, 0], [5, 0, 0]])
    integrator.step(1)
    anchor.setParticleParameters(0, 1, [5.1])
    anchor.updateParametersInContext(context)
    integrator.step(1)
    x, v = state_of(context)
    assert x[1, 0] - 5 == pytest.approx(5e-6, rel=1e-8)
    # The second half kick feels the force at 5e-6 nm.
    assert v[1, 0] == pytest.approx(0.01 * (1 - 2.5e-5), rel=1e-8)
    # Velocity Verlet at a time step of a hundredth of the period: 1 % of the spring's energy of 5 kJ/mol at most.
    assert abs(integrator.getStatistics().energyError) < 0.05


# Global parameters


def chain_with_parameter() -> Chain:
    chain = make_chain()
    force = openmm.CustomExternalForce("k*(x^2+y^2)")
    force.addGlobalParameter("k", 50.0)
    for i in range(5):
        force.addParticle(i, [])
    chain.system.addForce(force)
    return chain


@pytest.mark.parametrize("value", [200.0, 50.000000000000007], ids=["another", "next number"])
def test_global_parameters(platform, value):
    context = running_context(chain_with_parameter(), platform)
    calls = KStepIntegrator.cast(context.getIntegrator()).getStatistics().qmCalls
    context.setParameter("k", value)
    assert_goes_on_as_new(context, 1)
    assert KStepIntegrator.cast(context.getIntegrator()).getStatistics().qmCalls == calls + 2


def test_what_is_set_to_what_it_was_costs_no_calculation(platform):
    chain = chain_with_parameter()
    chain.system.setDefaultPeriodicBoxVectors([3, 0, 0], [0, 3, 0], [0, 0, 3])
    context = running_context(chain, platform)
    integrator = KStepIntegrator.cast(context.getIntegrator())
    for change in (
        lambda: context.setParameter("k", 50.0),
        lambda: context.setPeriodicBoxVectors([3, 0, 0], [0, 3, 0], [0, 0, 3]),
        lambda: context.setPositions(state_of(context)[0]),
        lambda: context.setVelocities(2 * state_of(context)[1]),
        lambda: context.setVelocitiesToTemperature(300, 1),
        lambda: context.setTime(1.0),
        lambda: context.getState(forces=True, energy=True),
        lambda: context.computeVirtualSites(),
    ):
        calls = integrator.getStatistics().qmCalls
        change()
        integrator.step(1)
        assert integrator.getStatistics().qmCalls == calls + 1
