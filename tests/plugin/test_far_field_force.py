"""FarFieldForce: the Coulomb energy of the region's charges with what the embedding sees, with the opposite sign."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import openmm
import pytest
from numpy.typing import NDArray
from openmm import unit

from kstep_models.units import COULOMB
from openmmkstep import EmbeddingCharges, FarFieldForce, LinkAtom
from tests.suites.force import ForceProperties, IsolatedForceProperties
from tests.support.qmmm.systems import ETHANOL, ETHANOL_NUMBERS, TRICLINIC, WATER_CHARGES, make_system

CHARGES = dict(enumerate([-0.1, 0.1, -0.6, 0.4, 0.05, 0.05, 0.03, 0.04, 0.13]))
CUT = {"cutoff": 0.7, "switching_distance": 0.3}


def make_far_field(
    bonds: list[tuple[int, int]] | None = None, **options: Any
) -> tuple[openmm.System, FarFieldForce, NDArray[np.float64]]:
    """A FarFieldForce in place of the QMMMForce of make_system(), in the same charges."""
    system, qm_force, positions = make_system(num_waters=30, engine="test-analytic", **options)
    embedding = qm_force.getEmbeddingCharges()
    system.removeForce(0)
    force = FarFieldForce(range(9), ETHANOL_NUMBERS, embedding, CHARGES, bonds=bonds)
    system.addForce(force)
    return system, force, positions


class FarFieldForceProperties(ForceProperties):
    kind = FarFieldForce
    relative = 1e-7

    def options(self) -> dict[str, Any]:
        return {}

    def create(self) -> tuple[openmm.System, openmm.Force, NDArray[np.float64]]:
        return make_far_field(**self.options())

    def particles(self, positions: NDArray[np.float64]) -> Sequence[int]:
        return [*range(9), *range(9, len(positions), 5)]

    def plain(self) -> openmm.Force:
        return FarFieldForce([0], [2], EmbeddingCharges(), {})

    def everything(self) -> openmm.Force:
        embedding = EmbeddingCharges([3, 4, 6], [0.1, -0.2, 0.3], [0, 0, 1], 1.1, 0.7, True)
        force = FarFieldForce([0, 2], [6, 8], embedding, {2: 0.25, 0: -0.5, 7: 0.1}, [LinkAtom(0, 1, 0.7)], [(0, 2)])
        force.setForceGroup(7)
        force.setName("far field")
        return force


class TestAllCharges(IsolatedForceProperties, FarFieldForceProperties):
    pass


class TestCutOff(IsolatedForceProperties, FarFieldForceProperties):
    def options(self) -> dict[str, Any]:
        return dict(CUT)


class TestInABox(FarFieldForceProperties):
    def options(self) -> dict[str, Any]:
        return {"box": TRICLINIC, **CUT}


def context_of(system: openmm.System, positions: Any) -> openmm.Context:
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    return context


def pairs_within(positions: NDArray[np.float64]) -> float:
    """Coulomb energy of the charges of the region with each other, kJ/mol."""
    charges = np.array(list(CHARGES.values()))
    first, second = np.triu_indices(9, 1)
    distances = np.linalg.norm(positions[first] - positions[second], axis=1)
    return float(COULOMB * np.sum(charges[first] * charges[second] / distances))


def test_energy_is_that_of_coulombs_law() -> None:
    system, _, positions = make_far_field()
    distances = np.linalg.norm(positions[:9, None] - positions[None, 9:], axis=2)
    coulomb = COULOMB * np.sum(np.array(list(CHARGES.values()))[:, None] * np.tile(WATER_CHARGES, 30) / distances)
    assert abs(coulomb) > 1
    energy = context_of(system, positions).getState(energy=True).getPotentialEnergy()._value
    assert energy == pytest.approx(-coulomb - pairs_within(positions), rel=1e-12)


@pytest.mark.parametrize("box", [None, TRICLINIC])
def test_energy_is_that_of_the_embedding(box: Any) -> None:
    """The potential that a QM calculation reports, with switched charges and nearest images, times the charges."""
    far_field, _, positions = make_far_field(box=box, **CUT)
    if box is not None:
        positions[:9] += np.array(box).sum(axis=0)
        positions[5] -= np.array(box)[1]
    settings = {"charges": [0.0] * 9, "harmonic": [{"atoms": [0, 1], "k": 1.0, "length": 0.15}]}
    system, qm_force, _ = make_system(num_waters=30, engine="test-analytic", settings=settings, box=box, **CUT)
    context = context_of(system, positions)
    context.getState(energy=True)
    result = qm_force.getLastResult(context)
    expected = -np.dot(result.potential, list(CHARGES.values())) - pairs_within(result.positions)
    energy = context_of(far_field, positions).getState(energy=True).getPotentialEnergy()._value
    assert energy == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("shift", [0.0, 2.0])
def test_charges_on_virtual_sites(shift: float) -> None:
    """A site of a site of QM atoms, and beside it the same charge as an atom; forces reach the atoms."""
    embedding = EmbeddingCharges([5], [0.8], cutoff=0.9, switchingDistance=0.2, periodic=True)
    system = openmm.System()
    for mass in (16.0, 1.0, 1.0, 0.0, 0.0, 20.0):
        system.addParticle(mass)
    system.setVirtualSite(3, openmm.TwoParticleAverageSite(0, 1, 0.7, 0.3))
    system.setVirtualSite(4, openmm.TwoParticleAverageSite(3, 2, 0.6, 0.4))
    system.setDefaultPeriodicBoxVectors(*np.eye(3) * 2.0)
    system.addForce(FarFieldForce([0, 1, 2], [8, 1, 1], embedding, {4: -1.1}))
    atoms = np.array([[0, 0, 0], [0.096, 0, 0], [-0.024, 0.093, 0], [0.4, 0.2, 0.1]])

    def place(moved: NDArray[np.float64]) -> openmm.Context:
        positions = np.zeros((6, 3))
        positions[[0, 1, 2, 5]] = moved
        context = context_of(system, positions)
        context.computeVirtualSites()
        return context

    def energy(moved: NDArray[np.float64]) -> float:
        return place(moved).getState(energy=True).getPotentialEnergy()._value

    moved = atoms.copy()
    moved[:3, 0] += shift
    site = 0.6 * (0.7 * atoms[0] + 0.3 * atoms[1]) + 0.4 * atoms[2]
    distances = np.linalg.norm(atoms[:3] - atoms[3], axis=1)
    t = (distances - 0.2) / 0.7
    switch = 1 - np.prod(t**3 * (10 - 15 * t + 6 * t**2))
    assert energy(moved) == pytest.approx(COULOMB * 1.1 * 0.8 * switch / np.linalg.norm(site - atoms[3]), rel=1e-12)
    forces = np.array(place(moved).getState(forces=True).getForces(asNumpy=True)._value)
    for row, particle in enumerate([0, 1, 2, 5]):
        for axis in range(3):
            step = np.zeros_like(moved)
            step[row, axis] = 1e-5
            slope = (energy(moved + step) - energy(moved - step)) / 2e-5
            assert forces[particle, axis] == pytest.approx(-slope, abs=1e-5)


def test_quantities() -> None:
    charge = 1.6 * unit.elementary_charge
    assert FarFieldForce([0], [2], EmbeddingCharges(), {0: charge}).getRegionCharges() == {0: 1.6}


def test_it_holds_together_what_is_bonded_and_nothing_else() -> None:
    bonded = [(0, 1), (1, 2), (2, 3), (1, 4), (1, 5), (0, 6), (0, 7), (0, 8)]
    for bonds, largest in ((bonded, 9), (None, 1)):
        system, _, positions = make_far_field(bonds)
        assert max(map(len, context_of(system, positions).getMolecules())) == largest


@pytest.mark.parametrize(
    ("particles", "region_charges", "message"),
    [
        ([0, 1], {0: 0.1, 2: 0.1}, "particle 2 is neither an atom of the region nor a virtual site that its atoms"),
        ([0, 1], {0: 0.1, 17: 0.1}, "particle 17 is neither"),
        ([0, 1], {0: 0.1, -1: 0.1}, "particle -1 is neither"),
        ([0, 1], {0: float("nan")}, "charge of particle 0 is not a finite number"),
        ([0, 9], {0: 0.1}, "particle 9 does not exist"),
        ([0, 3], {0: 0.1}, "the particle belongs to the QM region"),
        ([0, 1], {0: 0.1, 4: 0.1}, "particle 4 is neither"),
        ([1, 2], {1: 0.1, 4: 0.1}, "particle 4 is neither"),
        ([0, 1, 2], {0: 0.1, 4: 0.1}, "particle 4 has a charge of the region and an embedding charge"),
    ],
)
def test_refusals(particles: list[int], region_charges: dict[int, float], message: str) -> None:
    system = openmm.System()
    for mass in (1.0, 1.0, 1.0, 1.0, 0.0):
        system.addParticle(mass)
    system.setVirtualSite(4, openmm.TwoParticleAverageSite(0, 2, 0.5, 0.5))
    embedding = EmbeddingCharges([3, 4], [0.5, 0.1])
    system.addForce(FarFieldForce(particles, [1] * len(particles), embedding, region_charges))
    with pytest.raises(openmm.OpenMMException, match=message):
        context_of(system, ETHANOL[:5])


@pytest.mark.parametrize(
    ("method", "charge", "includes_direct_space", "message"),
    [
        (openmm.NonbondedForce.CutoffNonPeriodic, 0.25, True, "does not count every pair of charges in full: use PME"),
        (openmm.NonbondedForce.CutoffPeriodic, 0.25, True, "does not count every pair of charges in full"),
        (openmm.NonbondedForce.PME, 0.25, False, "does not count every pair of charges in full"),
        (openmm.NonbondedForce.PME, 0.0, True, r"particle 0 has the charge \(e\) 0 in .*, and 0\.25 here"),
        (openmm.NonbondedForce.NoCutoff, 0.2, True, r"particle 0 has the charge \(e\) 0\.2 in the NonbondedForce"),
    ],
)
def test_a_nonbonded_force_that_does_not_fit(
    method: int, charge: float, includes_direct_space: bool, message: str
) -> None:
    system, nonbonded = openmm.System(), openmm.NonbondedForce()
    for value in (charge, -0.25):
        system.addParticle(1.0)
        nonbonded.addParticle(value, 0.1, 0.0)
    nonbonded.setNonbondedMethod(method)
    nonbonded.setCutoffDistance(0.9)
    nonbonded.setIncludeDirectSpace(includes_direct_space)
    system.addForce(nonbonded)
    system.addForce(FarFieldForce([0], [1], EmbeddingCharges([1], [-0.25]), {0: 0.25}))
    with pytest.raises(openmm.OpenMMException, match=message):
        context_of(system, ETHANOL[:2])


@pytest.mark.parametrize(
    ("pair", "product", "nearest_images", "message"),
    [
        ((0, 1), 0.0, True, r"particles 0 and 1 have the product of charges \(e\^2\) 0 in .*, and 0\.02 here"),
        ((1, 2), -0.01, True, r"particles 1 and 2 have the product of charges \(e\^2\) -0\.01 in .*, and -0\.05 here"),
        ((0, 1), 0.02, False, "are not those of nearest images"),
        ((0, 1), 0.02, True, None),
        ((2, 3), 0.0, True, None),
        ((0, 3), 0.0, True, None),
    ],
)
def test_exceptions_that_do_not_fit(
    pair: tuple[int, int], product: float, nearest_images: bool, message: str | None
) -> None:
    """What the region and the charges that it sees do to each other must be counted in full; all else may not be."""
    system, nonbonded = openmm.System(), openmm.NonbondedForce()
    for value in (0.1, 0.2, -0.25, -0.05):
        system.addParticle(1.0)
        nonbonded.addParticle(value, 0.1, 0.0)
    nonbonded.setNonbondedMethod(openmm.NonbondedForce.PME)
    nonbonded.setCutoffDistance(0.9)
    nonbonded.setExceptionsUsePeriodicBoundaryConditions(nearest_images)
    nonbonded.addException(*pair, product, 0.1, 0.0)
    system.addForce(nonbonded)
    embedding = EmbeddingCharges([2], [-0.25], cutoff=0.9, periodic=True)
    system.addForce(FarFieldForce([0, 1], [1, 1], embedding, {0: 0.1, 1: 0.2}))
    if message is None:
        context_of(system, ETHANOL[:4]).getState(energy=True)
    else:
        with pytest.raises(openmm.OpenMMException, match=message):
            context_of(system, ETHANOL[:4])
