"""Regions of several molecules in periodic boxes: barostats, images, and regions that reach around the box."""

from __future__ import annotations

import re

import numpy as np
import openmm
import pytest
from openmm import app

from openmmkstep import KStepIntegrator, QMMMForce, QMMMPotential
from tests.support.qmmm.molecules import make_topology
from tests.support.qmmm.systems import make_case

BOLTZMANN = 8.31446261815324e-3


def ideal_gas(molecules: int, region: int, frequency: int, seed: int = 3) -> tuple[app.Topology, openmm.System]:
    """Atoms that feel nothing, at the pressure at which they fill 27 nm^3; some of them are the QM region."""
    topology = make_topology([("HE", ["He"], [])] * molecules)
    system = openmm.System()
    system.setDefaultPeriodicBoxVectors([3, 0, 0], [0, 3, 0], [0, 0, 3])
    nonbonded = openmm.NonbondedForce()
    nonbonded.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    nonbonded.setCutoffDistance(0.3)
    for _ in range(molecules):
        system.addParticle(20)
        nonbonded.addParticle(0, 1, 0)
    system.addForce(nonbonded)
    # <V> of a Monte Carlo barostat is (N + 1) kT / P.
    pressure = (molecules + 1) * BOLTZMANN * 300 / 27 * 16.6053906717
    barostat = openmm.MonteCarloBarostat(pressure, 300, frequency)
    barostat.setRandomNumberSeed(seed)
    system.addForce(barostat)
    potential = QMMMPotential("test-analytic")
    return topology, potential.createMixedSystem(topology, system, range(region), embedding="mechanical")


@pytest.mark.parametrize("region", [1, 2, 10, 39])
def test_molecules_of_a_region_move_one_by_one(region):
    _, system = ideal_gas(40, region, 1)
    context = openmm.Context(system, KStepIntegrator(300, 5, 0.0005, 1), openmm.Platform.getPlatformByName("Reference"))
    assert len(context.getMolecules()) == 40


def ideal_gas_of_pairs(molecules: int, region: int, seed: int) -> openmm.System:
    """The same of molecules of two atoms, at the pressure at which they fill 27 nm^3."""
    topology = make_topology([("H2", ["H", "H"], [(0, 1)])] * molecules)
    system = openmm.System()
    system.setDefaultPeriodicBoxVectors([3, 0, 0], [0, 3, 0], [0, 0, 3])
    bonds = openmm.HarmonicBondForce()
    bonds.setUsesPeriodicBoundaryConditions(True)
    for i in range(molecules):
        system.addParticle(20)
        system.addParticle(20)
        bonds.addBond(2 * i, 2 * i + 1, 0.1, 1e4)
    system.addForce(bonds)
    barostat = openmm.MonteCarloBarostat((molecules + 1) * BOLTZMANN * 300 / 27 * 16.6053906717, 300, 1)
    barostat.setRandomNumberSeed(seed)
    system.addForce(barostat)
    springs = [{"atoms": [2 * i, 2 * i + 1], "k": 1e4, "length": 0.1} for i in range(region)]
    potential = QMMMPotential("test-analytic", harmonic=springs)
    return potential.createMixedSystem(topology, system, range(2 * region), embedding="mechanical")


GASES = {
    "one atom": lambda seed: ideal_gas(40, 1, 1, seed)[1],
    "ten atoms": lambda seed: ideal_gas(40, 10, 1, seed)[1],
    "six pairs": lambda seed: ideal_gas_of_pairs(20, 6, seed),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", GASES)
def test_volume_of_an_ideal_gas(name):
    """27 nm^3 for any region; as one molecule, 10 of 40 atoms gave 21. That of one run is within 0.2 nm^3 (rms)."""
    means = []
    for seed in range(1, 5):
        system = GASES[name](seed)
        integrator = KStepIntegrator(300, 5, 0.0005, 1)
        context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
        places = np.random.default_rng(seed).random((40, 3)) * 3
        if name == "six pairs":
            places[1::2] = places[::2] + np.array([0.1, 0, 0])
        context.setPositions(places)
        volumes = []
        for _ in range(12000):
            integrator.step(1)
            volumes.append(context.getState().getPeriodicBoxVolume()._value)
        means.append(np.mean(volumes[1000:]))
    # Three standard errors of the mean of four runs, and the 0.05 that runs of this length are off by.
    assert np.mean(means) == pytest.approx(27, abs=0.35)


WATER = ("HOH", ["O", "H", "H"], [(0, 1), (0, 2)])


def flat_water(x: float, side: int) -> list[list[float]]:
    return [[x, 0.7, 0.7], [x + side * 0.0586, 0.7757, 0.7], [x + side * 0.0586, 0.6243, 0.7]]


def waters_in_box(box: np.ndarray) -> openmm.Context:
    """Three QM waters, nothing else."""
    topology = make_topology([WATER] * 3)
    system = openmm.System()
    system.setDefaultPeriodicBoxVectors(*box)
    nonbonded = openmm.NonbondedForce()
    nonbonded.setNonbondedMethod(openmm.NonbondedForce.PME)
    nonbonded.setCutoffDistance(0.7)
    for _ in range(9):
        system.addParticle(1)
        nonbonded.addParticle(0, 0.3, 0)
    system.addForce(nonbonded)
    mixed = QMMMPotential("gfn2-xtb").createMixedSystem(topology, system, range(9))
    return openmm.Context(mixed, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))


