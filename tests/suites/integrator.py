"""Properties that every integrator must have, as suites to inherit from: at constant energy, and with a thermostat.

The fixtures ``reference`` and ``platform`` are those of tests/support/platforms.py.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import openmm
import pytest
from numpy.typing import NDArray

from tests.support.finite_differences import derivative
from tests.support.platforms import accuracy
from tests.support.qmmm.chain import MASS, Chain, make_chain
from tests.support.round_trips import ROUND_TRIPS, settings

KT_300 = 8.31446261815324e-3 * 300
TIGHT = 1e-12
"""Tolerance of constraints that leaves differences and reversals the digits they need."""


class IntegratorProperties(ABC):
    """Inherit, make the integrator, and every property is tested on a chain of atoms.

    ``kind`` is the class of the integrator, ``fixed`` are getters that say the same of all of them. ``constraints`` are
    the bonds of the chain whose lengths are fixed. ``steps`` are the calls of step() that are a short run.
    """

    kind: ClassVar[type[Any]]
    fixed: ClassVar[frozenset[str]] = frozenset()
    constraints: ClassVar[tuple[tuple[int, int], ...]] = ()
    steps = 20

    @abstractmethod
    def integrator(self, scale: float = 1.0) -> Any:
        """The integrator, with all its time steps times a factor."""

    @abstractmethod
    def plain(self) -> Any:
        """One with all defaults."""

    @abstractmethod
    def everything(self) -> Any:
        """One of which nothing is at its default; it need not suit the System."""

    def chain(self, atoms: int = 5) -> Chain:
        return make_chain(n=atoms, constraints=[pair for pair in self.constraints if max(pair) < atoms])

    def begin(
        self, platform: openmm.Platform, scale: float = 1.0, chain: Chain | None = None, seed: int = 0
    ) -> openmm.Context:
        """A Context at the start, where constraints hold; of another seed than the integrator's, if it is given."""
        integrator = self.integrator(scale)
        if seed:
            integrator.setRandomNumberSeed(seed)
        integrator.setConstraintTolerance(TIGHT)
        context = (chain or self.chain()).context(integrator, platform)
        context.applyConstraints(TIGHT)
        context.applyVelocityConstraints(TIGHT)
        return context

    def state(self, context: openmm.Context) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Positions and velocities [n,3]."""
        state = context.getState(positions=True, velocities=True)
        return np.array(state.getPositions(asNumpy=True)._value), np.array(state.getVelocities(asNumpy=True)._value)

    def expected(
        self, x: NDArray[np.float64], v: NDArray[np.float64], reference: openmm.Platform
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The state after a short run without noise: here as the Reference platform has it, better by an oracle."""
        context = self.begin(reference)
        self.without_noise(context)
        context.getIntegrator().step(self.steps)
        return self.state(context)

    def without_noise(self, context: openmm.Context) -> None:  # noqa: B027
        """Let the thermostat, if there is one, act without noise."""

    def test_same_path_on_every_platform(self, platform: openmm.Platform, reference: openmm.Platform) -> None:
        context = self.begin(platform)
        self.without_noise(context)
        start = self.state(context)
        expected = self.expected(*start, reference)
        context.getIntegrator().step(self.steps)
        moved = np.abs(expected[0] - start[0]).max()
        assert moved > 0.01
        # Round-off, and what is left of constraints, grow over the few vibrations of the run.
        error = 1000 * max(accuracy(platform).state, TIGHT / 100 if self.constraints else 0.0)
        for found, aim in zip(self.state(context), expected, strict=True):
            assert np.abs(found - aim).max() < error * np.abs(aim).max()

    def test_everything_is_off_its_default(self) -> None:
        """Else the round trips would not see what they lose."""
        plain, full = settings(self.plain()), settings(self.everything())
        assert sorted(name for name in full if full[name] == plain.get(name)) == sorted(self.fixed)

    @pytest.mark.parametrize("way", ROUND_TRIPS)
    def test_copies_keep_everything(self, way: str) -> None:
        integrator = self.everything()
        again = self.kind.cast(ROUND_TRIPS[way](integrator))
        assert isinstance(again, self.kind)
        assert settings(again) == settings(integrator)

    @pytest.mark.parametrize("fresh", [True, False], ids=["fresh context", "same context"])
    def test_continues_from_a_checkpoint_to_the_last_bit(self, platform: openmm.Platform, fresh: bool) -> None:
        context = self.begin(platform)
        context.getIntegrator().step(self.steps)
        checkpoint = context.createCheckpoint()
        context.getIntegrator().step(self.steps)
        expected = self.state(context)
        again = self.begin(platform) if fresh else context
        again.loadCheckpoint(checkpoint)
        again.getIntegrator().step(self.steps)
        for found, aim in zip(self.state(again), expected, strict=True):
            np.testing.assert_array_equal(found, aim)
        assert again.getStepCount() == 2 * self.steps
        assert again.getTime() == context.getTime()

    def test_time(self, platform: openmm.Platform) -> None:
        context = self.begin(platform)
        integrator = context.getIntegrator()
        integrator.step(self.steps)
        assert context.getTime()._value == pytest.approx(self.steps * integrator.getStepSize()._value, rel=1e-12)
        assert context.getStepCount() == self.steps

    def test_constraints_hold(self, platform: openmm.Platform) -> None:
        context = self.begin(platform)
        system = context.getSystem()
        context.getIntegrator().step(self.steps)
        x, v = self.state(context)
        assert system.getNumConstraints() == len(self.constraints)
        for index in range(system.getNumConstraints()):
            i, j, length = system.getConstraintParameters(index)
            apart = x[i] - x[j]
            assert np.linalg.norm(apart) == pytest.approx(length._value, rel=max(1e-9, 10 * accuracy(platform).state))
            assert abs(apart @ (v[i] - v[j])) < 1e-6 * np.linalg.norm(apart) * np.linalg.norm(v[i])


