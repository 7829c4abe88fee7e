"""Steps that Metropolis accepts and rejects: what is measured, what is restored, what is counted, what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import openmm
import pytest
from numpy.typing import NDArray

from openmmkstep import KStepIntegrator, KStepStatistics
from tests.plugin.integrator.test_guard import chain_with_faulty_qm, chain_with_faulty_surrogate
from tests.support.qmmm.chain import MASS, Chain, make_chain

Array = NDArray[np.float64]
STEP = 0.0005
K = 20
KT = 8.31446261815324e-3 * 300
SPOILED = {1: (120_000.0, 0.0), 2: (200_000.0, -4e5)}
"""Levels of which about half of all steps are rejected at K inner steps per call."""
TIGHT = 1e-12


def metropolis(
    mode: str, k: int = K, friction: float = 5.0, interval: int = 1, reduced: bool = True, **levels: Any
) -> KStepIntegrator:
    integrator = KStepIntegrator(300, friction, STEP, k, **levels)
    integrator.setRandomNumberSeed(5)
    integrator.setConstraintTolerance(TIGHT)
    integrator.setMetropolis(mode)
    integrator.setThermostatInterval(interval)
    integrator.setReducedFlips(reduced)
    return integrator


def begin(
    integrator: KStepIntegrator,
    platform: openmm.Platform,
    levels: Mapping[int, tuple[float, float]] = SPOILED,
    constraints: tuple[tuple[int, int], ...] = (),
) -> openmm.Context:
    context = make_chain(levels, constraints=constraints).context(integrator, platform)
    context.applyConstraints(TIGHT)
    context.applyVelocityConstraints(TIGHT)
    return context


def state_of(context: openmm.Context) -> tuple[Array, Array]:
    state = context.getState(positions=True, velocities=True)
    return np.array(state.getPositions(asNumpy=True)._value), np.array(state.getVelocities(asNumpy=True)._value)


def counts(statistics: KStepStatistics) -> dict[str, object]:
    return {name: value for name, value in vars(statistics).items() if not name.endswith("Time")}


@pytest.mark.parametrize(("k", "friction", "interval"), [(K, 5.0, 1), (K, 5.0, 3), (K, 0.0, 1), (1, 5.0, 1)])
def test_monitor_changes_nothing(platform: openmm.Platform, k: int, friction: float, interval: int) -> None:
    found = []
    for mode in ("off", "monitor"):
        integrator = metropolis(mode, k, friction, interval)
        context = begin(integrator, platform, constraints=((0, 1), (3, 4)))
        integrator.step(100)
        found.append((*state_of(context), integrator.getStatistics()))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])
    off, monitor = (counts(statistics) for _, _, statistics in found)
    assert off.pop("metropolisError") is None
    assert off.pop("meanAcceptanceProbability") is None
    assert monitor.pop("metropolisError") is not None
    probability = monitor.pop("meanAcceptanceProbability")
    assert isinstance(probability, float)
    assert probability == 1 if k == 1 else 0.3 < probability < 0.99
    assert off == monitor
    assert monitor["acceptance"] is None
    assert monitor["rejectedSteps"] == monitor["acceptedSteps"] == 0


@pytest.mark.parametrize("mode", ["correction", "full"])
@pytest.mark.parametrize("friction", [0.0, 5.0])
def test_rejected_steps_change_nothing_but_the_direction(platform: openmm.Platform, mode: str, friction: float) -> None:
    integrator = metropolis(mode, friction=friction, reduced=False)
    context = begin(integrator, platform)
    start = None
    before, statistics = None, None
    for _ in range(200):
        x, v = state_of(context)
        before, kept = statistics, (x, v)
        integrator.step(1)
        statistics = integrator.getStatistics()
        start = start or statistics
        if before is None or statistics.rejectedSteps == before.rejectedSteps:
            continue
        x, v = state_of(context)
        np.testing.assert_array_equal(x, kept[0])
        np.testing.assert_array_equal(v, -kept[1])
        assert statistics.energyError == 0
        assert statistics.totalEnergy == pytest.approx(before.totalEnergy, rel=1e-6)
        for name in ("potentialEnergy", "heat", "cumulativeEnergyError", "regionKineticEnergy"):
            assert getattr(statistics, name) == getattr(before, name)
        assert statistics.metropolisError is not None
        assert statistics.metropolisError > 0
    assert statistics is not None
    assert start is not None
    assert statistics.acceptedSteps + statistics.rejectedSteps == 200
    assert 40 < statistics.rejectedSteps == statistics.flips < 160
    assert statistics.acceptance == statistics.acceptedSteps / 200
    assert statistics.qmCalls == statistics.outerSteps + 1 == 201
    assert statistics.measuredCorrections == 200
    assert context.getTime()._value == pytest.approx(200 * K * STEP)
    assert context.getStepCount() == 200
    assert statistics.totalEnergy - statistics.heat - start.totalEnergy + start.heat == pytest.approx(
        statistics.cumulativeEnergyError - start.cumulativeEnergyError, abs=1e-6
    )


class Oracle:
    """What the correction adds to the energy, from the states at both ends of a step."""

    def __init__(self, chain: Chain, constraints: tuple[tuple[int, int], ...], k: int) -> None:
        self.constraints, self.duration = constraints, k * STEP
        self.context = openmm.Context(
            chain.system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference")
        )

    def project(self, x: Array, v: Array) -> Array:
        """Velocities without what changes the length of a bond; all masses are equal."""
        if not self.constraints:
            return v
        rows = np.zeros((len(self.constraints), *x.shape))
        for row, (i, j) in zip(rows, self.constraints, strict=True):
            row[i], row[j] = x[i] - x[j], x[j] - x[i]
        flat = rows.reshape(len(rows), -1)
        return v - (np.linalg.pinv(flat) @ (flat @ v.ravel())).reshape(x.shape)

    def end(self, x: Array, v: Array, sign: float) -> tuple[float, float]:
        """Change of kinetic energy in the half kick after (+1) or before (-1) a state, and U_Q - U_S there."""
        self.context.setPositions(x)
        surrogate, qm = (self.context.getState(energy=True, forces=True, groups={group}) for group in (1, 2))
        force = qm.getForces(asNumpy=True)._value - surrogate.getForces(asNumpy=True)._value
        other = v + sign * 0.5 * self.duration * self.project(x, force) / MASS
        kinetic = sign * 0.5 * MASS * ((other**2).sum() - (v**2).sum())
        return kinetic, qm.getPotentialEnergy()._value - surrogate.getPotentialEnergy()._value


@pytest.mark.parametrize("friction", [0.0, 5.0])
@pytest.mark.parametrize("constraints", [(), ((0, 1), (3, 4))], ids=["free", "constraints"])
def test_error_of_the_correction(
    reference: openmm.Platform, friction: float, constraints: tuple[tuple[int, int], ...]
) -> None:
    """By the definition, from forces, energies and velocities at both ends."""
    integrator = metropolis("monitor", friction=friction)
    context = begin(integrator, reference, constraints=constraints)
    oracle = Oracle(make_chain(SPOILED, constraints=constraints), constraints, K)
    errors = []
    for _ in range(30):
        kinetic_before, before = oracle.end(*state_of(context), 1.0)
        integrator.step(1)
        kinetic_after, after = oracle.end(*state_of(context), -1.0)
        errors.append(integrator.getStatistics().metropolisError)
        assert errors[-1] == pytest.approx(kinetic_before + kinetic_after + after - before, abs=1e-8)
    assert np.std(errors) > 0.1


def test_the_error_of_all_is_the_energy_error(platform: openmm.Platform) -> None:
    integrator = metropolis("full", k=4)
    _context = begin(integrator, platform, {1: (180_000.0, 0.0), 2: (200_000.0, -4e5)})
    accepted = 0
    for _ in range(50):
        integrator.step(1)
        statistics = integrator.getStatistics()
        if statistics.acceptedSteps > accepted:
            assert statistics.metropolisError == pytest.approx(statistics.energyError, abs=1e-9)
        accepted = statistics.acceptedSteps
    assert accepted > 30


@pytest.mark.parametrize("mode", ["correction", "full"])
@pytest.mark.parametrize("slow", [1, 2, 3])
def test_the_reverse_of_a_step_has_the_opposite_error(reference: openmm.Platform, mode: str, slow: int) -> None:
    """On which balance rests: from the end with velocities reversed the step leads back."""
    integrator = metropolis(mode, 6, 0.0, commonGroups={0: slow})
    context = begin(integrator, reference, constraints=((0, 1),))
    tested = 0
    for _ in range(40):
        start = state_of(context)
        accepted = integrator.getStatistics().acceptedSteps
        integrator.step(1)
        forth = integrator.getStatistics()
        if forth.acceptedSteps == accepted or forth.metropolisError > 0:
            continue
        # It went down, and so may not be accepted on the way back; try until it is.
        end = state_of(context)
        for _ in range(20):
            context.setPositions(end[0])
            context.setVelocities(-end[1])
            integrator.step(1)
            back = integrator.getStatistics()
            assert back.metropolisError == pytest.approx(-forth.metropolisError, abs=1e-7)
            if back.acceptedSteps > forth.acceptedSteps:
                np.testing.assert_allclose(state_of(context)[0], start[0], atol=1e-9)
                tested += 1
                break
        context.setPositions(end[0])
        context.setVelocities(end[1])
    assert tested > 3


@pytest.mark.parametrize("fresh", [True, False], ids=["fresh context", "same context"])
@pytest.mark.parametrize(("mode", "interval"), [("full", 1), ("correction", 4), ("full", 5), ("monitor", 4)])
def test_checkpoints_continue_to_the_last_bit(platform: openmm.Platform, mode: str, interval: int, fresh: bool) -> None:
    """Decisions and flips included; rejections come right before and after."""
    integrator = metropolis(mode, interval=interval)
    context = begin(integrator, platform)
    checkpoints, states = [], []
    for _ in range(40):
        integrator.step(1)
        checkpoints.append(context.createCheckpoint())
        states.append((*state_of(context), counts(integrator.getStatistics())))
    assert mode == "monitor" or 8 < integrator.getStatistics().rejectedSteps < 35
    for first in range(0, 30, 3):
        again = begin(metropolis(mode, interval=interval), platform) if fresh else context
        again.loadCheckpoint(checkpoints[first])
        for x, v, statistics in states[first + 1 : first + 9]:
            again.getIntegrator().step(1)
            here = state_of(again)
            np.testing.assert_array_equal(here[0], x)
            np.testing.assert_array_equal(here[1], v)
            assert counts(KStepIntegrator.cast(again.getIntegrator()).getStatistics()) == statistics


# Flips


def rejections_and_flips(integrator: KStepIntegrator, steps: int) -> tuple[int, int]:
    before = integrator.getStatistics()
    integrator.step(steps)
    after = integrator.getStatistics()
    return after.rejectedSteps - before.rejectedSteps, after.flips - before.flips


@pytest.mark.parametrize("mode", ["correction", "full"])
def test_fewer_flips_where_the_way_back_is_known(reference: openmm.Platform, mode: str) -> None:
    integrator = metropolis(mode, interval=5)
    context = begin(integrator, reference)
    rejections, flips = rejections_and_flips(integrator, 600)
    assert rejections > 100
    assert flips < 0.9 * rejections
    integrator.setReducedFlips(False)
    rejections, flips = rejections_and_flips(integrator, 300)
    assert rejections == flips > 50
    # With noise in every step the way back is not known.
    integrator.setReducedFlips(True)
    integrator.setThermostatInterval(1)
    rejections, flips = rejections_and_flips(integrator, 300)
    assert rejections == flips > 50
    assert context.getStepCount() == 1200


@pytest.mark.parametrize("change", ["velocities", "positions", "parameter", "step", "k", "bound", "temperature"])
def test_flips_after_changes_between_steps(reference: openmm.Platform, change: str) -> None:
    """Whatever is changed, the way back is another, so velocities turn round."""
    chain = make_chain(SPOILED)
    spring = openmm.CustomExternalForce("strength*x^2")
    spring.addGlobalParameter("strength", 0.0)
    spring.addParticle(0, [])
    chain.system.addForce(spring)
    integrator = metropolis("full", friction=0.0)
    context = chain.context(integrator, reference)
    random = np.random.default_rng(2)

    def disturb(number: int) -> None:
        x, v = state_of(context)
        if change == "velocities":
            context.setVelocities(random.normal(scale=np.sqrt(KT / MASS), size=v.shape))
        elif change == "positions":
            context.setPositions(x + random.normal(scale=1e-5, size=x.shape))
        elif change == "parameter":
            context.setParameter("strength", 1e-3 * number)
        elif change == "step":
            integrator.setInnerStepSize(STEP * (1 + 1e-6 * number))
        elif change == "k":
            integrator.setK(K + number % 2)
        elif change == "bound":
            integrator.setMaxEnergyError(1000 + number)
        elif change == "temperature":
            integrator.setTemperature(300 + 1e-6 * number)

    rejections, flips = rejections_and_flips(integrator, 200)
    assert 0 < flips < 0.9 * rejections
    rejections = flips = 0
    for number in range(200):
        disturb(number)
        more = rejections_and_flips(integrator, 1)
        rejections, flips = rejections + more[0], flips + more[1]
    assert rejections == flips > 20


def test_velocities_that_another_integrator_changed(reference: openmm.Platform) -> None:
    """Nobody announces that."""
    integrator = metropolis("full", friction=0.0)
    random = openmm.CustomIntegrator(0.001)
    random.addComputePerDof("v", f"sqrt({KT}/m)*gaussian")
    random.setRandomNumberSeed(2)
    compound = openmm.CompoundIntegrator()
    compound.addIntegrator(integrator)
    compound.addIntegrator(random)
    context = make_chain(SPOILED).context(compound, reference)
    kstep = KStepIntegrator.cast(compound.getIntegrator(0))
    compound.step(100)
    rejections, flips = kstep.getStatistics().rejectedSteps, kstep.getStatistics().flips
    assert flips < rejections
    for _ in range(100):
        compound.setCurrentIntegrator(1)
        compound.step(1)
        compound.setCurrentIntegrator(0)
        compound.step(1)
    statistics = kstep.getStatistics()
    assert statistics.rejectedSteps - rejections == statistics.flips - flips > 20
    assert context.getStepCount() > 0


def test_a_remover_of_the_motion_of_the_centre_is_no_change(reference: openmm.Platform) -> None:
    chain = make_chain(SPOILED)
    chain.velocities -= chain.velocities.mean(axis=0)
    chain.system.addForce(openmm.CMMotionRemover())
    integrator = metropolis("full", friction=0.0)
    _context = chain.context(integrator, reference)
    rejections, flips = rejections_and_flips(integrator, 300)
    assert rejections > 50
    assert flips < 0.9 * rejections


# The bath


def test_the_bath_acts_in_every_nth_step(platform: openmm.Platform) -> None:
    """Without Metropolis too: heat flows in those steps only, and temperatures are measured in the others."""
    integrator = metropolis("off", k=4, friction=20.0, interval=3)
    _context = begin(integrator, platform)
    heat = 0.0
    for step in range(30):
        integrator.step(1)
        statistics = integrator.getStatistics()
        assert (statistics.heat != heat) == (step % 3 == 0)
        assert statistics.regionKineticEnergy > 0
        heat = statistics.heat


def test_the_bath_acts_for_the_time_of_all_steps(reference: openmm.Platform) -> None:
    """At 0 K a free particle is slowed down as much as by the bath in every step."""
    speeds = []
    for interval in (1, 4):
        system = openmm.System()
        system.addParticle(1.0)
        for group in (1, 2):
            force = openmm.CustomExternalForce("0*x")
            force.addParticle(0, [])
            force.setForceGroup(group)
            system.addForce(force)
        integrator = KStepIntegrator(0, 10.0, 0.001, 5)
        integrator.setThermostatInterval(interval)
        context = openmm.Context(system, integrator, reference)
        context.setPositions([[0, 0, 0]])
        context.setVelocities([[1, 0, 0]])
        integrator.step(8)
        speeds.append(state_of(context)[1][0, 0])
    assert speeds[0] == pytest.approx(np.exp(-10.0 * 8 * 0.005), rel=1e-12)
    assert speeds[1] == pytest.approx(speeds[0], rel=1e-12)


# The guard


@pytest.mark.parametrize("mode", ["correction", "full"])
@pytest.mark.parametrize("fault", ["raise", "assert", "nan", "huge"])
@pytest.mark.parametrize("at_call", [6, 9, 11])
def test_a_failing_surrogate_is_a_rejection(reference: openmm.Platform, mode: str, fault: str, at_call: int) -> None:
    """No plain QM steps: they would break detailed balance."""
    chain, _ = chain_with_faulty_surrogate(fault, at_call)
    integrator = metropolis(mode, k=4)
    context = chain.context(integrator, reference)
    failed = 0
    for _ in range(10):
        before = state_of(context)
        integrator.step(1)
        statistics = integrator.getStatistics()
        if statistics.guardRejections > failed:
            np.testing.assert_array_equal(state_of(context)[0], before[0])
            np.testing.assert_array_equal(state_of(context)[1], -before[1])
            assert statistics.metropolisError is None
            assert statistics.consecutiveFallbacks == 1
            failed += 1
    assert statistics.guardRejections == failed == 1
    assert statistics.fallbacks == statistics.consecutiveFallbacks == 0
    assert statistics.outerSteps == statistics.acceptedSteps + statistics.rejectedSteps == 10
    if fault == "raise":
        assert "out of its depth" in statistics.lastFallbackReason


@pytest.mark.parametrize("k", [1, 4])
def test_a_qm_level_that_fails_once_is_a_rejection(reference: openmm.Platform, k: int) -> None:
    chain = chain_with_faulty_qm("raise", 3, surrogate=k > 1)
    integrator = metropolis("full", k=k)
    _context = chain.context(integrator, reference)
    integrator.step(10)
    statistics = integrator.getStatistics()
    assert statistics.guardRejections == 1
    assert "out of its depth" in statistics.lastFallbackReason
    assert statistics.qmCalls == 11


@pytest.mark.parametrize("mode", ["correction", "full"])
def test_too_many_refused_steps_are_an_error(reference: openmm.Platform, mode: str) -> None:
    integrator = metropolis(mode, k=4)
    integrator.setMaxEnergyError(0)
    integrator.setMaxConsecutiveFallbacks(3)
    context = begin(integrator, reference)
    start = state_of(context)[0]
    with pytest.raises(openmm.OpenMMException, match=r"3 outer steps in a row were refused .*an energy error of"):
        integrator.step(10)
    assert context.getStepCount() == integrator.getStatistics().guardRejections == 3
    np.testing.assert_array_equal(state_of(context)[0], start)


def test_monitor_counts_steps_that_the_guard_redoes_as_refused(reference: openmm.Platform) -> None:
    integrator = metropolis("monitor", k=4)
    integrator.setMaxEnergyError(0)
    _context = begin(integrator, reference)
    integrator.step(5)
    statistics = integrator.getStatistics()
    assert statistics.fallbacks == 5
    assert statistics.guardRejections == 0
    assert statistics.meanAcceptanceProbability == 0
    assert statistics.metropolisError is None


def test_plain_steps_lead_from_a_start_outside_into_the_ensemble(reference: openmm.Platform) -> None:
    """A bond stretched by half has a correction beyond the bound."""
    chain = make_chain({1: (180_000.0, 0.0), 2: (200_000.0, 0.0)})
    chain.positions[-1] += 0.5 * (chain.positions[-1] - chain.positions[-2])
    integrator = metropolis("correction", k=4)
    integrator.setMaxCorrection(1000)
    integrator.setMaxConsecutiveFallbacks(1000)
    _context = chain.context(integrator, reference)
    integrator.step(200)
    statistics = integrator.getStatistics()
    assert statistics.fallbacks > 0
    assert statistics.acceptedSteps > 0
    assert statistics.fallbacks + statistics.acceptedSteps + statistics.rejectedSteps == 200
    assert statistics.maxCorrection is not None
    assert statistics.maxCorrection <= 1000


# Settings


def test_the_mode_may_change_at_any_time(reference: openmm.Platform) -> None:
    """The surrogate's energy is asked for then, and no QM call is added."""
    integrator = metropolis("off")
    _context = begin(integrator, reference)
    for count, mode in enumerate(["off", "correction", "off", "full", "monitor", "correction"], 1):
        integrator.setMetropolis(mode)
        assert integrator.getMetropolis() == mode
        integrator.step(5)
        statistics = integrator.getStatistics()
        assert (statistics.metropolisError is None) == (mode == "off")
        assert statistics.qmCalls == 5 * count + 1
    assert statistics.acceptedSteps + statistics.rejectedSteps == 15


