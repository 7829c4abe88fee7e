"""Beyond the embedding cut-off a region keeps its force-field charges; within it nothing is counted twice or lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm
import pytest
from numpy.typing import NDArray
from openmm import app, unit

from kstep_models.units import COULOMB
from openmmkstep import FarFieldForce
from openmmkstep.qmmm.embedding.errors import EmbeddingError
from openmmkstep.qmmm.force_field.division import SystemDivision
from openmmkstep.qmmm.forces import find_qm_force
from openmmkstep.qmmm.levels import force_groups
from openmmkstep.qmmm.molecule_graph import MoleculeGraph
from openmmkstep.qmmm.potential import QMMMPotential
from tests.support.qmmm.energies import energy_and_forces
from tests.support.qmmm.molecules import Molecule, make_topology, water_box

METHODS = {"PME": app.PME, "Ewald": app.Ewald, "LJPME": app.LJPME, "none": app.NoCutoff}
REFERENCE = "Reference"


@pytest.fixture(scope="module")
def box() -> Molecule:
    return water_box(2.1, "amber14/tip3p.xml", "tip3p")


def nonbonded_of(system: openmm.System) -> openmm.NonbondedForce:
    return next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))


def far_fields(system: openmm.System) -> list[FarFieldForce]:
    return [FarFieldForce.cast(force) for force in system.getForces() if FarFieldForce.isInstance(force)]


def fixed_charges(system: openmm.System, region: list[int]) -> QMMMPotential:
    """A method whose molecules have the charges of the force field whatever is around them, and no energy inside."""
    charges = [nonbonded_of(system).getParticleParameters(i)[0]._value for i in region]
    return QMMMPotential("test-analytic", charges=charges)


def make_ion(box: Molecule, water: int, charge: float, **options: Any) -> openmm.System:
    """The system, in which the oxygen of a water carries a charge and its hydrogens none."""
    system = box.create_system(**options)
    nonbonded = nonbonded_of(system)
    for particle, value in zip(range(3 * water, 3 * water + 3), (charge, 0.0, 0.0), strict=True):
        _, sigma, epsilon = nonbonded.getParticleParameters(particle)
        nonbonded.setParticleParameters(particle, value, sigma, epsilon)
    return system


def assert_same(found: tuple[float, NDArray[np.float64]], expected: tuple[float, NDArray[np.float64]]) -> None:
    assert found[0] == pytest.approx(expected[0], rel=1e-11)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-9, atol=1e-7)


@pytest.mark.parametrize("reach", [{"cutoff": 0.6}, {"cutoff": 0.9, "switchDistance": 0.3}])
@pytest.mark.parametrize("method", METHODS)
def test_a_method_with_the_charges_of_the_force_field_changes_nothing(
    box: Molecule, method: str, reach: dict[str, float]
) -> None:
    """Energies and forces are those of the force field, with nothing taken out but the region's own terms."""
    system = box.create_system(nonbondedMethod=METHODS[method], nonbondedCutoff=0.9, rigidWater=False)
    region = [0, 1, 2, 30, 31, 32]
    potential = fixed_charges(system, region)
    division = SystemDivision(system, region, MoleculeGraph(box.topology, system))
    expected = energy_and_forces(division.system, box.positions)
    mechanical = potential.createMixedSystem(box.topology, system, region, embedding="mechanical")
    assert_same(energy_and_forces(mechanical, box.positions), expected)
    mixed = potential.createMixedSystem(box.topology, system, region, **reach)
    assert_same(energy_and_forces(mixed, box.positions), expected)
    ended = potential.createMixedSystem(box.topology, system, region, farField="none", **reach)
    assert abs(energy_and_forces(ended, box.positions)[0] - expected[0]) > 1


