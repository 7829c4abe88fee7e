"""Forces of QMMMForce against finite differences of its energy, atom by atom."""

from __future__ import annotations

import numpy as np
import openmm
import pytest

from openmmkstep import EmbeddingCharges, QMMMForce
from tests.support.finite_differences import assert_close_vectors, derivative
from tests.support.qmmm.systems import ENGINES, ETHANOL, ETHANOL_NUMBERS, TIGHT, TRICLINIC, Case, make_case

RELATIVE = 1e-6
# Energies carry round-off of about 1e-14 hartree per hartree; over the step it bounds what their differences resolve.
NOISE = 1e-6  # kJ/mol/nm
STEP = 1e-4  # nm
SOLUTE = list(range(len(ETHANOL)))


def check_forces(case: Case, particles, relative=RELATIVE, noise=NOISE):
    expected = -derivative(case.energy, case.positions, STEP, particles)
    assert_close_vectors(case.forces()[particles], expected, relative, noise, particles)


def switched_particles(case: Case):
    """Particles seen at all, and those whose effective charge is between 5 and 95 % of their charge."""
    case.energy()
    result = case.result()
    particles, charges, _ = case.force.getEmbeddingCharges().getCharges()
    bare = dict(zip(particles, charges, strict=True))
    factor = np.array(
        [q / bare[p] for p, q in zip(result.environmentParticles, result.environmentCharges, strict=True)]
    )
    return result.environmentParticles, result.environmentParticles[(factor > 0.05) & (factor < 0.95)]


@pytest.mark.parametrize("engine", ENGINES)
def test_thousand_charges(engine):
    case = make_case(num_waters=334, **ENGINES[engine])
    near = list(range(9, 21))
    check_forces(case, [*SOLUTE, *near, 300, 600, 1000])


@pytest.mark.parametrize("engine", ["gfn2-xtb", "gfn1-xtb"])
def test_default_accuracy(engine):
    """At the default accuracy the density is converged less tightly, which shows in the energies."""
    case = make_case(num_waters=100, cutoff=0.9, switching_distance=0.5, engine=engine)
    check_forces(case, [*SOLUTE, *range(9, 15)], relative=1e-5, noise=1e-4)


@pytest.mark.parametrize("engine", ENGINES)
def test_cutoff_with_switching(engine):
    case = make_case(num_waters=334, cutoff=0.9, switching_distance=0.5, **ENGINES[engine])
    seen, switched = switched_particles(case)
    assert len(seen) < 900 and len(switched) > 60
    check_forces(case, [*SOLUTE, 9, 10, 11, *switched[:6], *switched[-6:]])


@pytest.mark.parametrize("engine", ["gfn2", "analytic"])
@pytest.mark.parametrize("box", [np.eye(3) * 2.0, TRICLINIC], ids=["cubic", "triclinic"])
def test_periodic_box(engine, box):
    case = make_case(num_waters=220, cutoff=0.95, switching_distance=0.6, box=box, spacing=0.33, **ENGINES[engine])
    seen, switched = switched_particles(case)
    twice = [p for p in set(seen) if np.count_nonzero(seen == p) > 1]
    assert len(switched) > 60 and len(twice) > 3, "the box is meant to be small enough for second images"
    check_forces(case, [*SOLUTE, *switched[:4], *twice[:4]])


@pytest.mark.parametrize("engine", ["gfn2", "gfn1"])
@pytest.mark.parametrize("charge, multiplicity", [(1, 2), (-1, 2), (0, 3), (2, 1)])
def test_charged_and_open_shell(engine, charge, multiplicity):
    case = make_case(num_waters=30, charge=charge, multiplicity=multiplicity, cutoff=0.8, **ENGINES[engine])
    check_forces(case, [0, 2, 3, 9, 12, 60], relative=1e-5)  # libxtb itself: 1e-6 for the cation in GFN1
    assert case.result().charges.sum() == pytest.approx(charge, abs=1e-8)


def test_molecule_round_a_charge():
    """Charges in the mouth of a bent molecule: rays from its middle would pass through it."""
    angle = np.linspace(0.15 * np.pi, 1.85 * np.pi, 14)
    chain = np.stack([0.62 * np.cos(angle), 0.62 * np.sin(angle), 0.02 * np.cos(7 * angle)], axis=1)
    case = make_case(
        numbers=[1, *[6] * 12, 1],
        solute=chain,
        extra=[[0.02, 0.0, 0.05], [-0.05, 0.03, 0.2], [1.15, 0.1, 0.1]],
        extra_charges=[0.8, -0.5, 0.3],
        cutoff=0.68,
        switching_distance=0.45,
        settings={"electronic_temperature": 3000, **TIGHT},
    )
    _, switched = switched_particles(case)
    assert len(switched) >= 2
    check_forces(case, [0, 5, 14, 15, 16])


@pytest.mark.parametrize("engine", ["gfn2", "analytic"])
def test_virtual_sites_carry_charges(engine, reference):
    """Four-point waters: the charge on the virtual site pulls at the atoms that define it."""
    sites = np.array([[0.45, 0.05, 0.02], [-0.3, 0.3, 0.3]])
    water = np.array([[0.0, 0.0, 0.0], [0.09572, 0.0, 0.0], [-0.023999, 0.092663, 0.0]])
    system = openmm.System()
    for _ in ETHANOL:
        system.addParticle(10.0)
    positions, particles, charges, groups = [*ETHANOL], [], [], []
    for number, site in enumerate(sites):
        oxygen = system.getNumParticles()
        for mass in (16.0, 1.0, 1.0, 0.0):
            system.addParticle(mass)
        average = openmm.ThreeParticleAverageSite(oxygen, oxygen + 1, oxygen + 2, 0.786646558, 0.106676721, 0.106676721)
        system.setVirtualSite(oxygen + 3, average)
        positions += [*(water + site), site]
        particles += [oxygen + 1, oxygen + 2, oxygen + 3]
        charges += [0.5564, 0.5564, -1.1128]
        groups += [number] * 3
    embedding = EmbeddingCharges(particles, charges, groups, 0.5, 0.2)
    settings = ENGINES[engine]
    force = QMMMForce(
        SOLUTE, ETHANOL_NUMBERS, settings["engine"], settings=settings["settings"], embeddingCharges=embedding
    )
    system.addForce(force)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), reference)

    class WithVirtualSites(Case):
        def place(self, moved):
            self.context.setPositions(moved)
            self.context.computeVirtualSites()

    case = WithVirtualSites(force, context, np.array(positions))
    check_forces(case, [0, 2, 3, 9, 10, 11, 13, 14, 15])