@pytest.mark.parametrize("k", [1, 4])
def test_nothing_to_correct(reference: openmm.Platform, k: int) -> None:
    """Without a surrogate, or with one that is exact, all is accepted."""
    levels = {2: (200_000.0, -4e5)} if k == 1 else {1: (200_000.0, -4e5), 2: (200_000.0, -4e5)}
    integrator = metropolis("correction", k)
    _context = begin(integrator, reference, levels)
    integrator.step(50)
    statistics = integrator.getStatistics()
    assert statistics.acceptedSteps == 50
    assert statistics.meanAcceptanceProbability == pytest.approx(1, abs=1e-9)
    assert statistics.metropolisError == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("mode", ["monitor", "correction", "full"])
def test_a_temperature_is_needed(reference: openmm.Platform, mode: str) -> None:
    integrator = KStepIntegrator(STEP, 4)
    integrator.setMetropolis(mode)
    context = begin(integrator, reference)
    with pytest.raises(openmm.OpenMMException, match=r"temperature is 0; set it with setTemperature\(\)"):
        integrator.step(1)
    assert context.getStepCount() == 0
    integrator.setTemperature(300)
    integrator.step(1)


def test_impossible_settings() -> None:
    integrator = KStepIntegrator(STEP, 4)
    with pytest.raises(openmm.OpenMMException, match="off, monitor, correction or full, not 'Full'"):
        integrator.setMetropolis("Full")
    for interval in (0, -1):
        with pytest.raises(openmm.OpenMMException, match="must be at least 1"):
            integrator.setThermostatInterval(interval)
    with pytest.raises(TypeError, match="thermostat's interval must be a whole number"):
        integrator.setThermostatInterval(1.5)  # type: ignore[arg-type]
    assert (integrator.getMetropolis(), integrator.getThermostatInterval(), integrator.getReducedFlips()) == (
        "off",
        1,
        True,
    )


def test_defaults_leave_no_trace_in_files() -> None:
    """So that files of other versions and of this one are the same."""
    integrator = KStepIntegrator(STEP, 4)
    plain = openmm.XmlSerializer.serialize(integrator)
    for word in ("metropolis", "thermostatInterval", "reducedFlips"):
        assert word not in plain
    integrator.setMetropolis("correction")
    assert 'metropolis="correction"' in openmm.XmlSerializer.serialize(integrator)


def test_a_seed_fixes_the_decisions(reference: openmm.Platform) -> None:
    ends = []
    for seed in (5, 5, 6):
        integrator = metropolis("full", friction=0.0)
        integrator.setRandomNumberSeed(seed)
        context = begin(integrator, reference)
        integrator.step(100)
        ends.append(state_of(context)[0])
    np.testing.assert_array_equal(ends[0], ends[1])
    assert np.abs(ends[0] - ends[2]).max() > 1e-3
