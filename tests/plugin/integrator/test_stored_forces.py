"""Forces stored at the end of a step are used for the next one only where nothing has moved, whoever moved it.

The oracle is a new Context of the same System in the same state: it has no stored forces.
"""

from __future__ import annotations

import numpy as np
import openmm
import pytest
from openmm import unit

from openmmkstep import KStepIntegrator
from tests.plugin.integrator.test_changed_parameters import anchors
from tests.support.qmmm.chain import Chain, make_chain
from tests.support.qmmm.new_contexts import STEP, K, assert_goes_on_as_new, new_context, running_context, state_of


def test_positions_that_differ_in_the_last_bit(platform):
    context = running_context(make_chain(), platform)
    integrator = KStepIntegrator.cast(context.getIntegrator())
    x = state_of(context)[0]
    x[2, 1] = np.nextafter(x[2, 1], 1)
    context.setPositions(x)
    assert_goes_on_as_new(context, 1)
    assert integrator.getStatistics().qmCalls == 4 + 2


def periodic_chain() -> Chain:
    chain = make_chain()
    chain.system.setDefaultPeriodicBoxVectors([2, 0, 0], [0, 2, 0], [0, 0, 2])
    force = openmm.CustomBondForce("500*(r-0.3)^2")
    force.addBond(0, 4, [])
    force.setUsesPeriodicBoundaryConditions(True)
    chain.system.addForce(force)
    return chain


@pytest.mark.parametrize(
    "box",
    [([0.5, 0, 0], [0, 2, 0], [0, 0, 2]), ([2, 0, 0], [0.6, 2, 0], [0, 0, 2]), ([2, 0, 0], [0, 2, 0], [0, 0, 0.7])],
    ids=["narrow", "triclinic", "flat"],
)
def test_box(platform, box):
    context = running_context(periodic_chain(), platform)
    context.setPeriodicBoxVectors(*box)
    assert_goes_on_as_new(context)


@pytest.mark.parametrize("barostat", ["isotropic", "anisotropic", "flexible"])
def test_barostats(reference, barostat):
    """Each outer step, taken alone from the state before it by a Context that has the barostat's new box already."""
    chain = periodic_chain()
    pressure = 1e5
    chain.system.addForce(
        {
            "isotropic": lambda: openmm.MonteCarloBarostat(pressure, 300, 1),
            "anisotropic": lambda: openmm.MonteCarloAnisotropicBarostat(openmm.Vec3(*3 * [pressure]), 300),
            "flexible": lambda: openmm.MonteCarloFlexibleBarostat(pressure, 300, 1),
        }[barostat]()
    )
    for force in chain.system.getForces():
        if hasattr(force, "setFrequency"):
            force.setFrequency(1)
            force.setRandomNumberSeed(1)
    system = openmm.XmlSerializer.clone(chain.system)
    system.removeForce(system.getNumForces() - 1)
    context = running_context(chain, reference)
    bare = openmm.Context(system, KStepIntegrator(STEP, K), reference)
    boxes = set()
    for _ in range(10):
        x, v = state_of(context)
        context.getIntegrator().step(1)
        after = context.getState().getPeriodicBoxVectors(asNumpy=True)._value
        boxes.add(after.tobytes())
        # A barostat moves the molecule as a whole, and distances within it stay.
        bare.setPeriodicBoxVectors(*after)
        bare.setPositions(x)
        bare.setVelocities(v)
        bare.getIntegrator().step(1)
        np.testing.assert_allclose(state_of(context)[1], state_of(bare)[1], atol=1e-9)
    assert len(boxes) > 3


# Other integrators


@pytest.mark.parametrize(
    "other",
    [
        lambda: openmm.VerletIntegrator(STEP),
        lambda: openmm.LangevinMiddleIntegrator(300, 1, STEP),
        lambda: KStepIntegrator(STEP, 1),
        lambda: KStepIntegrator(300, 5, STEP, 2),
    ],
    ids=["Verlet", "Langevin", "plain", "Langevin k = 2"],
)
def test_another_integrator_of_a_compound_has_moved(platform, other):
    compound = openmm.CompoundIntegrator()
    compound.addIntegrator(KStepIntegrator(STEP, K))
    compound.addIntegrator(other())
    context = make_chain().context(compound, platform)
    compound.step(1)
    for steps in (1, 100):
        compound.setCurrentIntegrator(1)
        compound.step(steps)
        compound.setCurrentIntegrator(0)
        assert_goes_on_as_new(context, 1)


def test_a_compound_whose_other_integrator_did_nothing_costs_no_calculation(platform):
    compound = openmm.CompoundIntegrator()
    first, second = KStepIntegrator(STEP, K), openmm.VerletIntegrator(STEP)
    compound.addIntegrator(first)
    compound.addIntegrator(second)
    make_context = make_chain().context(compound, platform)
    compound.step(3)
    compound.setCurrentIntegrator(1)
    compound.setCurrentIntegrator(0)
    compound.step(3)
    assert KStepIntegrator.cast(compound.getIntegrator(0)).getStatistics().qmCalls == 7
    assert make_context.getStepCount() == 6


# New Contexts in the place of old ones


