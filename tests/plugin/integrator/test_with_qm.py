"""The integrator over real QM levels: GFN2-xTB with GFN1-xTB as its surrogate, and the analytic engine."""

from __future__ import annotations

import numpy as np
import openmm
import pytest

from openmmkstep import KStepIntegrator, QMMMForce
from openmmkstep.openmmapi.embedding_charges import EmbeddingCharges

STEP = 0.0005
NUMBERS = [8, 1, 1, 8, 1, 1]
# A water dimer, nm.
DIMER = np.array(
    [
        [0.0, 0.0, 0.0],
        [0.0757, 0.0586, 0.0],
        [-0.0757, 0.0586, 0.0],
        [0.01, -0.29, 0.02],
        [0.012, -0.194, 0.012],
        [-0.06, -0.32, -0.04],
    ]
)
MASSES = np.array([15.999, 1.008, 1.008, 15.999, 1.008, 1.008])
BONDS = [(0, 1), (0, 2), (3, 4), (3, 5)]


def velocities(seed: int = 3) -> np.ndarray:
    v = np.random.default_rng(seed).normal(size=(6, 3)) * np.sqrt(8.314e-3 * 300 / MASSES)[:, None]
    return v - (MASSES[:, None] * v).sum(0) / MASSES.sum()


def xtb_system(accuracy: float = 0.01) -> openmm.System:
    """The dimer with GFN2-xTB in group 2 and GFN1-xTB in group 1."""
    system = openmm.System()
    for mass in MASSES:
        system.addParticle(mass)
    for group, engine in ((1, "gfn1-xtb"), (2, "gfn2-xtb")):
        force = QMMMForce(range(6), NUMBERS, engine, settings={"accuracy": accuracy})
        force.setForceGroup(group)
        system.addForce(force)
    return system


def analytic_system() -> openmm.System:
    """Morse water dimer with fluctuating charges, and a harmonic surrogate, in the field of two charges."""
    system = openmm.System()
    for mass in [*MASSES, 20.0, 20.0]:
        system.addParticle(mass)
    charges = [-0.4, 0.2, 0.2] * 2
    flux = [{"atoms": [i, j], "slope": 2.0, "length": 0.096} for i, j in BONDS]
    angles = [{"atoms": [i, j], "k": 40_000.0, "length": 0.152} for i, j in ((1, 2), (4, 5))]
    morse = [{"atoms": [i, j], "depth": 450.0, "width": 22.0, "length": 0.096} for i, j in BONDS]
    springs = [{"atoms": [i, j], "k": 400_000.0, "length": 0.0965} for i, j in BONDS]
    # Point charges attract without limit: springs keep the molecules apart.
    hold = [
        {"atoms": [i, j], "k": 3000.0, "length": r}
        for i, j, r in ((0, 3, 0.29), (0, 4, 0.2), (1, 4, 0.26), (2, 4, 0.26))
    ]
    field = EmbeddingCharges([6, 7], [0.3, -0.3], [0, 1])
    for group, settings in (
        (1, {"harmonic": springs + angles + hold, "charges": charges}),
        (2, {"morse": morse, "harmonic": angles + hold, "charges": charges, "flux": flux}),
    ):
        force = QMMMForce(range(6), NUMBERS, "test-analytic", settings=settings, embeddingCharges=field)
        force.setForceGroup(group)
        system.addForce(force)
    walls = openmm.CustomExternalForce("20000*((x-x0)^2+(y-y0)^2+(z-z0)^2)")
    for name in ("x0", "y0", "z0"):
        walls.addPerParticleParameter(name)
    walls.addParticle(6, [0.4, 0.1, 0.0])
    walls.addParticle(7, [-0.45, -0.2, 0.1])
    system.addForce(walls)
    return system


ANALYTIC_POSITIONS = np.vstack([DIMER, [[0.4, 0.1, 0.0], [-0.45, -0.2, 0.1]]])


def start(system: openmm.System, integrator: openmm.Integrator, platform: openmm.Platform) -> openmm.Context:
    context = openmm.Context(system, integrator, platform)
    extra = system.getNumParticles() - 6
    context.setPositions(ANALYTIC_POSITIONS[: system.getNumParticles()])
    context.setVelocities(np.vstack([velocities(), np.zeros((extra, 3))]))
    return context


def positions_of(context: openmm.Context) -> np.ndarray:
    return context.getState(positions=True).getPositions(asNumpy=True)._value