class ConservingProperties(IntegratorProperties):
    """The same for dynamics at constant energy: symplectic, reversible, and of second order.

    ``half_way`` are the calls of step() before the velocities are turned, ``long_run`` is in ps.
    """

    half_way = 100
    long_run = 20.0

    def energy(self, context: openmm.Context) -> float:
        """What is conserved, kJ/mol."""
        state = context.getState(energy=True, groups=context.getIntegrator().getIntegrationForceGroups())
        return state.getPotentialEnergy()._value + state.getKineticEnergy()._value

    def energies(self, context: openmm.Context, time: float, every: int = 1) -> NDArray[np.float64]:
        integrator = context.getIntegrator()
        energies = []
        for _ in range(round(time / (every * integrator.getStepSize()._value))):
            integrator.step(every)
            energies.append(self.energy(context))
        return np.array(energies)

    def test_reversible(self, platform: openmm.Platform) -> None:
        context = self.begin(platform)
        start = self.state(context)[0]
        context.getIntegrator().step(self.half_way)
        x, v = self.state(context)
        assert np.abs(x - start).max() > 0.01
        context.setVelocities(-v)
        context.getIntegrator().step(self.half_way)
        # 1e-8 nm where the state is kept in double precision.
        assert np.abs(self.state(context)[0] - start).max() < max(1e-8, accuracy(platform).state)

    def test_symplectic(self, reference: openmm.Platform) -> None:
        """The Jacobian J of a step in canonical coordinates (x, p) leaves the symplectic form as it is.

        Coordinates are first projected onto the constraints, P, so that the step is one of the constrained system: with
        J of step after P, and J_P of P alone, J^T Omega J = J_P^T Omega J_P. Without constraints J_P is the identity.
        """
        chain = self.chain(3)
        context = self.begin(reference, chain=chain)
        n = chain.positions.size

        def step(z: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
            context.setPositions(z[:n].reshape(-1, 3))
            context.setVelocities(z[n:].reshape(-1, 3) / MASS)
            context.applyConstraints(TIGHT)
            context.applyVelocityConstraints(TIGHT)
            context.getIntegrator().step(steps)
            x, v = self.state(context)
            return np.concatenate([x.ravel(), MASS * v.ravel()])

        z = np.concatenate([chain.positions.ravel(), MASS * chain.velocities.ravel()])
        # Displacements suited to the scale of each coordinate (nm, amu nm/ps).
        sizes = np.concatenate([np.full(n, 2e-5), np.full(n, 2e-2)])
        omega = np.block([[np.zeros((n, n)), np.eye(n)], [-np.eye(n), np.zeros((n, n))]])
        before, after = (
            jacobian @ omega @ jacobian.T
            for jacobian in (derivative(lambda z, s=s: step(z, s), z, sizes) for s in (0, 1))
        )
        if not self.constraints:
            np.testing.assert_allclose(before, omega, atol=1e-9)
        # In units in which x and p have similar size.
        scale = np.concatenate([np.full(n, 1e-2), np.full(n, 1e1)])
        assert np.abs((after - before) * np.outer(scale, scale)).max() / 0.1 < 1e-6

    def test_energy_error_is_of_second_order(self, reference: openmm.Platform) -> None:
        """Halving the steps must quarter the fluctuation of the energy; how exactly depends on the path."""
        coarse, fine = (np.std(self.energies(self.begin(reference, scale), 0.4)) for scale in (0.4, 0.2))
        assert 3.4 < coarse / fine < 4.6

    def test_energy_does_not_drift(self, reference: openmm.Platform) -> None:
        """The thresholds for a molecule of 9 atoms, on 5."""
        context = self.begin(reference)
        every = max(1, round(0.01 / context.getIntegrator().getStepSize()._value))
        energies = self.energies(context, self.long_run, every)
        slope = np.polyfit(np.linspace(0, self.long_run, len(energies)), energies, 1)[0]
        assert abs(slope) < 0.05
        assert np.std(energies) < KT_300 / 4


class LangevinProperties(IntegratorProperties):
    """The same for dynamics in a bath; ``energy_less_heat`` is what should not drift.

    integrator() has a seed, 300 K and a friction of some 1/ps.
    """

    long_run = 20.0

    @abstractmethod
    def energy_less_heat(self, context: openmm.Context) -> tuple[float, float]:
        """Total energy less the energy taken from the bath, and that energy, kJ/mol."""

    def without_noise(self, context: openmm.Context) -> None:
        self.kind.cast(context.getIntegrator()).setTemperature(0)

    def test_seed_fixes_the_noise(self, platform: openmm.Platform) -> None:
        def final(seed: int) -> NDArray[np.float64]:
            integrator = self.integrator()
            integrator.setRandomNumberSeed(seed)
            context = self.chain().context(integrator, platform)
            integrator.step(self.steps)
            return self.state(context)[0]

        np.testing.assert_array_equal(final(3), final(3))
        assert np.abs(final(3) - final(5)).max() > 1e-4
        assert np.abs(final(0) - final(0)).max() > 1e-4

    def test_energy_less_heat_does_not_drift(self, reference: openmm.Platform) -> None:
        """The threshold of dynamics at constant energy, on average.

        In one run the difference walks at random: work of the noise on velocities that are ahead of positions. Its
        slope is then 0.06 kJ/mol/ps at most (standard deviation), that of the mean of 8 is 0.02.
        """
        slopes = []
        for seed in range(1, 9):
            context = self.begin(reference, seed=seed)
            integrator = context.getIntegrator()
            every = max(1, round(0.01 / integrator.getStepSize()._value))
            conserved, heat = [], 0.0
            for _ in range(round(self.long_run / (every * integrator.getStepSize()._value))):
                integrator.step(every)
                value, heat = self.energy_less_heat(context)
                conserved.append(value)
            assert abs(heat) > 0.1
            slopes.append(np.polyfit(np.linspace(0, self.long_run, len(conserved)), conserved, 1)[0])
        assert abs(np.mean(slopes)) < 0.05
