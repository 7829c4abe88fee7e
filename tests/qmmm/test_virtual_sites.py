"""A virtual site that QM atoms define is part of the region: it embeds nothing and need not be named."""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app

from openmmkstep.qmmm.force_field.division import SystemDivision
from openmmkstep.qmmm.forces import find_qm_force
from openmmkstep.qmmm.levels import force_groups
from openmmkstep.qmmm.molecule_graph import MoleculeGraph
from openmmkstep.qmmm.potential import QMMMPotential
from openmmkstep.qmmm.region import QMRegion, RegionError
from tests.support.qmmm.energies import energy_and_forces, with_forces
from tests.support.qmmm.molecules import Molecule, make_topology, water_box

MODELS = {"tip4pew": "amber14/tip4pew.xml", "opc": "amber14/opc.xml", "tip5p": "tip5p.xml"}


@pytest.fixture(scope="module", params=MODELS)
def water(request: pytest.FixtureRequest) -> Molecule:
    model = "tip4pew" if request.param == "opc" else request.param
    return water_box(2.0, MODELS[request.param], model)


def size_of_water(molecule: Molecule) -> int:
    return len(list(next(molecule.topology.residues()).atoms()))


def charges_of(system: openmm.System) -> np.ndarray:
    nonbonded = next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    return np.array([nonbonded.getParticleParameters(i)[0]._value for i in range(nonbonded.getNumParticles())])


