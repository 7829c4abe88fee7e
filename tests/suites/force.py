"""Properties that every force must have, as a suite to inherit from.

The fixtures ``reference`` and ``force_platform`` are those of tests/support/platforms.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import openmm
import pytest
from numpy.typing import NDArray

from tests.support.finite_differences import assert_close_vectors, derivative
from tests.support.platforms import Accuracy, accuracy
from tests.support.round_trips import ROUND_TRIPS, settings

GROUP = 5
EXACT = Accuracy(0, 0)
Values = tuple[float, NDArray[np.float64]]


class ForceProperties(ABC):
    """Inherit, make the force in its System, and every property is tested.

    ``kind`` is the class of the force. ``relative`` and ``noise`` (kJ/mol/nm) are the tolerance of finite differences
    with displacements ``step`` (nm): what the energies' own digits allow. ``exact`` is the relative difference of two
    evaluations that must be the same, 0 for the last bit. ``symmetry`` are the relative errors of energies and of
    forces of a translated or rotated system. ``fixed`` are getters that say the same of every force of the class.
    """

    kind: ClassVar[type[Any]]
    relative = 1e-6
    noise = 1e-6
    step = 1e-4
    exact = 0.0
    symmetry = Accuracy(1e-10, 1e-10)
    fixed: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def create(self) -> tuple[openmm.System, openmm.Force, NDArray[np.float64]]:
        """A System with the force as its only one, the force, and positions [N,3] where no symmetry hides an error."""

    @abstractmethod
    def plain(self) -> openmm.Force:
        """A force with all defaults."""

    @abstractmethod
    def everything(self) -> openmm.Force:
        """A force of which nothing is at its default; it need not suit the System."""

    def particles(self, positions: NDArray[np.float64]) -> Sequence[int]:
        """Particles whose forces are compared with differences of the energy."""
        return range(len(positions))

    def context(self, platform: openmm.Platform) -> tuple[openmm.Context, NDArray[np.float64]]:
        system, force, positions = self.create()
        force.setForceGroup(GROUP)
        return self.place(system, platform, positions), positions

    def place(self, system: openmm.System, platform: openmm.Platform, positions: NDArray[np.float64]) -> openmm.Context:
        context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
        context.setPositions(positions)
        return context

    def evaluate(self, context: openmm.Context, positions: Any = None, groups: int | set[int] = -1) -> Values:
        if positions is not None:
            context.setPositions(positions)
        state = context.getState(energy=True, forces=True, groups=groups)
        return state.getPotentialEnergy()._value, np.array(state.getForces(asNumpy=True)._value)

    def assert_same(self, found: Values, expected: Values, error: Accuracy = EXACT) -> None:
        """Energies and forces that agree to relative errors, at least those of two evaluations of the same."""
        energy, forces = max(error.energy, self.exact), max(error.forces, self.exact)
        assert abs(found[0] - expected[0]) <= energy * abs(expected[0]), f"{found[0]} instead of {expected[0]} kJ/mol"
        worst, largest = np.abs(found[1] - expected[1]).max(), np.abs(expected[1]).max()
        assert worst <= forces * largest, f"forces differ by {worst} kJ/mol/nm of {largest}"

    def test_forces_are_the_negative_gradient_of_the_energy(self, reference: openmm.Platform) -> None:
        context, positions = self.context(reference)
        particles = list(self.particles(positions))
        expected = -derivative(lambda x: self.evaluate(context, x)[0], positions, self.step, particles)
        forces = self.evaluate(context, positions)[1]
        assert np.abs(expected).max() > 1
        assert_close_vectors(forces[particles], expected, self.relative, self.noise, particles)

    def test_forces_sum_to_zero(self, force_platform: openmm.Platform) -> None:
        context, _ = self.context(force_platform)
        forces = self.evaluate(context)[1]
        error = max(self.symmetry.forces, accuracy(force_platform).forces) * np.abs(forces).max()
        assert np.abs(forces.sum(axis=0)).max() < error * np.sqrt(len(forces))

    def test_translation(self, reference: openmm.Platform) -> None:
        context, positions = self.context(reference)
        here = self.evaluate(context)
        there = self.evaluate(context, positions + np.array([0.3, -0.7, 1.1]))
        self.assert_same(there, here, self.symmetry)

    def test_same_on_every_platform(self, force_platform: openmm.Platform, reference: openmm.Platform) -> None:
        error = accuracy(force_platform)
        found, expected = (self.evaluate(self.context(platform)[0]) for platform in (force_platform, reference))
        self.assert_same(found, expected, error)

    def test_acts_in_its_group_only(self, force_platform: openmm.Platform) -> None:
        system, force, positions = self.create()
        force.setForceGroup(GROUP)
        spring = openmm.HarmonicBondForce()
        spring.addBond(0, 1, 0.0, 1000.0)
        system.addForce(spring)
        context = self.place(system, force_platform, positions)
        whole, own, other, none = (self.evaluate(context, None, groups) for groups in (-1, {GROUP}, {0}, {GROUP + 1}))
        assert none[0] == 0 and not none[1].any()
        error = accuracy(force_platform)
        distance = np.linalg.norm(positions[1] - positions[0])
        assert other[0] == pytest.approx(500 * distance**2, rel=max(error.energy, error.forces))
        assert np.abs(other[1][:2]).max() > 0 and not other[1][2:].any()
        self.assert_same(whole, (own[0] + other[0], own[1] + other[1]), error)
        alone = self.evaluate(self.context(force_platform)[0])
        self.assert_same(own, alone, error)

    def test_everything_is_off_its_default(self) -> None:
        """Else the round trips would not see what they lose."""
        plain, full = settings(self.plain()), settings(self.everything())
        assert sorted(name for name in full if full[name] == plain.get(name)) == sorted(self.fixed)

    @pytest.mark.parametrize("way", ROUND_TRIPS)
    def test_copies_keep_everything(self, way: str) -> None:
        force = self.everything()
        again = self.kind.cast(ROUND_TRIPS[way](force))
        assert settings(again) == settings(force)
        assert again.usesPeriodicBoundaryConditions() == force.usesPeriodicBoundaryConditions()
        assert openmm.XmlSerializer.serialize(again) == openmm.XmlSerializer.serialize(force)

    @pytest.mark.parametrize("way", ROUND_TRIPS)
    def test_copies_of_its_system_act_alike(self, way: str, reference: openmm.Platform) -> None:
        system, _, positions = self.create()
        again = ROUND_TRIPS[way](system)
        assert self.kind.isInstance(again.getForce(0))
        found, expected = (self.evaluate(self.place(each, reference, positions)) for each in (again, system))
        self.assert_same(found, expected)

    def test_contexts_are_apart(self, reference: openmm.Platform) -> None:
        """A second one gives the same when the first has moved, or is gone; and so does one made anew."""
        system, _, positions = self.create()
        first = self.place(system, reference, positions)
        expected = self.evaluate(first)
        second = self.place(system, reference, positions)
        self.evaluate(first, positions * 1.01)
        self.assert_same(self.evaluate(second), expected)
        del first
        self.assert_same(self.evaluate(second), expected)
        second.reinitialize(preserveState=True)
        self.assert_same(self.evaluate(second), expected)

    def test_a_checkpoint_brings_the_forces_back(self, reference: openmm.Platform) -> None:
        context, positions = self.context(reference)
        expected = self.evaluate(context)
        checkpoint = context.createCheckpoint()
        moved = self.evaluate(context, positions * 1.01)
        assert moved[0] != expected[0]
        context.loadCheckpoint(checkpoint)
        found = self.evaluate(context)
        # The system is where it was, but an engine may come from another density.
        self.assert_same(found, expected, self.symmetry)


class IsolatedForceProperties(ForceProperties):
    """The same for a force that knows no direction in space either, because there is no periodic box."""

    def test_torques_sum_to_zero(self, reference: openmm.Platform) -> None:
        context, positions = self.context(reference)
        forces = self.evaluate(context)[1]
        torque = np.cross(positions - positions.mean(axis=0), forces).sum(axis=0)
        assert np.abs(torque).max() < self.symmetry.forces * np.abs(forces).max() * len(forces)

    def test_rotation_and_reflection(self, reference: openmm.Platform) -> None:
        context, positions = self.context(reference)
        energy, forces = self.evaluate(context)
        turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
        for sign in (1, -1):
            found = self.evaluate(context, positions @ (sign * turn).T)
            self.assert_same(found, (energy, forces @ (sign * turn).T), self.symmetry)