BOXES = {
    "x": (np.eye(3) * 1.5, [0, 1, 2]),
    "y": (np.eye(3) * 1.5, [1, 2, 0]),
    "triclinic": (np.array([[1.5, 0, 0], [0.4, 1.5, 0], [-0.3, 0.5, 1.6]]), [0, 1, 2]),
}


@pytest.mark.parametrize("name", BOXES)
def test_a_region_that_reaches_around_the_box(name):
    """Where two gaps between three waters in a row are as long as that across the box, the energy would jump."""
    box, axes = BOXES[name]
    context = waters_in_box(box)

    def place(distance: float) -> float:
        x = np.array(flat_water(0, 1) + flat_water(0.5, 1) + flat_water(1 + distance, -1))[:, axes]
        context.setPositions(x)
        return context.getState(energy=True).getPotentialEnergy()._value

    near = place(0.0512)
    with pytest.raises(openmm.OpenMMException, match="reaches around the periodic box") as refusal:
        place(0.0522)
    jump = re.search(r"jumps by (-?[\d.]+) kJ/mol", str(refusal.value))
    assert jump is not None and abs(float(jump.group(1))) > 1
    # What was there before still is.
    assert place(0.0512) == pytest.approx(near, abs=1e-6)


def test_regions_far_from_their_images_may_go_anywhere():
    """The same waters in a larger box, moved by box vectors molecule by molecule and across its faces."""
    box = np.eye(3) * 3.0
    context = waters_in_box(box)
    x = np.array(flat_water(0, 1) + flat_water(0.5, 1) + flat_water(1.05, -1))
    energies = []
    for shift in np.linspace(0, 3.1, 13):
        moved = x + np.array([shift, 2 * shift, 0])
        moved[:3] += box[0]
        moved[6:] -= box[1]
        context.setPositions(moved)
        energies.append(context.getState(energy=True).getPotentialEnergy()._value)
    assert energies == pytest.approx([energies[0]] * len(energies), abs=1e-5)


@pytest.mark.parametrize("stiffness", [0.0, 10.0])
def test_molecules_that_drift_apart(stiffness):
    """Beyond half of the box their nearest images change: refused where they feel each other, and only there."""
    bond = {"atoms": [0, 1], "k": stiffness, "length": 0.3}
    case = make_case(
        [2, 2],
        np.array([[0.1, 0, 0], [0.6, 0, 0]]),
        engine="test-analytic",
        settings={"harmonic": [bond]},
        extra=[[1.0, 1.0, 1.0]],
        extra_charges=[0.1],
        box=np.eye(3) * 2.0,
        cutoff=0.8,
    )

    def place(x: float) -> float:
        return case.energy(np.array([[0.1, 0, 0], [x, 0, 0], [1.0, 1.0, 1.0]]))

    assert place(1.09) == pytest.approx(0.5 * stiffness * 0.69**2)
    if stiffness == 0:
        assert [place(x) for x in np.linspace(1.11, 2.0, 10)] == [0.0] * 10
    else:
        with pytest.raises(openmm.OpenMMException, match="reaches around the periodic box"):
            place(1.11)


def test_the_region_keeps_its_bonds_through_files():
    _, system = ideal_gas(5, 3, 1)
    copy = openmm.XmlSerializer.clone(system)
    force = next(QMMMForce.cast(force) for force in copy.getForces() if QMMMForce.isInstance(force))
    assert force.getBonds() == []
    context = openmm.Context(copy, KStepIntegrator(0.0005, 1), openmm.Platform.getPlatformByName("Reference"))
    assert len(context.getMolecules()) == 5