def test_energy_of_a_qm_water_in_four_site_water() -> None:
    water = water_box(2.0, "amber14/tip4pew.xml", "tip4pew")
    mixed = QMMMPotential("gfn2-xtb").createMixedSystem(water.topology, water.create_system(), [0, 1, 2], cutoff=0.8)
    qm_force = find_qm_force(mixed)
    assert list(qm_force.getEmbeddingCharges().getCharges()[0][:3]) == [5, 6, 7]
    context = openmm.Context(mixed, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(water.positions)
    context.computeVirtualSites()
    energy = context.getState(energy=True, groups={force_groups.QM}).getPotentialEnergy()._value
    assert energy == pytest.approx(-13388.067, abs=1e-3)
    # The embedded molecule has the charges of water, and not those of water that sees its own.
    assert qm_force.getLastResult(context).charges[0] == pytest.approx(-0.679, abs=2e-3)


def test_own_sites_belong_to_the_region_named_or_not(water: Molecule) -> None:
    system, size = water.create_system(), size_of_water(water)
    systems = [
        QMMMPotential("gfn2-xtb").createMixedSystem(water.topology, system, atoms, cutoff=0.8, farField="none")
        for atoms in ([0, 1, 2, size, size + 1, size + 2], range(2 * size))
    ]
    assert openmm.XmlSerializer.serialize(systems[0]) == openmm.XmlSerializer.serialize(systems[1])
    particles, charges, groups = find_qm_force(systems[0]).getEmbeddingCharges().getCharges()
    assert particles.min() >= 2 * size
    np.testing.assert_allclose(np.bincount(groups, charges), 0, atol=1e-6)
    np.testing.assert_array_equal(charges_of(systems[0])[: 2 * size], 0)
    np.testing.assert_array_equal(charges_of(systems[0])[2 * size :], charges_of(system)[2 * size :])


def test_region_and_surroundings_add_up(water: Molecule) -> None:
    """With mechanical embedding, Coulomb and Lennard-Jones of sites included, in vacuum."""
    size = size_of_water(water)
    system = water.create_system(nonbondedMethod=app.NoCutoff, rigidWater=True, flexibleConstraints=True)
    graph = MoleculeGraph(water.topology, system)
    region = QMRegion.create(water.topology, system, [0, 1, 2, size, size + 1, size + 2], 0, 1, graph)
    assert region.members == tuple(range(2 * size)) and region.sites == tuple(
        i for i in range(2 * size) if i % size > 2
    )
    division = SystemDivision(system, region.members, graph)
    removed = division.region_forces()
    pairs = next(force for force in removed if force.getName() == "RegionPairs")
    assert pairs.getNumBonds() > 0
    whole, whole_forces = energy_and_forces(system, water.positions)
    both, both_forces = energy_and_forces(with_forces(division.system, removed), water.positions)
    assert both == pytest.approx(whole, rel=1e-10)
    np.testing.assert_allclose(both_forces, whole_forces, rtol=1e-8, atol=1e-4)


def two_molecules_and_a_site_between() -> tuple[app.Topology, openmm.System]:
    topology = make_topology([("HOH", ["O", "H", "H"], [(0, 1), (0, 2)]) for _ in range(2)] + [("MID", [""], [])])
    system = openmm.System()
    nonbonded = openmm.NonbondedForce()
    for index in range(7):
        system.addParticle(0 if index == 6 else 10)
        nonbonded.addParticle(0.1, 0.3, 0.1)
    system.setVirtualSite(6, openmm.TwoParticleAverageSite(0, 3, 0.5, 0.5))
    system.addForce(nonbonded)
    return topology, system


def test_a_site_between_region_and_surroundings_is_refused() -> None:
    topology, system = two_molecules_and_a_site_between()
    message = (
        r"virtual site M0 of MID .*\(index 6\) is defined by O0 of HOH .*\(index 0\) in the QM region and by O0 .*"
    )
    with pytest.raises(RegionError, match=message + r"\(index 3\) outside"):
        QMRegion.create(topology, system, [0, 1, 2], 0, 1)
    assert QMRegion.create(topology, system, range(6), 0, 1).sites == (6,)


def test_a_site_of_the_surroundings_is_no_qm_atom(water: Molecule) -> None:
    size = size_of_water(water)
    with pytest.raises(RegionError, match=r"is a virtual site and cannot be a QM atom: name the atoms that define it"):
        QMRegion.create(water.topology, water.create_system(), [0, 1, 2, size + 3], 0, 1)


def test_sites_of_sites(water: Molecule) -> None:
    """A site is the region's if its parents are sites of QM atoms."""
    topology = make_topology([("HOH", ["O", "H", "H", "", ""], [(0, 1), (0, 2), (0, 3)])])
    system = openmm.System()
    for index in range(5):
        system.addParticle(0 if index > 2 else 10)
    system.setVirtualSite(3, openmm.TwoParticleAverageSite(0, 1, 0.7, 0.3))
    system.setVirtualSite(4, openmm.TwoParticleAverageSite(3, 2, 0.7, 0.3))
    region = QMRegion.create(topology, system, [0, 1, 2], 0, 1)
    assert region.sites == (3, 4)
    # The bond between oxygen and site in the topology, as Amber files have it, is neither cut nor one of the molecule.
    assert region.bonds.tolist() == [[0, 1], [0, 2]]


@pytest.mark.parametrize("options", [{"cutoff": 0.8}, {"embedding": "mechanical"}])
def test_forces_on_qm_atoms_are_those_of_the_energy(options: dict[str, Any]) -> None:
    """What acts on a site acts on the atoms that carry it."""
    water = water_box(2.0, "amber14/tip4pew.xml", "tip4pew")
    system = water.create_system(ewaldErrorTolerance=1e-6)
    mixed = QMMMPotential("gfn2-xtb").createMixedSystem(water.topology, system, [0, 1, 2], **options)
    context = openmm.Context(mixed, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))

    def state(positions: np.ndarray) -> openmm.State:
        context.setPositions(positions)
        context.computeVirtualSites()
        return context.getState(energy=True, forces=True)

    forces = state(water.positions).getForces(asNumpy=True)._value
    for particle in (0, 1, 4):
        energies = []
        for sign in (1, -1):
            moved = water.positions.copy()
            moved[particle, 0] += sign * 2e-5
            energies.append(state(moved).getPotentialEnergy()._value)
        expected = (energies[1] - energies[0]) / 4e-5
        assert forces[particle, 0] == pytest.approx(expected, rel=2e-4, abs=0.05)
