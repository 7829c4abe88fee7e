"""The far field acts on the QM method itself: forces no longer depend on the cut-off, and are the Ewald sum's."""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm
import pytest
from numpy.typing import NDArray
from openmm import app, unit

from openmmkstep import EmbeddingCharges, FarFieldForce, QMMMForce, createIntegrator
from openmmkstep.qmmm.embedding.errors import EmbeddingError
from openmmkstep.qmmm.energy_decomposition import EnergyDecomposition
from openmmkstep.qmmm.forces import find_qm_force
from openmmkstep.qmmm.potential import QMMMPotential
from tests.support.qmmm.energies import energy_and_forces
from tests.support.qmmm.molecules import Molecule, water_box

PME = {"nonbondedMethod": app.PME, "nonbondedCutoff": 0.9, "ewaldErrorTolerance": 1e-6, "rigidWater": False}
REGION = [0, 1, 2, 30, 31, 32]
CHARGES = [-0.834, 0.417, 0.417]


@pytest.fixture(scope="module")
def box() -> Molecule:
    return water_box(2.1, "amber14/tip3p.xml", "tip3p")


def nonbonded_of(system: openmm.System) -> openmm.NonbondedForce:
    return next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))


def difference(found: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    return float(np.abs(found - expected).max())


@pytest.mark.parametrize("reach", [{"cutoff": 0.6}, {"cutoff": 0.9, "switchDistance": 0.3}])
@pytest.mark.parametrize("method", [app.PME, app.Ewald])
def test_a_method_with_the_charges_of_the_force_field_changes_nothing(
    box: Molecule, method: Any, reach: dict[str, float]
) -> None:
    system = box.create_system(**PME | {"nonbondedMethod": method})
    potential = QMMMPotential("test-analytic", charges=CHARGES * 2)
    by_force_field = potential.createMixedSystem(box.topology, system, REGION, farField="force-field", **reach)
    by_method = potential.createMixedSystem(box.topology, system, REGION, farField="qm", **reach)
    expected, found = energy_and_forces(by_force_field, box.positions), energy_and_forces(by_method, box.positions)
    # What the charges on the surface miss.
    assert found[0] == pytest.approx(expected[0], abs=0.05)
    assert difference(found[1], expected[1]) < 1.0
    ended = energy_and_forces(
        potential.createMixedSystem(box.topology, system, REGION, farField="none", **reach), box.positions
    )
    assert difference(ended[1], expected[1]) > 20


def test_other_charges_of_the_method_are_in_the_field_of_the_whole_lattice(box: Molecule) -> None:
    """Against the force field with these charges, but for images of the region, which keep the force field's."""
    system = box.create_system(**PME)
    of_method = np.array([-2.0, 0.3, 0.9, 1.4, -0.6, 0.5])
    potential = QMMMPotential("test-analytic", charges=of_method.tolist())
    mixed = potential.createMixedSystem(box.topology, system, REGION, farField="qm", cutoff=0.7)
    found = energy_and_forces(mixed, box.positions)

    def lattice(charges: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """The force field and the method with the same charges of the region."""
        changed = openmm.XmlSerializer.clone(system)
        nonbonded = nonbonded_of(changed)
        for particle, charge in zip(REGION, charges, strict=True):
            _, sigma, epsilon = nonbonded.getParticleParameters(particle)
            nonbonded.setParticleParameters(particle, charge, sigma, epsilon)
        same = QMMMPotential("test-analytic", charges=charges.tolist())
        return energy_and_forces(same.createMixedSystem(box.topology, changed, REGION, cutoff=0.7), box.positions)

    # With potential phi of the surroundings and A of the images, the force field has E(q) = q phi + q A q / 2, and here
    # it is q phi + q A q0 - q0 A q0 / 2 for charges q0 of the force field: less by d A d / 2, d = q - q0.
    expected = lattice(of_method)
    d = of_method - CHARGES * 2
    twice, once, none = lattice(2 * d), lattice(d), lattice(np.zeros(6))
    images = [(a - 2 * b + c) / 2 for a, b, c in zip(twice, once, none, strict=True)]
    assert abs(images[0]) > 0.2 and np.abs(images[1]).max() > 1, "images would not be noticed"
    assert found[0] == pytest.approx(expected[0] - images[0], abs=0.05)
    assert difference(found[1], expected[1] - images[1]) < 1.0


def test_forces_do_not_depend_on_the_cut_off(box: Molecule) -> None:
    system = box.create_system(**PME)
    potential = QMMMPotential("gfn2-xtb", accuracy=0.001)

    def forces(cutoff: float, far_field: Any) -> NDArray[np.float64]:
        mixed = potential.createMixedSystem(
            box.topology, system, [0, 1, 2], cutoff=cutoff, switchDistance=cutoff - 0.1, farField=far_field
        )
        return energy_and_forces(mixed, box.positions)[1]

    reference = forces(1.04, "qm")
    assert difference(forces(0.8, "qm"), reference) < 0.5
    assert difference(forces(0.8, "force-field"), reference) > 10


@pytest.mark.parametrize("cutoff", [0.6, 0.9])
def test_ewald_embedding_of_pyscf(box: Molecule, cutoff: float) -> None:
    """Another implementation: exact near, atomic multipoles of the density far away, images of the density itself."""
    pyscf = pytest.importorskip("pyscf")
    from pyscf.qmmm.pbc import itrf

    bohr = 0.0529177210903
    system = box.create_system(**PME)
    mixed = QMMMPotential("pyscf", xc="hf", basis="6-31g", density_fit=False, conv_tol=1e-11).createMixedSystem(
        box.topology, system, [0, 1, 2], cutoff=cutoff, switchDistance=cutoff - 0.1, farField="qm"
    )
    # Forces by charges only: what the force field has between its own particles is in both.
    x = np.array(box.positions)
    context = openmm.Context(mixed, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(x)
    force = find_qm_force(mixed)
    groups = {force.getForceGroup()}
    found = context.getState(forces=True, groups=groups).getForces(asNumpy=True)._value[:3]
    far_field = [FarFieldForce.cast(each) for each in mixed.getForces() if FarFieldForce.isInstance(each)]
    assert len(far_field) == 1
    width = box.topology.getPeriodicBoxVectors()[0][0]._value
    mol = pyscf.gto.M(atom=list(zip("OHH", x[:3] / bohr, strict=True)), unit="Bohr", basis="6-31g", verbose=0)
    charges = np.array([nonbonded_of(system).getParticleParameters(i)[0]._value for i in range(3, len(x))])
    mean_field = itrf.add_mm_charges(
        pyscf.scf.RHF(mol),
        x[3:] / bohr,
        np.eye(3) * width / bohr,
        charges,
        radii=np.full(len(charges), 1e-3),
        rcut_hcore=1.0 / bohr,
        rcut_ewald=1.0 / bohr,
        unit="Bohr",
    )
    mean_field.conv_tol = 1e-11
    mean_field.kernel()
    gradient = mean_field.nuc_grad_method()
    expected = -gradient.kernel() * 2625.4996394799 / bohr
    # The force on the QM level less what it takes out of the force field: add the force field's far field again.
    taken_out = _far_field_forces(mixed, x, context)
    assert difference(found + taken_out[:3], expected) < 0.01 * np.abs(expected).max()


def _far_field_forces(mixed: openmm.System, x: NDArray[np.float64], context: openmm.Context) -> NDArray[np.float64]:
    """What the force field's charges of the region have of the far field: all but the QM level's group, by charges."""
    charged = openmm.XmlSerializer.clone(mixed)
    plain = openmm.XmlSerializer.clone(mixed)
    for system, keeps in ((charged, True), (plain, False)):
        for index in reversed(range(system.getNumForces())):
            force = system.getForce(index)
            if isinstance(force, openmm.NonbondedForce):
                for particle in range(force.getNumParticles()):
                    charge, _, _ = force.getParticleParameters(particle)
                    force.setParticleParameters(particle, charge if keeps or particle > 2 else 0.0, 1.0, 0.0)
                for exception in range(force.getNumExceptions()):
                    i, j, product, _, _ = force.getExceptionParameters(exception)
                    within = keeps or min(i, j) > 2
                    force.setExceptionParameters(exception, i, j, product if within else 0.0, 1.0, 0.0)
            elif not (FarFieldForce.isInstance(force) and keeps):
                system.removeForce(index)
    return energy_and_forces(charged, x)[1] - energy_and_forces(plain, x)[1]


def test_parts_of_the_energy_sum_to_it(box: Molecule) -> None:
    system = box.create_system(**PME)
    mixed = QMMMPotential("gfn2-xtb", accuracy=0.001).createMixedSystem(
        box.topology, system, [0, 1, 2], cutoff=0.7, farField="qm"
    )
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(mixed, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(box.positions)
    decomposition = EnergyDecomposition(mixed, platform, polarisation=True)
    parts = decomposition.evaluate(context)
    whole = context.getState(energy=True).getPotentialEnergy()._value
    assert sum(parts[name] for name in decomposition.summands) == pytest.approx(whole, abs=1e-6)
    assert parts["polarisation"] < 0
    assert parts["qm"] == pytest.approx(
        parts["qm_vacuum"] + parts["permanent_coulomb"] + parts["polarisation"], abs=1e-6
    )
    # One water does little to itself by its images.
    assert abs(parts["long_range"]) < 1.0


def test_energy_is_conserved(box: Molecule) -> None:
    system = box.create_system(**PME | {"rigidWater": True})
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(box.positions)
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=50)
    relaxed = context.getState(positions=True).getPositions()
    mixed = QMMMPotential("gfn2-xtb").createMixedSystem(box.topology, system, [0, 1, 2], cutoff=0.7, farField="qm")
    integrator = createIntegrator(mixed, 0 * unit.kelvin, 0 / unit.picosecond, 0.25 * unit.femtosecond, 1)
    integrator.setConstraintTolerance(1e-9)
    context = openmm.Context(mixed, integrator, platform)
    context.setPositions(relaxed)
    context.setVelocitiesToTemperature(100, 1)
    energies = []
    for _ in range(60):
        integrator.step(1)
        state = context.getState(energy=True)
        energies.append(state.getPotentialEnergy()._value + state.getKineticEnergy()._value)
    assert np.ptp(energies) < 0.15


def test_a_far_charge_that_is_nowhere(box: Molecule) -> None:
    system = box.create_system(**PME)
    mixed = QMMMPotential("gfn2-xtb").createMixedSystem(box.topology, system, [0, 1, 2], cutoff=0.6, farField="qm")
    force = find_qm_force(mixed)
    context = openmm.Context(mixed, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    x = np.array(box.positions)
    distance = np.linalg.norm(x - x[0], axis=1)
    far = int(np.argmax(np.where(distance < 1.0, distance, 0)))
    x[far, 1] = np.nan
    context.setPositions(x)
    with pytest.raises(openmm.OpenMMException, match=r"position of .*not a finite number"):
        context.getState(energy=True, groups={force.getForceGroup()})


def test_a_far_field_of_nothing() -> None:
    beside = FarFieldForce([0], [2], EmbeddingCharges(periodic=True), {0: 0.5})
    with pytest.raises(openmm.OpenMMException, match="no charges around the region"):
        QMMMForce([0], [2], farField=beside)


REFUSED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"nonbondedMethod": app.NoCutoff}, {"cutoff": 0.7}, "PME or Ewald"),
    ({"nonbondedMethod": app.CutoffPeriodic}, {"cutoff": 0.7}, "reaction field"),
    ({}, {"embedding": "mechanical"}, "belong to electrostatic embedding"),
    ({}, {"cutoff": 0.7, "keepForces": ["NonbondedForce"]}, "keepForces"),
]


@pytest.mark.parametrize("force_field, options, message", REFUSED)
def test_where_there_is_none(box: Molecule, force_field: dict[str, Any], options: dict[str, Any], message: str) -> None:
    system = box.create_system(**PME | force_field)
    with pytest.raises(EmbeddingError, match=message):
        QMMMPotential("gfn2-xtb").createMixedSystem(box.topology, system, [0, 1, 2], farField="qm", **options)