def lattice_sum_without_region(
    box: Molecule, system: openmm.System, region: list[int], placed: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """All charges and their images, less the region's own pairs where the QM level has them, whatever the distance."""
    nonbonded = openmm.XmlSerializer.clone(nonbonded_of(system))
    charges = np.array([nonbonded.getParticleParameters(i)[0]._value for i in range(system.getNumParticles())])
    for index in range(nonbonded.getNumExceptions()):
        i, j, *_ = nonbonded.getExceptionParameters(index)
        if i in region:
            nonbonded.setExceptionParameters(index, i, j, charges[i] * charges[j], 1.0, 0.0)
    nonbonded.setExceptionsUsePeriodicBoundaryConditions(True)
    whole = openmm.XmlSerializer.clone(system)
    while whole.getNumForces():
        whole.removeForce(0)
    whole.addForce(nonbonded)
    energy, forces = energy_and_forces(whole, box.positions)
    for a, i in enumerate(region):
        for b, j in enumerate(region[:a]):
            delta = placed[a] - placed[b]
            distance = np.linalg.norm(delta)
            pair = COULOMB * charges[i] * charges[j] / distance
            energy -= pair
            forces[i] -= pair * delta / distance**2
            forces[j] += pair * delta / distance**2
    return energy, forces


@pytest.mark.parametrize("options", [{"cutoff": 0.7}, {"embedding": "mechanical"}])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_region_longer_than_half_the_box(box: Molecule, options: dict[str, Any], wrapped: bool) -> None:
    """Its ends are nearer to each other's images than to each other; the QM level has them in one piece."""
    system = box.create_system(nonbondedMethod=app.PME, nonbondedCutoff=0.9, ewaldErrorTolerance=1e-6)
    for index in range(system.getNumParticles()):
        charge, sigma, _ = nonbonded_of(system).getParticleParameters(index)
        nonbonded_of(system).setParticleParameters(index, charge, sigma, 0.0)
    x, width = np.array(box.positions), box.topology.getPeriodicBoxVectors()[0][0]._value
    order = np.argsort(np.linalg.norm(x[::3] - x.mean(axis=0), axis=1))
    region = sorted(int(3 * water + atom) for water in order[:30] for atom in range(3))
    mixed = fixed_charges(system, region).createMixedSystem(box.topology, system, region, **options)
    if wrapped:
        x[region[::4]] += width
        x[region[1::5]] -= [0, 2 * width, width]
    context = openmm.Context(mixed, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName(REFERENCE))
    context.setPositions(x)
    state = context.getState(energy=True, forces=True)
    placed = find_qm_force(mixed).getLastResult(context).positions
    assert np.linalg.norm(placed[:, None] - placed[None], axis=2).max() > 0.55 * width
    expected = lattice_sum_without_region(box, system, region, placed)
    assert state.getPotentialEnergy()._value == pytest.approx(expected[0], abs=1e-3)
    assert np.abs(state.getForces(asNumpy=True)._value - expected[1]).max() < 0.01


@pytest.mark.parametrize("options", [{"cutoff": 0.8}, {"embedding": "mechanical"}])
def test_atoms_may_be_wrapped_one_by_one(box: Molecule, options: dict[str, Any]) -> None:
    system = box.create_system(nonbondedMethod=app.PME, nonbondedCutoff=0.9)
    mixed = fixed_charges(system, [0, 1, 2]).createMixedSystem(box.topology, system, [0, 1, 2], **options)
    width = box.topology.getPeriodicBoxVectors()[0][0]._value
    x = np.array(box.positions)
    x[1, 0] += width
    x[2, 2] -= width
    assert_same(energy_and_forces(mixed, x), energy_and_forces(mixed, box.positions))


@pytest.mark.parametrize("charge", [-1.0, 1.0])
def test_pressure_of_a_charged_region(box: Molecule, charge: float) -> None:
    """The energy of an ion in a PME box follows the volume as with fixed charges; cut off, it is off by hundreds of
    bar, for 38 atoms per nm^3, in this one configuration."""
    system = make_ion(box, 5, charge, nonbondedMethod=app.PME, nonbondedCutoff=0.9)
    region, vectors = [15, 16, 17], np.array(box.topology.getPeriodicBoxVectors().value_in_unit(unit.nanometer))
    potential = fixed_charges(system, region)

    def pressure(mixed: openmm.System) -> float:
        """-dU/dV for molecules that move with the box, bar."""
        context = openmm.Context(mixed, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName(REFERENCE))
        molecules = np.asarray(box.positions).reshape(-1, 3, 3)
        energies, volumes = [], []
        for scale in (0.9999, 1.0001):
            moved = molecules + (scale - 1) * molecules.mean(axis=1, keepdims=True)
            context.setPeriodicBoxVectors(*scale * vectors)
            context.setPositions(moved.reshape(-1, 3))
            energies.append(context.getState(energy=True).getPotentialEnergy()._value)
            volumes.append(np.prod(np.diag(scale * vectors)))
        return -16.6054 * (energies[1] - energies[0]) / (volumes[1] - volumes[0])

    options: dict[str, Any] = {"charge": round(charge), "multiplicity": 2, "cutoff": 0.8}
    whole = potential.createMixedSystem(
        box.topology, system, region, round(charge), multiplicity=2, embedding="mechanical"
    )
    with_charges = pressure(whole)
    assert pressure(potential.createMixedSystem(box.topology, system, region, **options)) == pytest.approx(
        with_charges, abs=1e-3
    )
    cut_off = pressure(potential.createMixedSystem(box.topology, system, region, farField="none", **options))
    assert abs(cut_off - with_charges) > 10


def test_sites_of_the_region_keep_their_charges() -> None:
    """Where the embedding sees all charges in full, nothing of the region is left in the force field."""
    water = water_box(1.6, "amber14/tip4pew.xml", "tip4pew")
    system = water.create_system(nonbondedMethod=app.NoCutoff)
    potential = QMMMPotential("test-analytic", charges=[0.0] * 6)
    region = [0, 1, 2, 8, 9, 10]
    kept = potential.createMixedSystem(water.topology, system, region, cutoff=50.0, switchDistance=40.0)
    (far_field,) = far_fields(kept)
    assert sorted(far_field.getRegionCharges()) == [1, 2, 3, 9, 10, 11]
    removed = potential.createMixedSystem(water.topology, system, region, farField="none", cutoff=50.0)
    assert not far_fields(removed)
    assert_same(energy_and_forces(kept, water.positions), energy_and_forces(removed, water.positions))


@pytest.mark.parametrize("method", METHODS)
def test_pairs_that_the_force_field_excludes_across_the_border(box: Molecule, method: str) -> None:
    """The QM level sees these charges too, so that the force field must count them in full, at the nearest image."""
    system = box.create_system(nonbondedMethod=METHODS[method], nonbondedCutoff=0.9, ewaldErrorTolerance=1e-6)
    for index in range(0, nonbonded_of(system).getNumParticles()):
        charge, sigma, _ = nonbonded_of(system).getParticleParameters(index)
        nonbonded_of(system).setParticleParameters(index, charge, sigma, 0.0)
    region = [0, 1, 2]
    potential = fixed_charges(system, region)
    expected = energy_and_forces(potential.createMixedSystem(box.topology, system, region, cutoff=0.8), box.positions)
    # Farther apart than half the box as they stand, nearer by an image.
    x = np.asarray(box.positions)
    far = int(np.argmax(np.linalg.norm(x - x[0], axis=1)))
    nonbonded_of(system).addException(0, far, 0.0, 0.3, 0.0)
    nonbonded_of(system).addException(1, 60, 0.05, 0.3, 0.0)
    mixed = potential.createMixedSystem(box.topology, system, region, cutoff=0.8)
    found = energy_and_forces(mixed, box.positions)
    if method == "none":
        assert_same(found, expected)
    else:
        # Inside the cut-off of the direct sum a pair is as exact as the error tolerance.
        assert found[0] == pytest.approx(expected[0], abs=1e-4)
        assert np.abs(found[1] - expected[1]).max() < 1e-3


def test_groups(box: Molecule) -> None:
    """Beside the nonbonded force: the two nearly cancel, and what is left changes slowly."""
    system = box.create_system(nonbondedMethod=app.PME, nonbondedCutoff=0.9)
    potential = fixed_charges(system, [0, 1, 2])
    for split, group in ((False, force_groups.COMMON), (True, force_groups.SLOW_COMMON)):
        mixed = potential.createMixedSystem(box.topology, system, [0, 1, 2], cutoff=0.8, splitNonbonded=split)
        (far_field,) = far_fields(mixed)
        assert far_field.getForceGroup() == nonbonded_of(mixed).getForceGroup() == group


def offsets_of_the_region(system: openmm.System) -> None:
    nonbonded_of(system).addGlobalParameter("lambda", 0.5)
    nonbonded_of(system).addParticleParameterOffset("lambda", 0, 0.1, 0.0, 0.0)


def without_direct_space(system: openmm.System) -> None:
    nonbonded_of(system).setIncludeDirectSpace(False)


def without_charges(system: openmm.System) -> None:
    for index in range(3):
        _, sigma, epsilon = nonbonded_of(system).getParticleParameters(index)
        nonbonded_of(system).setParticleParameters(index, 0.0, sigma, epsilon)


@pytest.mark.parametrize(
    ("method", "change", "options", "message"),
    [
        (app.CutoffPeriodic, None, {"cutoff": 0.8}, "end at a cut-off .* use PME"),
        (app.CutoffNonPeriodic, None, {"cutoff": 0.8}, "end at a cut-off .* use PME"),
        (app.NoCutoff, None, {}, "without an embedding cut-off there is nothing beyond it"),
        (app.PME, offsets_of_the_region, {"cutoff": 0.8}, "depend on the global parameter 'lambda'"),
        (app.PME, without_direct_space, {"cutoff": 0.8}, "leaves out the direct space"),
        (app.PME, without_charges, {"cutoff": 0.8}, "gives the QM region no charges"),
    ],
)
def test_where_there_is_no_far_field(
    box: Molecule, method: Any, change: Any, options: dict[str, Any], message: str
) -> None:
    """Left to itself, the region's charges are removed; asked for, a far field is refused."""
    system = box.create_system(nonbondedMethod=method, nonbondedCutoff=0.9)
    if change is not None:
        change(system)
    potential = QMMMPotential("test-analytic", charges=[0.0] * 3)
    mixed = potential.createMixedSystem(box.topology, system, [0, 1, 2], **options)
    assert not far_fields(mixed)
    assert all(nonbonded_of(mixed).getParticleParameters(i)[0]._value == 0 for i in range(3))
    with pytest.raises(EmbeddingError, match=f"farField='force-field' is not possible: .*{message}"):
        potential.createMixedSystem(box.topology, system, [0, 1, 2], farField="force-field", **options)


@pytest.mark.parametrize("embedding", [{"cutoff": 0.8}, {"embedding": "mechanical"}])
def test_a_nonbonded_force_that_is_kept_as_it_is(box: Molecule, embedding: dict[str, Any]) -> None:
    """It excludes pairs of the region, which cannot be taken out of it then."""
    system = box.create_system(nonbondedMethod=app.PME, nonbondedCutoff=0.9)
    potential = QMMMPotential("test-analytic", charges=[0.0] * 3)
    options: dict[str, Any] = {"keepForces": ["NonbondedForce"], **embedding}
    mixed = potential.createMixedSystem(box.topology, system, [0, 1, 2], **options)
    assert not far_fields(mixed)
    assert energy_and_forces(mixed, box.positions)[0] == pytest.approx(energy_and_forces(system, box.positions)[0])
    if "cutoff" in embedding:
        with pytest.raises(EmbeddingError, match="not possible: keepForces keeps the NonbondedForce as it is"):
            potential.createMixedSystem(box.topology, system, [0, 1, 2], farField="force-field", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"embedding": "mechanical", "farField": "force-field"}, "farField belong to electrostatic embedding"),
        ({"embedding": "mechanical", "farField": "none"}, "farField belong to electrostatic embedding"),
        ({"cutoff": 0.8, "farField": "ewald"}, "must be 'force-field', 'qm' or 'none', got 'ewald'"),
    ],
)
def test_refusals(box: Molecule, options: dict[str, Any], message: str) -> None:
    system = box.create_system(nonbondedMethod=app.PME, nonbondedCutoff=0.9)
    with pytest.raises(EmbeddingError, match=message):
        QMMMPotential("gfn2-xtb").createMixedSystem(box.topology, system, [0, 1, 2], **options)


def test_a_region_that_is_the_whole_system() -> None:
    topology = make_topology([("HOH", ["O", "H", "H"], [(0, 1), (0, 2)])])
    system, nonbonded = openmm.System(), openmm.NonbondedForce()
    for charge in (-0.8, 0.4, 0.4):
        system.addParticle(1.0)
        nonbonded.addParticle(charge, 0.3, 0.0)
    system.addForce(nonbonded)
    potential = QMMMPotential("gfn2-xtb")
    assert not far_fields(potential.createMixedSystem(topology, system, range(3), farField="none"))
    with pytest.raises(EmbeddingError, match="not possible: the QM region is the whole system"):
        potential.createMixedSystem(topology, system, range(3), farField="force-field")
    with pytest.raises(EmbeddingError, match="must be 'force-field', 'qm' or 'none', got 'all'"):
        potential.createMixedSystem(topology, system, range(3), farField="all")  # type: ignore[arg-type]
