"""What every integrator must do, of KStepIntegrator: with one step per QM call and several, constraints, a bath."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit

from openmmkstep import KStepIntegrator
from tests.suites.integrator import TIGHT, ConservingProperties, IntegratorProperties, LangevinProperties
from tests.support.qmmm.chain import MASS, Chain, forces_of, make_chain
from tests.support.qmmm.custom_scheme import custom_integrator
from tests.support.qmmm.respa import Scheme

LEVELS = {1: (180_000.0, 0.0), 2: (200_000.0, -4e5), 3: (150_000.0, 0.0)}


class KStepProperties(IntegratorProperties):
    """k inner steps of 0.5 fs; levels and periods by force group."""

    kind = KStepIntegrator
    friction = 0.0
    k = 4
    commons: ClassVar[Mapping[int, int]] = {0: 1}
    surrogates: ClassVar[Mapping[int, int]] = {1: 1}

    def scheme(self, scale: float = 1.0) -> Scheme:
        return Scheme(0.0005 * scale, self.k, self.commons, self.surrogates, friction=self.friction)

    def integrator(self, scale: float = 1.0) -> KStepIntegrator:
        scheme = self.scheme(scale)
        bath = (300.0, self.friction) if self.friction else ()
        integrator = KStepIntegrator(
            *bath, scheme.inner_step, self.k, commonGroups=self.commons, surrogateLevels=self.surrogates
        )
        integrator.setRandomNumberSeed(5)
        return integrator

    def chain(self, atoms: int = 5) -> Chain:
        constraints = [pair for pair in self.constraints if max(pair) < atoms]
        groups = (2, *self.surrogates, *(group for group in self.commons if group in LEVELS))
        return make_chain({group: LEVELS[group] for group in groups}, atoms, constraints=constraints)

    def expected(
        self, x: NDArray[np.float64], v: NDArray[np.float64], reference: openmm.Platform
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """By NumPy, or by OpenMM's own constraints."""
        if self.constraints:
            oracle = custom_integrator(self.scheme())
            oracle.setConstraintTolerance(TIGHT)
            context = Chain(self.chain().system, x, v).context(oracle, reference)
            oracle.step(self.steps)
            return self.state(context)
        motion = self.scheme().propagate(forces_of(self.chain()), np.array(MASS), x, v, self.steps)
        return motion.x, motion.v

    def plain(self) -> KStepIntegrator:
        return KStepIntegrator(0.001, 1)

    def everything(self) -> KStepIntegrator:
        integrator = KStepIntegrator(
            310 * unit.kelvin,
            2 / unit.picosecond,
            0.25 * unit.femtosecond,
            8,
            commonGroups={0: 1, 4: 4},
            surrogateLevels={3: 1, 1: 4},
            qmGroup=5,
            monitoredParticles=range(3),
        )
        integrator.setRandomNumberSeed(11)
        integrator.setMaxCorrection(1234 * unit.kilojoule_per_mole / unit.nanometer)
        integrator.setMaxEnergyError(12 * unit.kilojoule_per_mole)
        integrator.setMaxConsecutiveFallbacks(4)
        integrator.setMetropolis("full")
        integrator.setThermostatInterval(3)
        integrator.setReducedFlips(False)
        integrator.setConstraintTolerance(1e-7)
        return integrator


class Conserving(ConservingProperties, KStepProperties):
    pass


class TestVerlet(Conserving):
    k = 1
    surrogates: ClassVar[Mapping[int, int]] = {}
    steps = 80
    half_way = 400


class TestFourSteps(Conserving):
    pass


class TestThreeLevels(Conserving):
    k = 8
    surrogates: ClassVar[Mapping[int, int]] = {3: 1, 1: 4}


class TestSlowCommonForces(Conserving):
    commons: ClassVar[Mapping[int, int]] = {0: 4}


class TestVerletWithConstraints(TestVerlet):
    constraints = ((0, 1), (3, 4))


class TestFourStepsWithConstraints(Conserving):
    constraints = ((0, 1), (3, 4))


class Langevin(LangevinProperties, KStepProperties):
    friction = 5.0

    def energy_less_heat(self, context: openmm.Context) -> tuple[float, float]:
        statistics = KStepIntegrator.cast(context.getIntegrator()).getStatistics()
        return statistics.totalEnergy - statistics.heat, statistics.heat


class TestLangevin(Langevin):
    k = 1
    surrogates: ClassVar[Mapping[int, int]] = {}
    steps = 80


class TestLangevinWithFourSteps(Langevin):
    pass


class TestLangevinWithSlowForces(Langevin):
    """The noise acts twice, beside the middle of the slow forces' period."""

    commons: ClassVar[Mapping[int, int]] = {0: 4}


class TestLangevinWithOddPeriods(Langevin):
    """The noise acts once, in the middle."""

    k = 6
    commons: ClassVar[Mapping[int, int]] = {0: 3}


class TestLangevinWithTwoSlowPeriods(Langevin):
    """The noise acts where one of them has just acted, and the other is in the middle."""

    k = 8
    commons: ClassVar[Mapping[int, int]] = {3: 2, 0: 8}


class TestLangevinWithConstraintsAndTwoSlowPeriods(TestLangevinWithTwoSlowPeriods):
    constraints = ((0, 1), (3, 4))


class TestLangevinWithConstraints(Langevin):
    constraints = ((0, 1), (3, 4))


class TestLangevinWithConstraintsAndSlowForces(TestLangevinWithConstraints):
    commons: ClassVar[Mapping[int, int]] = {0: 4}
