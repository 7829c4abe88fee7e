"""Levels are methods: QM methods, archives, any OpenMM forces, and their sums, below the QM level and in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app, unit

from openmmkstep import QMMMPotential, createIntegrator
from openmmkstep.engines.protocol import EngineError
from openmmkstep.io.labels import LabelSource
from openmmkstep.openmmapi.qmmm_force import QMMMForce
from openmmkstep.qmmm.embedding.errors import EmbeddingError
from openmmkstep.qmmm.forces import find_qm_force, is_region_mark, marked_state, region_particles
from openmmkstep.qmmm.level_parts import BondedFitPart, EnginePart, ForcePart, level_of
from openmmkstep.qmmm.levels import force_groups
from openmmkstep.qmmm.levels.settings import LevelError
from openmmkstep.surrogates.bonded_fit.model import BondedFit
from tests.support.models.springs import write_springs
from tests.support.qmmm.cut_molecules import SIDE_CHAIN
from tests.support.qmmm.molecules import Molecule

DIFFERENCE = {"level_of_theory": {"method": "gfn2-xtb", "minus": {"method": "gfn1-xtb"}}}
WATER = [22, 23, 24]


def energy_and_forces(system: openmm.System, positions: Any, groups: int = -1) -> tuple[float, Any]:
    """Energy, kJ/mol, and forces of force groups, kJ/mol/nm."""
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    state = context.getState(energy=True, forces=True, groups=groups)
    return state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value


def isolated(molecule: Molecule, method: Any = "gfn2-xtb", **options: Any) -> openmm.System:
    potential = method if isinstance(method, QMMMPotential) else QMMMPotential(method)
    atoms = range(molecule.topology.getNumAtoms())
    return potential.createMixedSystem(molecule.topology, molecule.create_system(), atoms, **options)


@pytest.fixture
def difference(tmp_path: Path, ala2: Molecule) -> Path:
    return write_springs(tmp_path / "difference.pt", ala2.topology, ala2.positions, **DIFFERENCE)


def test_a_method_and_a_difference_are_summed_in_one_group(ala2: Molecule, difference: Path) -> None:
    positions = ala2.positions + np.random.default_rng(1).normal(0, 0.002, ala2.positions.shape)
    mixed = isolated(ala2, surrogate=["gfn1-xtb", difference])
    total = energy_and_forces(mixed, positions, 1 << force_groups.SURROGATE)
    method = energy_and_forces(isolated(ala2, "gfn1-xtb"), positions, 1 << force_groups.QM)
    for force in mixed.getForces():
        if force.getForceGroup() == force_groups.SURROGATE and not QMMMForce.isInstance(force):
            force.setForceGroup(20)
    springs = energy_and_forces(mixed, positions, 1 << 20)
    assert abs(springs[1]).max() > 1
    np.testing.assert_allclose(total[0], method[0] + springs[0], rtol=1e-9)
    np.testing.assert_allclose(total[1], method[1] + springs[1], atol=1e-6)


def test_a_method_below_another_carries_the_inner_steps(ala2: Molecule) -> None:
    """The correction is the difference of the two methods, and the one above is called once per outer step."""
    mixed = isolated(ala2, surrogate="GFN1-xTB")
    integrator = createIntegrator(mixed, 0.0005, 4)
    context = openmm.Context(mixed, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(ala2.positions)
    context.setVelocitiesToTemperature(300, 1)
    integrator.step(5)
    statistics = integrator.getStatistics()
    assert (statistics.qmCalls, statistics.surrogateCalls, statistics.fallbacks) == (6, [21], 0)
    assert find_qm_force(mixed).getEngine() == "gfn2-xtb"
    state = context.getState(positions=True)
    forces = [
        context.getState(forces=True, groups=1 << group).getForces(asNumpy=True)._value
        for group in (force_groups.QM, force_groups.SURROGATE)
    ]
    assert state.getTime() == 0.01 * unit.picosecond
    expected = np.sqrt(np.mean((forces[0] - forces[1]) ** 2))
    assert statistics.correctionRMS == pytest.approx(expected, rel=1e-3)
    assert abs(statistics.cumulativeEnergyError) < 5


def test_a_method_below_another_sees_the_same_charges(solvated_ala2: Molecule, ala2_atoms: list[int]) -> None:
    system = solvated_ala2.create_system(nonbondedMethod=app.PME, nonbondedCutoff=0.9, flexibleConstraints=True)
    mixed = QMMMPotential("gfn2-xtb").createMixedSystem(
        solvated_ala2.topology,
        system,
        WATER,
        cutoff=0.8,
        surrogate=QMMMPotential("gfn1-xtb", accuracy=0.02),
        baseLevel="force-field",
    )
    found = {force.getForceGroup(): force for force in mixed.getForces() if QMMMForce.isInstance(force)}
    above, below = (QMMMForce.cast(found[group]) for group in (force_groups.QM, force_groups.SURROGATE))
    assert below.getEngineSettings()["accuracy"] == 0.02
    seen = [force.getEmbeddingCharges().getCharges() for force in (above, below)]
    for one, other in zip(*seen, strict=True):
        np.testing.assert_array_equal(one, other)
    integrator = createIntegrator(mixed, 0.0005, 4, surrogatePeriod=2)
    assert integrator.getSurrogateLevels() == {force_groups.BASE_LEVEL: 1, force_groups.SURROGATE: 2}
    assert region_particles(mixed) == WATER


def test_any_force_is_a_level(ala2: Molecule) -> None:
    """A copy of it is taken, and recognised in a system from a file."""
    force = openmm.CustomBondForce("1000*(r-0.15)^2")
    force.addBond(0, 1)
    mixed = isolated(ala2, "test-analytic", surrogate=[force, "gfn1-xtb"])
    force.addBond(1, 2)
    copy = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(mixed))
    for system in (mixed, copy):
        names = [f.getName() for f in system.getForces() if f.getForceGroup() == force_groups.SURROGATE]
        assert names[0] == "SurrogateCustomBondForce"
        assert createIntegrator(system, 0.0005, 8).getSurrogateLevels() == {force_groups.SURROGATE: 1}
    taken = next(f for f in mixed.getForces() if f.getName() == "SurrogateCustomBondForce")
    assert taken.getNumBonds() == 1


def test_the_base_level_may_be_a_method(ala2: Molecule) -> None:
    mixed = isolated(ala2, surrogate="gfn1-xtb", baseLevel="gfn-ff")
    assert createIntegrator(mixed, 0.0005, 8, surrogatePeriod=4).getSurrogateLevels() == {
        force_groups.BASE_LEVEL: 1,
        force_groups.SURROGATE: 4,
    }


def test_what_parts_are_taken_for(tmp_path: Path, difference: Path) -> None:
    engine, archive = level_of(["gfn1-xtb", str(difference)])
    assert isinstance(engine, EnginePart) and engine.engine.settings["accuracy"] == 0.01
    assert archive.minus == "gfn1-xtb"
    assert isinstance(level_of(openmm.HarmonicBondForce())[0], ForcePart)
    fit = tmp_path / "fit"
    BondedFit((1,), [], [], [], [], {"level_of_theory": {"method": "gfn2-xtb", "minus": {"method": "gfn1-xtb"}}}).write(
        fit
    )
    added = level_of(["gfn1-xtb", fit])[1]
    assert isinstance(added, BondedFitPart) and added.minus == "gfn1-xtb"
    assert level_of(None) == ()


@pytest.mark.parametrize(
    ("surrogate", "message"),
    [
        (["gfn1-xtb", "gfn2-xtb"], "gfn1-xtb and gfn2-xtb both describe the whole region"),
        (["gfn1-xtb", "{difference}", "{difference}"], "are both differences from gfn1-xtb"),
        (["{difference}"], r"difference.pt is a difference from gfn1-xtb and must be added to it: give \['gfn1-xtb', "),
        (["gfn2-xtb", "{difference}"], "is a difference from gfn1-xtb"),
        ("gfn3-xtb", r"'gfn3-xtb' is neither a file nor a QM method: .*gfn2-xtb"),
        ([], "at least one part"),
        (5, "5 cannot be a level"),
    ],
)
def test_sums_that_make_no_sense(ala2: Molecule, difference: Path, surrogate: Any, message: str) -> None:
    if isinstance(surrogate, list):
        surrogate = [part.format(difference=difference) for part in surrogate]
    with pytest.raises(LevelError, match=message):
        isolated(ala2, surrogate=surrogate)


@pytest.mark.parametrize(
    "force", [openmm.MonteCarloBarostat(1, 300), openmm.CMMotionRemover(), openmm.AndersenThermostat(300, 1)]
)
def test_what_has_no_energy_is_no_level(ala2: Molecule, force: openmm.Force) -> None:
    message = rf"{type(force).__name__} has no potential energy .* mixed.addForce"
    for levels in ({"surrogate": ["gfn1-xtb", force]}, {"surrogate": "gfn1-xtb", "baseLevel": [force]}):
        with pytest.raises(LevelError, match=message):
            isolated(ala2, **levels)
    with pytest.raises(LevelError, match=message):
        QMMMPotential(force)


def test_differences_stand_on_each_other(tmp_path: Path) -> None:
    """GFN-FF, what GFN1 says beyond it, and what GFN2 says beyond that; none of them may be missing."""

    def difference(above: str, below: str) -> Path:
        path = tmp_path / f"{above}-{below}"
        theory = {"method": above, "minus": {"method": below}}
        BondedFit((1,), [], [], [], [], {"level_of_theory": theory}).write(path)
        return path

    lower, upper = difference("gfn1-xtb", "gfn-ff"), difference("gfn2-xtb", "gfn1-xtb")
    for parts in (["gfn-ff", lower, upper], [upper, lower, "gfn-ff"]):
        assert len(level_of(parts)) == 3
    with pytest.raises(LevelError, match="gfn2-xtb-gfn1-xtb is a difference from gfn1-xtb and must be added to it"):
        level_of(["gfn-ff", upper])
    with pytest.raises(LevelError, match="are both differences from gfn1-xtb"):
        level_of(["gfn-ff", lower, upper, difference("gfn0-xtb", "gfn1-xtb")])


def test_a_method_below_that_takes_no_charges_is_refused_at_once(solvated_ala2: Molecule) -> None:
    system = solvated_ala2.create_system(nonbondedMethod=app.PME, nonbondedCutoff=0.9)
    potential = QMMMPotential("gfn2-xtb")
    with pytest.raises(EngineError, match="gfn-ff"):
        potential.createMixedSystem(solvated_ala2.topology, system, WATER, cutoff=0.8, surrogate="gfn-ff")


def test_the_force_field_as_top_level(solvated_ala2: Molecule, ala2_atoms: list[int]) -> None:
    """k-step MM: the Hamiltonian of the levels is that of the force field, to the last digits."""
    system = solvated_ala2.create_system(nonbondedMethod=app.PME, nonbondedCutoff=0.9, constraints=None)
    mixed = QMMMPotential("force-field").createMixedSystem(
        solvated_ala2.topology, system, ala2_atoms, embedding="mechanical", surrogate="gfn2-xtb"
    )
    integrator = createIntegrator(mixed, 0.0005, 4)
    assert integrator.getMonitoredParticles() == ala2_atoms
    whole = energy_and_forces(system, solvated_ala2.positions)
    groups = integrator.getIntegrationForceGroups()
    energy, forces = energy_and_forces(mixed, solvated_ala2.positions, groups)
    assert energy == pytest.approx(whole[0], abs=1e-6 * abs(whole[0]))
    np.testing.assert_allclose(forces, whole[1], atol=1e-5 * abs(whole[1]).max())
    potential = QMMMPotential("force-field")
    with pytest.raises(EmbeddingError, match=r"force-field does not see the MM charges.*embedding='mechanical'"):
        potential.createMixedSystem(solvated_ala2.topology, system, ala2_atoms, cutoff=0.8)


def test_a_region_that_no_level_tells_is_marked(ala2: Molecule) -> None:
    """Through files, too; with no energy, and not where a level tells."""
    mixed = QMMMPotential("force-field").createMixedSystem(
        ala2.topology, ala2.create_system(), [2, 1, *range(3, 22), 0], baseLevel="force-field"
    )
    copy = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(mixed))
    for system in (mixed, copy):
        assert createIntegrator(system, 0.0005, 4).getMonitoredParticles() == sorted({*range(22)})
        assert marked_state(system) == (0, 1)
    energy, forces = energy_and_forces(mixed, ala2.positions, 1 << force_groups.QM)
    expected = energy_and_forces(mixed, ala2.positions, 1 << force_groups.BASE_LEVEL)
    assert energy == pytest.approx(expected[0], rel=1e-12)
    np.testing.assert_allclose(forces, expected[1], atol=1e-9)
    for method, below in (("gfn2-xtb", None), ("force-field", "gfn1-xtb")):
        told = isolated(ala2, method, surrogate=below)
        assert not any(is_region_mark(force) for force in told.getForces())


def test_a_mark_keeps_charge_and_multiplicity() -> None:
    system = openmm.System()
    topology = app.Topology()
    residue = topology.addResidue("NH2", topology.addChain())
    atoms = [topology.addAtom(name, app.Element.getBySymbol(name[0]), residue) for name in ("N", "H1", "H2")]
    for atom in atoms:
        system.addParticle(atom.element.mass)
    for atom in atoms[1:]:
        topology.addBond(atoms[0], atom)
    force = openmm.CustomBondForce("100*(r-0.1)^2")
    force.addBond(0, 1)
    mixed = QMMMPotential(force).createMixedSystem(topology, system, range(3), charge=-1)
    assert marked_state(mixed) == (-1, 1)
    region = LabelSource(mixed).region(topology)
    assert (region.charge, region.multiplicity, region.particles) == (-1, 1, (0, 1, 2))


def test_labels_of_a_top_level_that_is_no_method_need_whole_molecules(ala2: Molecule) -> None:
    """What such a level says of the forces on link atoms cannot be told apart."""
    potential = QMMMPotential("force-field")
    system = ala2.create_system(constraints=None)
    for below, difference in (({"surrogate": "gfn2-xtb"}, True), ({"baseLevel": "force-field"}, False)):
        mixed = potential.createMixedSystem(ala2.topology, system, SIDE_CHAIN, embedding="mechanical", **below)
        with pytest.raises(ValueError, match="need a region that cuts none"):
            LabelSource(mixed, difference).region(ala2.topology)


def test_a_potential_of_openmm_ml_as_top_level(solvated_ala2: Molecule) -> None:
    """The same energy as our own road to the same method, once corrected by a cheaper one."""
    openmmml = pytest.importorskip("openmmml", reason="openmm-ml is not installed")
    system = solvated_ala2.create_system(nonbondedMethod=app.PME, nonbondedCutoff=0.9)
    energies = []
    for method in (openmmml.MLPotential("gfn2-xtb"), "gfn2-xtb"):
        mixed = QMMMPotential(method).createMixedSystem(
            solvated_ala2.topology, system, WATER, embedding="mechanical", surrogate="gfn1-xtb"
        )
        integrator = createIntegrator(mixed, 0.0005, 4)
        assert integrator.getSurrogateLevels() == {force_groups.SURROGATE: 1}
        energies.append(energy_and_forces(mixed, solvated_ala2.positions, 1 << force_groups.QM)[0])
    assert energies[0] == pytest.approx(energies[1], rel=1e-10)


def test_settings_belong_to_methods(difference: Path) -> None:
    with pytest.raises(LevelError, match="accuracy: only QM methods"):
        QMMMPotential("force-field", accuracy=0.01)