@pytest.mark.parametrize("keep", [True, False])
def test_reinitialize_after_a_change_of_the_system(platform, keep):
    force, change = anchors()
    chain = make_chain()
    chain.system.addForce(force)
    context = running_context(chain, platform)
    x, v = state_of(context)
    change(force)
    context.reinitialize(preserveState=keep)
    if not keep:
        context.setPositions(x)
        context.setVelocities(v)
    assert_goes_on_as_new(context)


def test_reinitialize_with_a_force_more_or_less(platform):
    """Such as a restraint of an equilibration, in a group of its own."""
    chain = make_chain()
    integrator = KStepIntegrator(STEP, K, commonGroups={0: 1, 7: 2})
    for group in (0, 7):
        force = openmm.CustomExternalForce("500*((x-0.2)^2+y^2+z^2)")
        force.addParticle(2, [])
        force.setForceGroup(group)
        chain.system.addForce(force)
    context = chain.context(integrator, platform)
    integrator.step(3)
    for _ in range(2):
        last = chain.system.getNumForces() - 1
        chain.system.getForce(last).setForceGroup(0)
        chain.system.addForce(openmm.XmlSerializer.clone(chain.system.getForce(last)))
        chain.system.getForce(last + 1).setForceGroup(7)
        context.reinitialize(preserveState=True)
        x, v = state_of(context)
        integrator.step(1)
        again = openmm.Context(chain.system, KStepIntegrator(STEP, K, commonGroups={0: 1, 7: 2}), platform)
        again.setPositions(x)
        again.setVelocities(v)
        again.getIntegrator().step(1)
        np.testing.assert_array_equal(state_of(context)[1], state_of(again)[1])


def test_reinitialize_without_a_change_keeps_the_forces(platform):
    context = running_context(make_chain(), platform)
    context.reinitialize(preserveState=True)
    context.getIntegrator().step(1)
    statistics = KStepIntegrator.cast(context.getIntegrator()).getStatistics()
    assert (statistics.outerSteps, statistics.qmCalls) == (4, 5)
    assert context.getTime() == 4 * K * STEP * unit.picosecond


# All of it


class Changes:
    """A chain whose Context is changed in one way after the other, each a method."""

    def __init__(self, seed: int, platform: openmm.Platform) -> None:
        self.random = np.random.default_rng(seed)
        self.platform = platform
        self.k = int(self.random.choice([2, 4, 8]))
        chain = periodic_chain()
        self.anchor, _ = anchors()
        field = openmm.CustomExternalForce("k*(x^2+y^2)")
        field.addGlobalParameter("k", 50.0)
        for i in range(5):
            field.addParticle(i, [])
        for force in (self.anchor, field):
            force.setForceGroup(int(self.random.choice([0, 1, 2])))
            chain.system.addForce(force)
        self.system = chain.system
        self.context = chain.context(KStepIntegrator(STEP, self.k), platform)
        self.checkpoint: bytes | None = None

    def step(self) -> None:
        self.context.getIntegrator().step(int(self.random.integers(1, 3)))

    def positions(self) -> None:
        x = state_of(self.context)[0]
        self.context.setPositions(x + self.random.choice([0, 1e-4]) * self.random.normal(size=x.shape))

    def velocities(self) -> None:
        self.context.setVelocities(0.9 * state_of(self.context)[1])

    def parameter(self) -> None:
        self.context.setParameter("k", float(self.random.choice([50.0, 80.0])))

    def box(self) -> None:
        self.context.setPeriodicBoxVectors([self.random.choice([0.6, 2.0]), 0, 0], [0, 2, 0], [0, 0, 2])

    def update(self) -> None:
        self.anchor.setParticleParameters(0, 1, [self.random.choice([0.1, 0.2, 0.3])])
        self.anchor.updateParametersInContext(self.context)

    def another_k(self) -> None:
        self.k = int(self.random.choice([2, 4, 8]))
        KStepIntegrator.cast(self.context.getIntegrator()).setK(self.k)

    def save(self) -> None:
        self.checkpoint = self.context.createCheckpoint()

    def load(self) -> None:
        if self.checkpoint is not None:
            self.context.loadCheckpoint(self.checkpoint)

    def load_elsewhere(self) -> None:
        if self.checkpoint is not None:
            self.context = openmm.Context(self.system, KStepIntegrator(STEP, self.k), self.platform)
            self.context.loadCheckpoint(self.checkpoint)

    def reinitialize(self) -> None:
        if self.random.random() < 0.5:
            self.anchor.setParticleParameters(0, 1, [self.random.choice([0.1, 0.2, 0.3])])
        self.context.reinitialize(preserveState=True)

    def return_to_state(self) -> None:
        state = self.context.getState(positions=True, velocities=True, parameters=True)
        self.context.getIntegrator().step(1)
        self.context.setState(state)


@pytest.mark.parametrize("seed", range(30))
def test_any_sequence_of_changes(platform, seed):
    changes = Changes(seed, platform)
    names = [name for name in vars(Changes) if not name.startswith("_")]
    done = []
    for _ in range(15):
        done.append(str(changes.random.choice(names)))
        getattr(changes, done[-1])()
        if changes.random.random() < 0.5:
            again = new_context(changes.context, changes.k)
            for each in (changes.context, again):
                each.getIntegrator().step(1)
            for mine, theirs in zip(state_of(changes.context), state_of(again), strict=True):
                np.testing.assert_array_equal(mine, theirs, err_msg=" -> ".join(done))
