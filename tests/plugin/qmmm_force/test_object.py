"""QMMMForce as an object of OpenMM: copies, files, and every refusal."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import openmm
import pytest
from openmm import unit

from openmmkstep import EmbeddingCharges, LinkAtom, QMMMForce
from tests.support.qmmm.systems import ETHANOL, full_force, make_case


def test_getters():
    force = full_force()
    assert force.getParticles().tolist() == [0, 2]
    assert force.getAtomicNumbers().tolist() == [6, 8]
    assert (force.getCharge(), force.getMultiplicity(), force.getEngine()) == (-1, 2, "gfn1-xtb")
    assert force.getEngineSettings() == {"accuracy": 0.1, "threads": 2}
    assert force.getLinkAtoms() == [LinkAtom(0, 1, 0.7, 1), LinkAtom(2, 5, 0.6, 9)]
    assert force.usesPeriodicBoundaryConditions()
    particles, charges, groups = force.getEmbeddingCharges().getCharges()
    assert particles.tolist() == [3, 4, 6] and groups.tolist() == [0, 0, 1]
    assert charges.tolist() == [0.1, -0.2, 0.3]


def test_cast_refuses_other_forces():
    with pytest.raises(TypeError, match="HarmonicBondForce"):
        QMMMForce.cast(openmm.HarmonicBondForce())


def test_embedding_charges_take_quantities_and_pickle():
    charges = EmbeddingCharges([5], [0.5] * unit.elementary_charge, [0], 12 * unit.angstrom, 1.0 * unit.nanometer, True)
    assert (charges.getCutoffDistance(), charges.getSwitchingDistance()) == (pytest.approx(1.2), 1.0)
    assert pickle.loads(pickle.dumps(charges)) == charges
    assert copy.deepcopy(charges) == charges
    assert EmbeddingCharges([5], [0.5], cutoff=1.0).getSwitchingDistance() == pytest.approx(0.8)


def test_no_result_before_the_first_calculation():
    case = make_case()
    with pytest.raises(openmm.OpenMMException, match="no QM calculation"):
        case.result()


BAD_REGIONS = {
    "empty": ({"particles": [], "atomicNumbers": []}, "region is empty"),
    "outside": ({"particles": [0, 77], "atomicNumbers": [1, 1]}, "QM particle 77 does not exist"),
    "negative": ({"particles": [0, -1], "atomicNumbers": [1, 1]}, "QM particle -1 does not exist"),
    "twice": ({"particles": [0, 0], "atomicNumbers": [1, 1]}, "QM particle 0 was added twice"),
    "no element": ({"atomicNumbers": [1, 0]}, "QM particle 1 has the atomic number 0"),
    "heavy": ({"atomicNumbers": [92, 1], "multiplicity": 2}, "elements 1 to 86, not 92"),
    "f in core": ({"atomicNumbers": [60, 1], "multiplicity": 2}, "f electrons"),
    "parity": ({"multiplicity": 2}, "2 electrons, so the multiplicity must be odd"),
    "no electrons": ({"charge": 2}, "no electrons"),
    "multiplicity 0": ({"multiplicity": 0}, "number of unpaired electrons plus 1"),
    "multiplicity 5": ({"multiplicity": 5}, "4 unpaired electrons of 2"),
    "no valence electrons": ({"atomicNumbers": [3, 1], "charge": 2}, "0 valence electrons"),
    "engine": ({"engine": "gfn3-xtb"}, "no QM engine 'gfn3-xtb'; there are .*gfn1-xtb, gfn2-xtb"),
    "setting": ({"settings": {"acuracy": 1}}, "setting 'acuracy' is not known; there are accuracy"),
    "accuracy": ({"settings": {"accuracy": 0}}, "setting 'accuracy' must be between"),
    "threads": ({"settings": {"threads": 1.5}}, "setting 'threads' must be a whole number"),
    "library": ({"settings": {"library": "/usr/lib"}}, "setting 'library' is not known"),
    "link QM": ({"linkAtoms": [LinkAtom(2, 3, 0.7)]}, "QM particle 2 and MM particle 3: the first is not"),
    "link MM": ({"linkAtoms": [LinkAtom(0, 1, 0.7)]}, "no bond is cut"),
    "link ratio": ({"linkAtoms": [LinkAtom(0, 3, 1.7)]}, "ratio must be between 0 and 1, not 1.7"),
    "link outside": ({"linkAtoms": [LinkAtom(0, 30, 0.7)]}, "the second does not exist"),
}


def context_of(box=3.0, virtual_site=False, **changes):
    arguments = {"particles": [0, 1], "atomicNumbers": [1, 1]}
    arguments.update(changes)
    system = openmm.System()
    system.setDefaultPeriodicBoxVectors([box, 0, 0], [0, box, 0], [0, 0, box])
    for _ in range(5):
        system.addParticle(1.0)
    if virtual_site:
        system.setParticleMass(1, 0.0)
        system.setVirtualSite(1, openmm.TwoParticleAverageSite(0, 2, 0.5, 0.5))
    force = QMMMForce(**arguments)
    force.setName("the region")
    system.addForce(force)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    return force, context


@pytest.mark.parametrize("case", BAD_REGIONS)
def test_bad_region(case):
    changes, message = BAD_REGIONS[case]
    with pytest.raises(openmm.OpenMMException, match=f"(?s)the region: .*{message}"):
        context_of(**changes)


def test_virtual_site_is_no_qm_atom():
    with pytest.raises(openmm.OpenMMException, match="QM particle 1 is a virtual site"):
        context_of(virtual_site=True)


BAD_CHARGES = {
    "outside": (([9], [0.1]), "particle 9: the System has only 5"),
    "in region": (([1], [0.1]), "particle 1: the particle belongs to the QM region"),
    "twice": (([3, 3], [0.1, 0.1]), "particle 3: the particle has two"),
    "nan": (([3], [float("nan")]), "particle 3: the charge is not a finite number"),
    "group": (([3], [0.1], [-4]), "particle 3: the group is negative"),
    "switch": (([3], [0.1], [0], 1.0, 1.0), "switching distance .* must be below"),
    "switch alone": (([3], [0.1], [0], None, 0.5), "needs a cut-off"),
    "periodic": (([3], [0.1], [0], None, None, True), "periodic box need a cut-off"),
    "small box": (([3], [0.1], [0], 1.6, None, True), "default box is only 3 nm wide, less than twice the cut-off"),
}


@pytest.mark.parametrize("case", BAD_CHARGES)
def test_bad_charges(case):
    arguments, message = BAD_CHARGES[case]
    with pytest.raises(openmm.OpenMMException, match=f"the region: .*{message}"):
        context_of(embeddingCharges=EmbeddingCharges(*arguments))


def test_bad_arguments():
    with pytest.raises(ValueError, match="as many atomic numbers"):
        QMMMForce([0, 1], [1])
    with pytest.raises(ValueError, match="as many charges and groups"):
        EmbeddingCharges([0, 1], [1.0])
    with pytest.raises(ValueError, match="cannot be written as JSON"):
        QMMMForce([0], [2], settings={"accuracy": object()})
    with pytest.raises(ValueError):
        QMMMForce([0], [2], settings={"accuracy": float("nan")})
    with pytest.raises(openmm.OpenMMException, match="cut-off must be positive"):
        EmbeddingCharges([0], [1.0], cutoff=-1.0)
    with pytest.raises(TypeError):
        QMMMForce([0], [2]).getLastResult("context")


def test_box_that_shrinks_below_the_cutoff():
    case = make_case(num_waters=10, box=np.eye(3) * 2.4, cutoff=1.1)
    case.energy()
    case.context.setPeriodicBoxVectors([2.1, 0, 0], [0, 2.1, 0], [0, 0, 2.1])
    with pytest.raises(openmm.OpenMMException, match=r"periodic box is only 2\.1 nm wide"):
        case.energy()


BAD_GEOMETRIES = {
    "nan": (3, [np.nan, 0, 0], "position of QM particle 3 is not a finite number"),
    "infinite charge": (12, [np.inf, 0, 0], "position of particle 12 or of another embedding charge"),
    "overlap": (3, ETHANOL[0] + [0.01, 0, 0], r"QM atom 0 \(particle 0\) and QM atom 3 \(particle 3\) are 0.01 nm"),
    "charge on atom": (
        12,
        ETHANOL[2] + [0, 0.005, 0],
        r"QM atom 2 \(particle 2\) and the embedding charge on particle 12",
    ),
}


@pytest.mark.parametrize("geometry", BAD_GEOMETRIES)
def test_bad_geometry(geometry):
    """Refused before any QM calculation, and the force works again afterwards."""
    particle, place, message = BAD_GEOMETRIES[geometry]
    case = make_case(num_waters=4)
    positions = case.positions.copy()
    positions[particle] = place
    with pytest.raises(openmm.OpenMMException, match=message):
        case.energy(positions)
    assert case.force.getNumCalls(case.context) == 0
    with pytest.raises(openmm.OpenMMException, match=r"no QM calculation|the last QM calculation failed"):
        case.result()
    assert np.isfinite(case.energy())


def test_non_convergence_is_an_error_and_leaves_no_trace():
    case = make_case(settings={"max_iterations": 3})
    with pytest.raises(openmm.OpenMMException, match=r"(?s)did not converge.*max_iterations"):
        case.energy()
    case = make_case()
    energy = case.energy()
    with pytest.raises(openmm.OpenMMException, match="did not converge"):
        case.energy(case.positions * 30)
    assert case.energy() == pytest.approx(energy, abs=1e-7)


ANALYTIC_ERRORS = {
    "charges": ({"charges": [1.0]}, "has 1 values for 2 atoms"),
    "text": ({"charges": ["a", 0.0]}, "list of numbers"),
    "morse": ({"morse": [{"atoms": [0, 1], "depth": 1.0}]}, "setting 'morse' has a bad entry"),
    "atom": ({"harmonic": [{"atoms": [0, 2], "k": 1.0, "length": 1.0}]}, "beyond the 2 of the region"),
    "itself": ({"flux": [{"atoms": [1, 1], "slope": 1.0, "length": 1.0}]}, "with itself"),
    "list": ({"morse": 3}, "must be a list"),
}


@pytest.mark.parametrize("case", ANALYTIC_ERRORS)
def test_analytic_engine_refuses(case):
    settings, message = ANALYTIC_ERRORS[case]
    with pytest.raises(openmm.OpenMMException, match=message):
        context_of(engine="test-analytic", settings=settings)


def test_force_belongs_to_its_context():
    case = make_case()
    with pytest.raises(openmm.OpenMMException):
        full_force().getNumCalls(case.context)


def test_region_counts_as_one_molecule():
    system_case = make_case(num_waters=2)
    molecules = system_case.context.getMolecules()
    assert tuple(range(9)) in [tuple(molecule) for molecule in molecules]
