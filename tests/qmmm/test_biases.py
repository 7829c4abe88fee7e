"""What the force field made inside a region is removed; restraints and biases stay; what is in doubt is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app, unit

from openmmkstep.qmmm import force_groups
from openmmkstep.qmmm.force_field.division import SystemDivision
from openmmkstep.qmmm.force_field.recognition import AmbiguousForceError, UnsupportedForceFieldError
from openmmkstep.qmmm.molecule_graph import MoleculeGraph
from openmmkstep.qmmm.potential import QMMMPotential
from tests.support.qmmm.energies import energy_and_forces, with_forces
from tests.support.qmmm.molecules import Molecule, water_box

TWO_WATERS = list(range(6))
PHI, PSI = (4, 6, 8, 14), (6, 8, 14, 16)


@pytest.fixture(scope="module")
def water() -> Molecule:
    """A box of 258 waters, flexible unless asked otherwise."""
    box = water_box()
    return Molecule(box.topology, box.positions, lambda **o: box.create_system(**{"rigidWater": False, **o}))


def mixed(molecule: Molecule, system: openmm.System, atoms: list[int], **options: Any) -> openmm.System:
    return QMMMPotential("gfn2-xtb").createMixedSystem(molecule.topology, system, atoms, **options)


def counts(system: openmm.System) -> list[tuple[str, int]]:
    """Names of the bond forces of a system with the numbers of their bonds."""
    return [(f.getName(), f.getNumBonds()) for f in system.getForces() if hasattr(f, "getNumBonds")]


def energies(system: openmm.System, positions: Any) -> dict[int, float]:
    """Energy of each force of a system by its index, kJ/mol."""
    result = {}
    for index in range(system.getNumForces()):
        copy = openmm.XmlSerializer.clone(system)
        for number, force in enumerate(copy.getForces()):
            force.setForceGroup(1 if number == index else 0)
        result[index] = energy_and_forces(copy, positions, {1})[0]
    return result


def assert_parts_add_up(
    molecule: Molecule, system: openmm.System, region: list[int], **options: Any
) -> list[openmm.Force]:
    """What stays and what was removed have the energy and forces of the whole; returns what was removed."""
    division = SystemDivision(system, region, MoleculeGraph(molecule.topology, system), **options)
    removed = division.region_forces()
    whole, whole_forces = energy_and_forces(system, molecule.positions)
    both, both_forces = energy_and_forces(with_forces(division.system, removed), molecule.positions)
    assert both == pytest.approx(whole, rel=1e-9)
    np.testing.assert_allclose(both_forces, whole_forces, rtol=1e-7, atol=1e-5)
    return removed


def umbrella(*particles: int, name: str = "umbrella") -> openmm.CustomBondForce:
    force = openmm.CustomBondForce("500*(r-0.5)^2")
    force.setName(name)
    force.addBond(*particles)
    return force


def restraint(*particles: int, name: str = "HarmonicBondForce") -> openmm.HarmonicBondForce:
    force = openmm.HarmonicBondForce()
    force.setName(name)
    force.addBond(*particles, 0.5, 1000)
    return force


# Restraints and biases between atoms that are not bonded


def test_an_umbrella_between_qm_atoms_stays(water: Molecule) -> None:
    system = water.create_system()
    system.addForce(umbrella(0, 3))
    result = mixed(water, system, TWO_WATERS, cutoff=0.8)
    assert counts(result) == [("HarmonicBondForce", 512), ("umbrella", 1)]
    index = next(i for i, force in enumerate(result.getForces()) if force.getName() == "umbrella")
    distance = np.linalg.norm(water.positions[0] - water.positions[3])
    assert energies(result, water.positions)[index] == pytest.approx(500 * (distance - 0.5) ** 2)


@pytest.mark.parametrize("keep", [(), ("HarmonicBondForce",), (4,)])
def test_a_restraint_of_the_default_name_stays_and_the_bonds_go(water: Molecule, keep: tuple[Any, ...]) -> None:
    system = water.create_system()
    system.addForce(restraint(0, 3))
    result = mixed(water, system, TWO_WATERS, cutoff=0.8, keepForces=keep)
    assert counts(result) == [("HarmonicBondForce", 512), ("HarmonicBondForce", 1)]


@pytest.mark.parametrize("name", ["HarmonicBondForce", "restraint"])
def test_a_restraint_between_qm_and_mm_is_no_cut_bond(water: Molecule, name: str) -> None:
    system = water.create_system()
    system.addForce(restraint(0, 6, name=name))
    result = mixed(water, system, TWO_WATERS, cutoff=0.8)
    assert counts(result) == [("HarmonicBondForce", 512), (name, 1)]


def test_a_restraint_inside_the_force_field_s_own_force_stays(water: Molecule) -> None:
    system = water.create_system()
    next(f for f in system.getForces() if isinstance(f, openmm.HarmonicBondForce)).addBond(0, 3, 0.5, 1000)
    assert counts(mixed(water, system, TWO_WATERS, cutoff=0.8)) == [("HarmonicBondForce", 513)]


def custom_torsion(particles: tuple[int, ...], name: str | None = "bias") -> openmm.CustomTorsionForce:
    force = openmm.CustomTorsionForce("50*(1-cos(theta-1))")
    force.addTorsion(*particles)
    if name is not None:
        force.setName(name)
    return force


def flat_bottom() -> openmm.CustomExternalForce:
    force = openmm.CustomExternalForce("500*max(0, sqrt(x^2+y^2+z^2)-0.1)^2")
    for particle in range(22):
        force.addParticle(particle)
    return force


def root_mean_square() -> openmm.Force:
    reference = np.random.default_rng(4).normal(scale=0.3, size=(22, 3))
    collective = openmm.CustomCVForce("100*(distance-0.2)^2")
    collective.addCollectiveVariable("distance", openmm.RMSDForce(reference, list(range(22))))
    return collective


def centroids() -> openmm.Force:
    force = openmm.CustomCentroidBondForce(2, "30*(distance(g1,g2)-0.4)^2")
    force.addGroup([0, 1, 2, 3], 4 * [1.0])
    force.addGroup([16, 17, 18], 3 * [1.0])
    force.addBond([0, 1])
    return force


def reaction_coordinate() -> openmm.Force:
    force = openmm.CustomCompoundBondForce(3, "4000*(distance(p1,p2)-distance(p2,p3))^2")
    force.addBond([4, 6, 8])
    return force


def remote_angle() -> openmm.Force:
    force = openmm.HarmonicAngleForce()
    force.addAngle(0, 8, 18, 1.5, 100)
    return force


def named_torsion() -> openmm.Force:
    force = openmm.PeriodicTorsionForce()
    force.setName("phi restraint")
    force.addTorsion(*PHI, 1, 0.5, 20)
    return force


BIASES: dict[str, Callable[[], openmm.Force]] = {
    "torsion": lambda: custom_torsion(PHI),
    "flat bottom": flat_bottom,
    "root mean square": root_mean_square,
    "bare root mean square": lambda: openmm.RMSDForce(np.zeros((22, 3)), list(range(22))),
    "centroids": centroids,
    "reaction coordinate": reaction_coordinate,
    "remote angle": remote_angle,
    "remote torsion": lambda: custom_torsion((0, 8, 14, 18), None),
    "named torsion": named_torsion,
    "umbrella along a bond": lambda: umbrella(4, 6),
    "radius of gyration": lambda: openmm.RGForce(list(range(22))),
}


@pytest.mark.parametrize("name", BIASES)
def test_biases_on_alanine_dipeptide_stay(ala2: Molecule, ala2_atoms: list[int], name: str) -> None:
    system = ala2.create_system()
    bias = energies(system_with(BIASES[name]()), ala2.positions)[0]
    system.addForce(BIASES[name]())
    assert_parts_add_up(ala2, system, ala2_atoms)
    left = SystemDivision(system, ala2_atoms, MoleculeGraph(ala2.topology, system), zero_charges=True).system
    assert energy_and_forces(left, ala2.positions)[0] == pytest.approx(bias, rel=1e-9)
    assert abs(bias) > 0.01


def system_with(force: openmm.Force) -> openmm.System:
    system = openmm.System()
    for _ in range(22):
        system.addParticle(1)
    system.addForce(force)
    return system


def test_metadynamics_of_phi_and_psi_stays(ala2: Molecule, ala2_atoms: list[int]) -> None:
    system = ala2.create_system()
    variables = [
        app.BiasVariable(collective_torsion(particles), -np.pi, np.pi, 0.35, True, gridWidth=30)
        for particles in (PHI, PSI)
    ]
    app.Metadynamics(system, variables, 300 * unit.kelvin, 5, 1 * unit.kilojoule_per_mole, 10)
    left = mixed(ala2, system, ala2_atoms)
    group = max(force.getForceGroup() for force in system.getForces())
    assert [type(force).__name__ for force in left.getForces() if force.getForceGroup() == group] == ["CustomCVForce"]


def collective_torsion(particles: tuple[int, ...]) -> openmm.CustomTorsionForce:
    force = openmm.CustomTorsionForce("theta")
    force.addTorsion(*particles)
    return force


@pytest.mark.parametrize("group", [*range(6), 17, 31])
def test_groups_of_own_forces(ala2: Molecule, ala2_atoms: list[int], group: int) -> None:
    """They are kept, unless the levels need them; those of the force field never are."""
    system = ala2.create_system()
    for force in system.getForces():
        force.setForceGroup(group)
    bias = custom_torsion(PHI)
    bias.setForceGroup(group)
    system.addForce(bias)
    left = mixed(ala2, system, ala2_atoms)
    groups = {force.getName(): force.getForceGroup() for force in left.getForces()}
    kept = group not in (*force_groups.LEVELS, force_groups.SLOW_COMMON)
    assert groups["bias"] == (group if kept else force_groups.COMMON)
    assert groups["CMMotionRemover"] == force_groups.COMMON


def test_a_constraint_of_the_user_stays(ala2: Molecule, ala2_atoms: list[int]) -> None:
    """The force field constrains bonds to hydrogen; one between other atoms, bonded or not, is not its own."""
    system = ala2.create_system(constraints=app.HBonds, flexibleConstraints=True)
    system.addConstraint(4, 6, 0.2)
    system.addConstraint(0, 18, 0.7)
    division = SystemDivision(system, ala2_atoms, MoleculeGraph(ala2.topology, system))
    left = [division.system.getConstraintParameters(i)[:2] for i in range(division.system.getNumConstraints())]
    assert left == [[4, 6], [0, 18]]
    assert len(division.removed_constraints) == 12


def test_all_constraints_of_bonds_and_of_angles_in_water_go(water: Molecule) -> None:
    rigid = water.create_system(rigidWater=True, constraints=app.AllBonds)
    division = SystemDivision(rigid, TWO_WATERS, MoleculeGraph(water.topology, rigid))
    pairs = [pair[:2] for pair in division.removed_constraints]
    assert sorted(pairs) == [(0, 1), (0, 2), (1, 2), (3, 4), (3, 5), (4, 5)]
    assert division.system.getNumConstraints() == rigid.getNumConstraints() - 6


def test_constraints_of_angles_go(ala2: Molecule, ala2_atoms: list[int]) -> None:
    system = ala2.create_system(constraints=app.HAngles)
    assert system.getNumConstraints() > 21
    left = SystemDivision(system, ala2_atoms, MoleculeGraph(ala2.topology, system)).system
    assert left.getNumConstraints() == 0


# What cannot be told apart


def harmonic_angle(*particles: int) -> openmm.HarmonicAngleForce:
    force = openmm.HarmonicAngleForce()
    force.addAngle(*particles, 1.5, 100)
    return force


def periodic_torsion(*particles: int) -> openmm.PeriodicTorsionForce:
    force = openmm.PeriodicTorsionForce()
    force.addTorsion(*particles, 1, 0.5, 20)
    return force


def rb_torsion(*particles: int) -> openmm.RBTorsionForce:
    force = openmm.RBTorsionForce()
    force.addTorsion(*particles, 1.0, 2.0, 3.0, 0.0, 0.0, 0.0)
    return force


def custom_nonbonded(particles: int) -> openmm.CustomNonbondedForce:
    force = openmm.CustomNonbondedForce("0.01/r^4")
    for _ in range(particles):
        force.addParticle([])
    return force


DOUBTS: dict[str, tuple[Callable[[], openmm.Force], str]] = {
    "bond": (
        lambda: restraint(4, 6),
        r"force 0 .*: force 5 has a term on C .* as well; force 5 .*: force 0 has",
    ),
    "angle": (lambda: harmonic_angle(4, 6, 8), r"force \d \(HarmonicAngleForce 'HarmonicAngleForce'\): force \d has"),
    "torsion": (lambda: periodic_torsion(*PHI), r"force 5 \(PeriodicTorsionForce 'PeriodicTorsionForce'\): force \d"),
    "torsion of another kind": (lambda: rb_torsion(*PHI), r"force 5 \(RBTorsionForce.*: force \d has a term on C of"),
    "pair across an angle": (lambda: restraint(4, 8), r"C of ACE 1 \(index 4\) - CA .* is a pair across an angle"),
    "bias without a name": (lambda: custom_torsion(PHI, None), r"force 5 \(CustomTorsionForce.*is a torsion of the to"),
    "bond bias without a name": (lambda: umbrella(4, 6, name="CustomBondForce"), r"is a bond of the topology"),
    "pairs": (lambda: custom_nonbonded(22), r"force 5 \(CustomNonbondedForce.* acts on pairs inside the region"),
}


@pytest.mark.parametrize("name", DOUBTS)
def test_doubts_are_asked_for_and_both_answers_work(ala2: Molecule, ala2_atoms: list[int], name: str) -> None:
    make, message = DOUBTS[name]
    system = ala2.create_system()
    own = make()
    index = system.addForce(own)
    graph = MoleculeGraph(ala2.topology, system)
    with pytest.raises(AmbiguousForceError, match=message) as question:
        SystemDivision(system, ala2_atoms, graph)
    assert "keepForces" in str(question.value) and "removeForces" in str(question.value)
    bias = energies(system_with(make()), ala2.positions)[0]
    for answer in (index, own):
        kept = SystemDivision(system, ala2_atoms, graph, zero_charges=True, keep_forces=[answer])
        assert energy_and_forces(kept.system, ala2.positions)[0] == pytest.approx(bias, rel=1e-8)
        removed = SystemDivision(system, ala2_atoms, graph, zero_charges=True, remove_forces=[answer])
        assert energy_and_forces(removed.system, ala2.positions)[0] == pytest.approx(0, abs=1e-9)
    assert len(assert_parts_add_up(ala2, system, ala2_atoms, keep_forces=[index])) == 4
    assert len(assert_parts_add_up(ala2, system, ala2_atoms, remove_forces=[index])) == 5


def test_a_spring_on_a_rigid_bond_is_in_doubt(water: Molecule) -> None:
    """The force field's own force is empty then, and its name is that of the user's."""
    system = water.create_system(rigidWater=True)
    system.addForce(restraint(0, 1))
    with pytest.raises(AmbiguousForceError, match=r"force 4 \(HarmonicBondForce"):
        mixed(water, system, TWO_WATERS, cutoff=0.8)
    assert counts(mixed(water, system, TWO_WATERS, cutoff=0.8, keepForces=[4])) == [("HarmonicBondForce", 1)]


def test_springs_across_the_angles_of_all_waters_are_in_doubt(water: Molecule) -> None:
    """A force field would have put them beside its bonds."""
    system = water.create_system()
    springs = restraint(1, 2)
    for oxygen in range(3, system.getNumParticles(), 3):
        springs.addBond(oxygen + 1, oxygen + 2, 0.15, 1000)
    index = system.addForce(springs)
    with pytest.raises(AmbiguousForceError, match=rf"force {index} .*H1 of HOH 1 .* - H2 .* across an angle"):
        mixed(water, system, TWO_WATERS, cutoff=0.8)


def test_two_terms_on_one_bond_are_in_doubt(water: Molecule) -> None:
    system = water.create_system()
    next(f for f in system.getForces() if isinstance(f, openmm.HarmonicBondForce)).addBond(1, 0, 0.11, 1000)
    with pytest.raises(AmbiguousForceError, match=r"it has 2 terms on O of HOH 1 \(index 0\) - H1 of HOH 1"):
        mixed(water, system, TWO_WATERS, cutoff=0.8)


def test_bonds_under_a_foreign_name_are_in_doubt(water: Molecule) -> None:
    """Of a program whose names are not known here: kept, the region would have its bonds twice."""
    system = water.create_system()
    bonds = next(f for f in system.getForces() if isinstance(f, openmm.HarmonicBondForce))
    bonds.setName("Bonds of another program")
    with pytest.raises(AmbiguousForceError, match="no other force describes O of HOH 1"):
        mixed(water, system, TWO_WATERS, cutoff=0.8)
    assert_parts_add_up_in_box(water, system, remove_forces=["Bonds of another program"])


def assert_parts_add_up_in_box(water: Molecule, system: openmm.System, **options: Any) -> None:
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            force.setNonbondedMethod(openmm.NonbondedForce.NoCutoff)
    assert_parts_add_up(water, system, TWO_WATERS, **options)


def exclusions(force: openmm.CustomNonbondedForce) -> list[list[int]]:
    return [force.getExclusionParticles(index) for index in range(force.getNumExclusions())]


def test_pairs_that_a_custom_force_leaves_to_the_surroundings(water: Molecule) -> None:
    system = water.create_system()
    force = custom_nonbonded(system.getNumParticles())
    force.setNonbondedMethod(openmm.CustomNonbondedForce.CutoffPeriodic)
    force.setCutoffDistance(0.8)
    force.createExclusionsFromBonds(
        [(3 * i, 3 * i + k) for i in range(system.getNumParticles() // 3) for k in (1, 2)], 2
    )
    force.addInteractionGroup(TWO_WATERS, list(range(6, system.getNumParticles())))
    system.addForce(force)
    left = SystemDivision(system, TWO_WATERS, MoleculeGraph(water.topology, system)).system
    assert energies(left, water.positions)[4] == pytest.approx(energies(system, water.positions)[4], rel=1e-12)
    # The same exclusions as those of the NonbondedForce, which platforms on GPUs demand.
    nonbonded = next(f for f in left.getForces() if isinstance(f, openmm.NonbondedForce))
    excluded = {frozenset(nonbonded.getExceptionParameters(k)[:2]) for k in range(nonbonded.getNumExceptions())}
    assert {frozenset(pair) for pair in exclusions(left.getForce(4))} == excluded


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep_forces": ["biass"]}, r"keepForces names 'biass', but the forces are 0: HarmonicBondForce, 1:"),
        ({"keep_forces": [17]}, "keepForces names 17, but"),
        ({"keep_forces": [True]}, "keepForces names True, but"),
        ({"remove_forces": [openmm.RMSDForce([[0, 0, 0]])]}, "removeForces names a RMSDForce .* no force of this"),
        ({"keep_forces": "bias"}, "must be a list"),
        ({"keep_forces": [5], "remove_forces": ["bias"]}, "force 5 .* is in keepForces and in removeForces"),
        ({"remove_forces": ["HarmonicBondForce"]}, "'HarmonicBondForce', which the forces 0, 6 share: give the index"),
        ({"remove_forces": ["wall"]}, r"force 7 \(CustomExternalForce 'wall'\) has no terms inside the region"),
    ],
)
def test_answers_that_make_no_sense(
    ala2: Molecule, ala2_atoms: list[int], options: dict[str, Any], message: str
) -> None:
    system = ala2.create_system()
    wall = flat_bottom()
    wall.setName("wall")
    for force in (custom_torsion(PHI), restraint(0, 18), wall):
        system.addForce(force)
    assert [force.getName() for force in system.getForces()].index("bias") == 5
    with pytest.raises(UnsupportedForceFieldError, match=message):
        SystemDivision(system, ala2_atoms, MoleculeGraph(ala2.topology, system), **options)


def test_forces_that_cannot_be_taken_apart_are_named(ala2: Molecule, ala2_atoms: list[int]) -> None:
    system = ala2.create_system()
    solvent = openmm.GBSAOBCForce()
    for _ in ala2_atoms:
        solvent.addParticle(0.1, 0.15, 0.8)
    index = system.addForce(solvent)
    graph = MoleculeGraph(ala2.topology, system)
    with pytest.raises(UnsupportedForceFieldError, match=rf"force {index} \(GBSAOBCForce.*keepForces"):
        SystemDivision(system, ala2_atoms, graph)
    left = SystemDivision(system, ala2_atoms, graph, zero_charges=True, keep_forces=["GBSAOBCForce"]).system
    assert energy_and_forces(left, ala2.positions)[0] == pytest.approx(energies(system, ala2.positions)[index])


def test_a_mixed_system_is_not_mixed_again(ala2: Molecule, ala2_atoms: list[int]) -> None:
    once = mixed(ala2, ala2.create_system(), ala2_atoms)
    with pytest.raises(UnsupportedForceFieldError, match="has a QM region already"):
        mixed(ala2, once, ala2_atoms)