def qm_verlet(system: openmm.System, steps: int, platform: openmm.Platform) -> np.ndarray:
    """Velocity Verlet by OpenMM's own CustomIntegrator on the common and QM groups only."""
    integrator = openmm.CustomIntegrator(STEP)
    for group in (0, 2):
        integrator.addComputePerDof("v", f"v+0.5*dt*f{group}/m")
    integrator.addComputePerDof("x", "x+dt*v")
    for group in (0, 2):
        integrator.addComputePerDof("v", f"v+0.5*dt*f{group}/m")
    context = start(system, integrator, platform)
    integrator.step(steps)
    return positions_of(context)


@pytest.mark.parametrize("build", [xtb_system, analytic_system], ids=["xtb", "analytic"])
@pytest.mark.parametrize("mode", ["k = 1", "forced fallback"])
def test_equals_qm_verlet(reference, build, mode):
    integrator = KStepIntegrator(STEP, 1 if mode == "k = 1" else 5)
    if mode == "forced fallback":
        integrator.setMaxCorrection(0)
        integrator.setMaxConsecutiveFallbacks(1000)
    context = start(build(), integrator, reference)
    integrator.step(100 if mode == "k = 1" else 20)
    # A self-consistent density repeated from another start differs at its convergence threshold.
    tolerance = 1e-9 if build is xtb_system else 1e-12
    np.testing.assert_allclose(positions_of(context), qm_verlet(build(), 100, reference), atol=tolerance)


@pytest.mark.parametrize(("build", "k"), [(lambda: xtb_system(1e-4), 2), (analytic_system, 8)], ids=["xtb", "analytic"])
def test_reversible(reference, build, k):
    """100 outer steps forth and back; with xTB at its tightest convergence, which limits how far chaos lets one go."""
    integrator = KStepIntegrator(STEP, k)
    context = start(build(), integrator, reference)
    before = positions_of(context)
    integrator.step(100)
    assert abs(positions_of(context) - before).max() > 0.01
    context.setVelocities(-context.getState(velocities=True).getVelocities(asNumpy=True)._value)
    integrator.step(100)
    assert integrator.getStatistics().fallbacks == 0
    np.testing.assert_allclose(positions_of(context), before, atol=1e-8)


def test_energy_error_of_the_analytic_engine_is_second_order(reference):
    def fluctuation(step: float) -> float:
        integrator = KStepIntegrator(step, 4)
        context = start(analytic_system(), integrator, reference)
        energies = []
        for _ in range(round(0.3 / (4 * step))):
            integrator.step(1)
            energies.append(integrator.getStatistics().totalEnergy)
        assert context.getStepCount() == len(energies)
        assert integrator.getStatistics().fallbacks == 0
        return float(np.std(energies))

    coarse, middle, fine = (fluctuation(step) for step in (2e-4, 1e-4, 5e-5))
    assert 3.5 < coarse / middle < 4.5
    assert 3.8 < middle / fine < 4.2


def test_one_qm_call_per_outer_step_and_none_for_reports(platform):
    system = xtb_system()
    integrator = KStepIntegrator(STEP, 4)
    context = start(system, integrator, platform)
    qm = QMMMForce.cast(next(f for f in system.getForces() if f.getForceGroup() == 2))
    for _ in range(10):
        integrator.step(1)
        context.getState(energy=True, forces=True, groups=integrator.getIntegrationForceGroups())
    assert qm.getNumCalls(context) == 11 == integrator.getStatistics().qmCalls


def total_energies(context: openmm.Context, integrator: KStepIntegrator, time: float) -> np.ndarray:
    """Every 10 fs or so of a run of so many ps."""
    every = max(1, round(0.01 / (integrator.getK() * STEP)))
    energies = []
    for _ in range(round(time / (every * integrator.getK() * STEP))):
        integrator.step(every)
        energies.append(integrator.getStatistics().totalEnergy)
    assert integrator.getStatistics().fallbacks == 0
    return np.array(energies)


def test_energy_fluctuates_little_with_a_physical_surrogate(platform):
    """2 fs between GFN2 calls, GFN1 in between; at most kT/4."""
    integrator = KStepIntegrator(STEP, 4)
    context = start(xtb_system(), integrator, platform)
    assert np.std(total_energies(context, integrator, 0.4)) < 8.314e-3 * 300 / 4


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("k", [4, 8])
def test_energy_does_not_drift_with_a_physical_surrogate(reference, k, record_property):
    """20 ps of six atoms, against what is allowed to nine."""
    integrator = KStepIntegrator(STEP, k)
    energies = total_energies(start(xtb_system(), integrator, reference), integrator, 20.0)
    drift = np.polyfit(np.linspace(0, 20, len(energies)), energies, 1)[0]
    record_property("drift", drift)
    record_property("fluctuation", np.std(energies))
    assert abs(drift) < 0.05
    assert np.std(energies) < 8.314e-3 * 300 / 4
