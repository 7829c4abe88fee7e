"""Terms that may be the force field's or the user's own: they are asked for, and both answers work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openmm
import pytest

from openmmkstep.qmmm.force_field.division import SystemDivision
from openmmkstep.qmmm.force_field.nonbonded_terms import RegionCharges
from openmmkstep.qmmm.force_field.recognition import AmbiguousForceError, UnsupportedForceFieldError
from openmmkstep.qmmm.molecule_graph import MoleculeGraph
from tests.support.qmmm.biases import (
    PHI,
    TWO_WATERS,
    assert_parts_add_up,
    counts,
    custom_torsion,
    energies,
    flat_bottom,
    mixed,
    restraint,
    system_with,
    umbrella,
)
from tests.support.qmmm.energies import energy_and_forces
from tests.support.qmmm.molecules import Molecule


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
        kept = SystemDivision(system, ala2_atoms, graph, charges=RegionCharges.REMOVED, keep_forces=[answer])
        assert energy_and_forces(kept.system, ala2.positions)[0] == pytest.approx(bias, rel=1e-8)
        removed = SystemDivision(system, ala2_atoms, graph, charges=RegionCharges.REMOVED, remove_forces=[answer])
        assert energy_and_forces(removed.system, ala2.positions)[0] == pytest.approx(0, abs=1e-9)
    assert len(assert_parts_add_up(ala2, system, ala2_atoms, keep_forces=[index])) == 4
    assert len(assert_parts_add_up(ala2, system, ala2_atoms, remove_forces=[index])) == 5


def test_a_spring_on_a_rigid_bond_is_in_doubt(flexible_water: Molecule) -> None:
    """The force field's own force is empty then, and its name is that of the user's."""
    system = flexible_water.create_system(rigidWater=True)
    system.addForce(restraint(0, 1))
    with pytest.raises(AmbiguousForceError, match=r"force 4 \(HarmonicBondForce"):
        mixed(flexible_water, system, TWO_WATERS, cutoff=0.8)
    assert counts(mixed(flexible_water, system, TWO_WATERS, cutoff=0.8, keepForces=[4])) == [("HarmonicBondForce", 1)]


def test_springs_across_the_angles_of_all_waters_are_in_doubt(flexible_water: Molecule) -> None:
    """A force field would have put them beside its bonds."""
    system = flexible_water.create_system()
    springs = restraint(1, 2)
    for oxygen in range(3, system.getNumParticles(), 3):
        springs.addBond(oxygen + 1, oxygen + 2, 0.15, 1000)
    index = system.addForce(springs)
    with pytest.raises(AmbiguousForceError, match=rf"force {index} .*H1 of HOH 1 .* - H2 .* across an angle"):
        mixed(flexible_water, system, TWO_WATERS, cutoff=0.8)


def test_two_terms_on_one_bond_are_in_doubt(flexible_water: Molecule) -> None:
    system = flexible_water.create_system()
    next(f for f in system.getForces() if isinstance(f, openmm.HarmonicBondForce)).addBond(1, 0, 0.11, 1000)
    with pytest.raises(AmbiguousForceError, match=r"it has 2 terms on O of HOH 1 \(index 0\) - H1 of HOH 1"):
        mixed(flexible_water, system, TWO_WATERS, cutoff=0.8)


def test_bonds_under_a_foreign_name_are_in_doubt(flexible_water: Molecule) -> None:
    """Of a program whose names are not known here: kept, the region would have its bonds twice."""
    system = flexible_water.create_system()
    bonds = next(f for f in system.getForces() if isinstance(f, openmm.HarmonicBondForce))
    bonds.setName("Bonds of another program")
    with pytest.raises(AmbiguousForceError, match="no other force describes O of HOH 1"):
        mixed(flexible_water, system, TWO_WATERS, cutoff=0.8)
    assert_parts_add_up_in_box(flexible_water, system, remove_forces=["Bonds of another program"])


def assert_parts_add_up_in_box(flexible_water: Molecule, system: openmm.System, **options: Any) -> None:
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            force.setNonbondedMethod(openmm.NonbondedForce.NoCutoff)
    assert_parts_add_up(flexible_water, system, TWO_WATERS, **options)


def exclusions(force: openmm.CustomNonbondedForce) -> list[list[int]]:
    return [force.getExclusionParticles(index) for index in range(force.getNumExclusions())]


def test_pairs_that_a_custom_force_leaves_to_the_surroundings(flexible_water: Molecule) -> None:
    system = flexible_water.create_system()
    force = custom_nonbonded(system.getNumParticles())
    force.setNonbondedMethod(openmm.CustomNonbondedForce.CutoffPeriodic)
    force.setCutoffDistance(0.8)
    force.createExclusionsFromBonds(
        [(3 * i, 3 * i + k) for i in range(system.getNumParticles() // 3) for k in (1, 2)], 2
    )
    force.addInteractionGroup(TWO_WATERS, list(range(6, system.getNumParticles())))
    system.addForce(force)
    left = SystemDivision(system, TWO_WATERS, MoleculeGraph(flexible_water.topology, system)).system
    assert energies(left, flexible_water.positions)[4] == pytest.approx(
        energies(system, flexible_water.positions)[4], rel=1e-12
    )
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
    left = SystemDivision(system, ala2_atoms, graph, charges=RegionCharges.REMOVED, keep_forces=["GBSAOBCForce"]).system
    assert energy_and_forces(left, ala2.positions)[0] == pytest.approx(energies(system, ala2.positions)[index])


def test_a_mixed_system_is_not_mixed_again(ala2: Molecule, ala2_atoms: list[int]) -> None:
    once = mixed(ala2, ala2.create_system(), ala2_atoms)
    with pytest.raises(UnsupportedForceFieldError, match="has a QM region already"):
        mixed(ala2, once, ala2_atoms)
