"""createIntegrator() finds the forces of every level, whatever the system and whatever was added to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app, unit

from openmmkstep import KStepIntegrator, QMMMPotential, createIntegrator, minimize
from openmmkstep.qmmm.force_field.recognition import UnsupportedForceFieldError
from openmmkstep.qmmm.forces import find_qm_force
from openmmkstep.qmmm.levels import force_groups
from openmmkstep.qmmm.levels.settings import LevelError, LevelSettings
from tests.support.models.springs import write_springs
from tests.support.qmmm.molecules import Molecule

SPRINGS = {"harmonic": [{"atoms": [0, 1], "k": 1e5, "length": 0.1}]}
WATER = [22, 23, 24]


@pytest.fixture
def archive(tmp_path: Path, ala2: Molecule) -> Path:
    return write_springs(tmp_path / "springs.pt", ala2.topology, ala2.positions)


def solvated(molecule: Molecule, atoms: list[int], **options: Any) -> openmm.System:
    system = molecule.create_system(nonbondedMethod=app.PME, nonbondedCutoff=0.9)
    potential = QMMMPotential("test-analytic", **SPRINGS)
    return potential.createMixedSystem(molecule.topology, system, atoms, cutoff=0.8, **options)


def isolated(molecule: Molecule, **options: Any) -> openmm.System:
    atoms = range(molecule.topology.getNumAtoms())
    potential = QMMMPotential("test-analytic", **SPRINGS)
    return potential.createMixedSystem(molecule.topology, molecule.create_system(), atoms, **options)


def bias(group: int = 0) -> openmm.CustomBondForce:
    force = openmm.CustomBondForce("500*(r-0.5)^2")
    force.setName("umbrella")
    force.addBond(0, 18)
    force.setForceGroup(group)
    return force


def start(system: openmm.System, integrator: KStepIntegrator, positions: Any) -> openmm.Context:
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    context.setVelocitiesToTemperature(300, 1)
    return context


@pytest.mark.filterwarnings("ignore:.*trained on gfn2-xtb")
def test_all_levels(solvated_ala2: Molecule, ala2_atoms: list[int], archive: Path) -> None:
    mixed = solvated(solvated_ala2, ala2_atoms, surrogate=archive, baseLevel="force-field", splitNonbonded=True)
    arguments = (300 * unit.kelvin, 1 / unit.picosecond, 0.5 * unit.femtosecond, 8)
    integrator = createIntegrator(mixed, *arguments, surrogatePeriod=2, nonbondedPeriod=4)
    assert integrator.getSurrogateLevels() == {force_groups.BASE_LEVEL: 1, force_groups.SURROGATE: 2}
    assert integrator.getCommonGroups() == {force_groups.SLOW_COMMON: 4}
    assert integrator.getQMGroup() == force_groups.QM
    assert integrator.getMonitoredParticles() == ala2_atoms
    assert integrator.getInnerStepSize() == 0.5 * unit.femtosecond and integrator.getK() == 8
    assert integrator.getTemperature() == 300 * unit.kelvin and integrator.getFriction() == 1 / unit.picosecond
    # Springs instead of a trained surrogate: the guard would redo the step.
    integrator.setMaxEnergyError(1e9)
    integrator.setMaxCorrection(1e9)
    context = start(mixed, integrator, solvated_ala2.positions)
    integrator.step(1)
    statistics = integrator.getStatistics()
    assert (statistics.qmCalls, statistics.surrogateCalls) == (2, [9, 5])
    assert find_qm_force(mixed).getNumCalls(context) == 2


@pytest.mark.filterwarnings("ignore:.*trained on gfn2-xtb")
@pytest.mark.parametrize("levels", [True, False], ids=["all levels", "QM alone"])
def test_minimisation_in_water(solvated_ala2: Molecule, ala2_atoms: list[int], archive: Path, levels: bool) -> None:
    """Rigid water stays rigid, the energy is that of the Hamiltonian, and its cost is told from that of dynamics."""
    options = {"surrogate": archive, "baseLevel": "force-field"} if levels else {}
    system = solvated_ala2.create_system(nonbondedMethod=app.PME, nonbondedCutoff=0.9)
    potential = QMMMPotential("gfn2-xtb")
    mixed = potential.createMixedSystem(solvated_ala2.topology, system, ala2_atoms, cutoff=0.8, **options)
    integrator = createIntegrator(mixed, 0.0005, 2 if levels else 1)
    platform = openmm.Platform.getPlatformByName("CPU")
    simulation = app.Simulation(solvated_ala2.topology, mixed, integrator, platform, {"Threads": "1"})
    simulation.context.setPositions(solvated_ala2.positions)
    result = minimize(simulation, maxIterations=5)
    assert result.energyAfter < result.energyBefore
    state = simulation.context.getState(positions=True, energy=True, groups=integrator.getIntegrationForceGroups())
    # The platform has single precision.
    assert state.getPotentialEnergy()._value == pytest.approx(result.energyAfter._value, rel=1e-6)
    assert result.qmCalls == find_qm_force(mixed).getNumCalls(simulation.context)
    statistics = integrator.getStatistics()
    assert (statistics.qmCalls, statistics.otherQMCalls) == (0, result.qmCalls)
    x = state.getPositions(asNumpy=True)._value
    assert mixed.getNumConstraints() > 900
    for index in range(mixed.getNumConstraints()):
        i, j, length = mixed.getConstraintParameters(index)
        assert np.linalg.norm(x[i] - x[j]) == pytest.approx(length._value, rel=2e-6)


@pytest.mark.parametrize("split", [False, True])
def test_bonded_forces_of_the_surroundings(solvated_ala2: Molecule, split: bool) -> None:
    """A QM water beside an MM molecule with bonds: the fast common group is there."""
    mixed = solvated(solvated_ala2, WATER, splitNonbonded=split)
    integrator = createIntegrator(mixed, 0.0005, 1)
    expected = {force_groups.COMMON: 1} | ({force_groups.SLOW_COMMON: 1} if split else {})
    assert integrator.getCommonGroups() == expected
    context = start(mixed, integrator, solvated_ala2.positions)
    integrator.step(2)
    assert context.getTime() == 0.001 * unit.picosecond and integrator.getFriction()._value == 0


@pytest.mark.parametrize("group", [0, 4, 5, 17, 31])
@pytest.mark.parametrize("later", [False, True])
def test_biases_in_any_group_belong_to_the_hamiltonian(ala2: Molecule, group: int, later: bool) -> None:
    system = ala2.create_system()
    if not later:
        system.addForce(bias(group))
    mixed = QMMMPotential("test-analytic", **SPRINGS).createMixedSystem(ala2.topology, system, range(22))
    if later:
        mixed.addForce(bias(group))
    integrator = createIntegrator(mixed, 0.0005, 1)
    context = start(mixed, integrator, ala2.positions)
    integrator.step(1)
    state = context.getState(energy=True, positions=True)
    x = np.asarray(state.getPositions(asNumpy=True)._value)
    expected = 500 * (np.linalg.norm(x[0] - x[18]) - 0.5) ** 2 + 0.5e5 * (np.linalg.norm(x[0] - x[1]) - 0.1) ** 2
    assert integrator.getStatistics().potentialEnergy == pytest.approx(expected, rel=1e-9)
    groups = integrator.getIntegrationForceGroups()
    groups = {g for g in range(32) if groups >> g & 1} if isinstance(groups, int) else set(groups)
    assert context.getState(energy=True, groups=groups).getPotentialEnergy()._value == pytest.approx(expected, rel=1e-9)


def test_metadynamics_on_a_mixed_system(ala2: Molecule) -> None:
    """app.Metadynamics takes the highest free force group, adds hills, and the dynamics feels them."""
    mixed = isolated(ala2)
    torsion = openmm.CustomTorsionForce("theta")
    torsion.addTorsion(4, 6, 8, 14)
    variable = app.BiasVariable(torsion, -np.pi, np.pi, 0.35, True, gridWidth=50)
    sampler = app.Metadynamics(mixed, [variable], 300 * unit.kelvin, 5, 2 * unit.kilojoule_per_mole, 4)
    integrator = createIntegrator(mixed, 300, 1, 0.0005, 1)
    assert integrator.getCommonGroups() == {force_groups.COMMON: 1, 31: 1}
    simulation = app.Simulation(ala2.topology, mixed, integrator, openmm.Platform.getPlatformByName("Reference"))
    simulation.context.setPositions(ala2.positions)
    simulation.context.setVelocitiesToTemperature(300, 1)
    sampler.step(simulation, 12)
    height = simulation.context.getState(energy=True, groups={31}).getPotentialEnergy()._value
    assert height > 3
    forces = simulation.context.getState(forces=True, groups={31}).getForces(asNumpy=True)._value
    assert np.abs(forces[[4, 6, 8, 14]]).max() > 0


def test_forces_without_energy_are_not_evaluated_at_every_inner_step(ala2: Molecule) -> None:
    mixed = isolated(ala2, baseLevel="force-field")
    assert createIntegrator(mixed, 0.0005, 6).getCommonGroups() == {force_groups.COMMON: 6}
    mixed.addForce(bias())
    assert createIntegrator(mixed, 0.0005, 6).getCommonGroups() == {force_groups.COMMON: 1}


def test_a_base_level_alone(ala2: Molecule) -> None:
    mixed = isolated(ala2, baseLevel="force-field")
    integrator = createIntegrator(mixed, 0.0005, 4)
    assert integrator.getSurrogateLevels() == {force_groups.BASE_LEVEL: 1}
    context = start(mixed, integrator, ala2.positions)
    integrator.step(2)
    assert find_qm_force(mixed).getNumCalls(context) == integrator.getStatistics().qmCalls == 3


def test_monitored_particles_can_be_chosen(ala2: Molecule) -> None:
    assert createIntegrator(isolated(ala2), 0.0005, 1, monitoredParticles=[3]).getMonitoredParticles() == [3]


def with_bias(group: int) -> Callable[[Molecule], openmm.System]:
    def make(molecule: Molecule) -> openmm.System:
        system = isolated(molecule, baseLevel="force-field")
        system.addForce(bias(group))
        return system

    return make


REFUSED: dict[str, tuple[Callable[[Molecule], openmm.System], tuple[Any, ...], dict[str, Any], str]] = {
    **{
        f"bias among the levels, {group}": (with_bias(group), (0.0005, 2), {}, r"\(CustomBondForce 'umbrella'\) is in")
        for group in sorted(force_groups.LEVELS)
    },
    "no level below": (isolated, (0.0005, 4), {}, "k = 4 needs a level below QM"),
    "no base level": (isolated, (0.0005, 4), {"surrogatePeriod": 2}, "k = 4 needs a level below QM"),
    "no surrogate": (with_bias(0), (0.0005, 4), {"surrogatePeriod": 2}, "every 2 inner steps needs a base level"),
    "period": (with_bias(0), (0.0005, 4), {"nonbondedPeriod": 3}, "nonbonded_period 3 must divide k = 4.* 1, 2, 4"),
    "fractional k": (with_bias(0), (0.0005, 4.7), {}, "k must be a positive integer, got 4.7"),
    "no k": (with_bias(0), (0.0005, 0), {}, "k must be a positive integer, got 0"),
    "no step": (with_bias(0), (0.0, 4), {}, "inner_step must be a positive time, got 0.0 ps"),
    "endless step": (with_bias(0), (float("inf"), 4), {}, "inner_step must be a positive time"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(ala2: Molecule, name: str) -> None:
    make, arguments, options, message = REFUSED[name]
    with pytest.raises(LevelError, match=message):
        createIntegrator(make(ala2), *arguments, **options)


def test_nonbonded_forces_that_were_not_split_off(solvated_ala2: Molecule, ala2_atoms: list[int]) -> None:
    mixed = solvated(solvated_ala2, ala2_atoms, baseLevel="force-field")
    with pytest.raises(LevelError, match=r"nonbonded forces every 2 inner steps .* splitNonbonded=True"):
        createIntegrator(mixed, 0.0005, 2, nonbondedPeriod=2)


def test_the_reciprocal_space_as_a_level_of_its_own(solvated_ala2: Molecule, ala2_atoms: list[int]) -> None:
    """The same Hamiltonian, and dynamics that are no others where all periods are the same."""
    states = []
    for split in (False, True):
        mixed = solvated(solvated_ala2, ala2_atoms, baseLevel="force-field", splitNonbonded=True, splitReciprocal=split)
        integrator = createIntegrator(mixed, 0.0005, 4, nonbondedPeriod=2)
        groups = {force_groups.SLOW_COMMON: 2} | ({force_groups.RECIPROCAL: 2} if split else {})
        assert integrator.getCommonGroups() == groups
        integrator.setMaxEnergyError(1e9)
        integrator.setMaxCorrection(1e9)
        context = start(mixed, integrator, solvated_ala2.positions)
        integrator.step(2)
        state = context.getState(positions=True, energy=True, groups={force_groups.QM, *groups})
        assert integrator.getStatistics().potentialEnergy == pytest.approx(state.getPotentialEnergy()._value, rel=1e-9)
        states.append(state)
    one, two = (state.getPositions(asNumpy=True)._value for state in states)
    assert np.abs(one - two).max() < 1e-9
    slower = createIntegrator(mixed, 300, 1.0, 0.0005, 4, nonbondedPeriod=2, reciprocalPeriod=4)
    assert slower.getCommonGroups() == {force_groups.SLOW_COMMON: 2, force_groups.RECIPROCAL: 4}
    slower.setMaxEnergyError(1e9)
    slower.setMaxCorrection(1e9)
    context = start(mixed, slower, solvated_ala2.positions)
    slower.step(2)
    assert context.getStepCount() == 2
    # Both at the ends, the direct space once more in between; at the start too.
    assert slower.getStatistics().commonCalls == 2 + 2 * 3


def test_a_reciprocal_space_that_is_not_there(solvated_ala2: Molecule, ala2: Molecule, ala2_atoms: list[int]) -> None:
    mixed = solvated(solvated_ala2, ala2_atoms, baseLevel="force-field", splitNonbonded=True)
    with pytest.raises(LevelError, match=r"reciprocal space every 4 inner steps .* splitReciprocal=True"):
        createIntegrator(mixed, 0.0005, 4, nonbondedPeriod=2, reciprocalPeriod=4)
    with pytest.raises(LevelError, match="reciprocal_period 3 must divide k = 4"):
        createIntegrator(mixed, 0.0005, 4, nonbondedPeriod=2, reciprocalPeriod=3)
    with pytest.raises(UnsupportedForceFieldError, match="no reciprocal space that could be split off"):
        isolated(ala2, splitReciprocal=True)
    nonbonded = next(force for force in mixed.getForces() if isinstance(force, openmm.NonbondedForce))
    nonbonded.setReciprocalSpaceForceGroup(force_groups.QM)
    with pytest.raises(LevelError, match=r"the reciprocal space of force .* is in force group 2"):
        createIntegrator(mixed, 0.0005, 4, nonbondedPeriod=2)


def test_systems_without_a_qm_level_and_wrong_arguments(ala2: Molecule) -> None:
    with pytest.raises(ValueError, match="no force of the system tells which particles are the region"):
        createIntegrator(ala2.create_system(), 0.0005, 1)
    with pytest.raises(TypeError, match="not 3 arguments after the system"):
        createIntegrator(isolated(ala2), 300, 0.0005, 1)


def test_the_integrator_survives_a_round_trip_of_the_system(ala2: Molecule) -> None:
    """Roles are recognised in a system that comes from a file too."""
    mixed = isolated(ala2, baseLevel="force-field")
    copy = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(mixed))
    one, two = (createIntegrator(system, 0.0005, 2) for system in (mixed, copy))
    assert one.getSurrogateLevels() == two.getSurrogateLevels() == {force_groups.BASE_LEVEL: 1}
    assert one.getMonitoredParticles() == two.getMonitoredParticles() == list(find_qm_force(copy).getParticles())


def test_level_settings() -> None:
    levels = LevelSettings(8, 0.0005, surrogate_period=2, nonbonded_period=4)
    assert levels.outer_step == pytest.approx(0.004)
    with pytest.raises(LevelError, match="surrogate_period must be a positive integer, got True"):
        LevelSettings(8, 0.0005, surrogate_period=True)
