"""What the force field made inside a region is removed; restraints and biases stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app, unit

from openmmkstep.qmmm.force_field.division import SystemDivision
from openmmkstep.qmmm.force_field.nonbonded_terms import RegionCharges
from openmmkstep.qmmm.levels import force_groups
from openmmkstep.qmmm.molecule_graph import MoleculeGraph
from tests.support.qmmm.biases import (
    PHI,
    PSI,
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

# Restraints and biases between atoms that are not bonded


def test_an_umbrella_between_qm_atoms_stays(flexible_water: Molecule) -> None:
    system = flexible_water.create_system()
    system.addForce(umbrella(0, 3))
    result = mixed(flexible_water, system, TWO_WATERS, cutoff=0.8)
    assert counts(result) == [("HarmonicBondForce", 512), ("umbrella", 1)]
    index = next(i for i, force in enumerate(result.getForces()) if force.getName() == "umbrella")
    distance = np.linalg.norm(flexible_water.positions[0] - flexible_water.positions[3])
    assert energies(result, flexible_water.positions)[index] == pytest.approx(500 * (distance - 0.5) ** 2)


@pytest.mark.parametrize("keep", [(), ("HarmonicBondForce",), (4,)])
def test_a_restraint_of_the_default_name_stays_and_the_bonds_go(
    flexible_water: Molecule, keep: tuple[Any, ...]
) -> None:
    system = flexible_water.create_system()
    system.addForce(restraint(0, 3))
    result = mixed(flexible_water, system, TWO_WATERS, cutoff=0.8, keepForces=keep)
    assert counts(result) == [("HarmonicBondForce", 512), ("HarmonicBondForce", 1)]


@pytest.mark.parametrize("name", ["HarmonicBondForce", "restraint"])
def test_a_restraint_between_qm_and_mm_is_no_cut_bond(flexible_water: Molecule, name: str) -> None:
    system = flexible_water.create_system()
    system.addForce(restraint(0, 6, name=name))
    result = mixed(flexible_water, system, TWO_WATERS, cutoff=0.8)
    assert counts(result) == [("HarmonicBondForce", 512), (name, 1)]


def test_a_restraint_inside_the_force_field_s_own_force_stays(flexible_water: Molecule) -> None:
    system = flexible_water.create_system()
    next(f for f in system.getForces() if isinstance(f, openmm.HarmonicBondForce)).addBond(0, 3, 0.5, 1000)
    assert counts(mixed(flexible_water, system, TWO_WATERS, cutoff=0.8)) == [("HarmonicBondForce", 513)]


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
    left = SystemDivision(
        system, ala2_atoms, MoleculeGraph(ala2.topology, system), charges=RegionCharges.REMOVED
    ).system
    assert energy_and_forces(left, ala2.positions)[0] == pytest.approx(bias, rel=1e-9)
    assert abs(bias) > 0.01


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


@pytest.mark.parametrize("group", [*range(7), 17, 31])
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
    kept = group not in (*force_groups.LEVELS, force_groups.SLOW_COMMON, force_groups.RECIPROCAL)
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


def test_all_constraints_of_bonds_and_of_angles_in_water_go(flexible_water: Molecule) -> None:
    rigid = flexible_water.create_system(rigidWater=True, constraints=app.AllBonds)
    division = SystemDivision(rigid, TWO_WATERS, MoleculeGraph(flexible_water.topology, rigid))
    pairs = [pair[:2] for pair in division.removed_constraints]
    assert sorted(pairs) == [(0, 1), (0, 2), (1, 2), (3, 4), (3, 5), (4, 5)]
    assert division.system.getNumConstraints() == rigid.getNumConstraints() - 6


def test_constraints_of_angles_go(ala2: Molecule, ala2_atoms: list[int]) -> None:
    system = ala2.create_system(constraints=app.HAngles)
    assert system.getNumConstraints() > 21
    left = SystemDivision(system, ala2_atoms, MoleculeGraph(ala2.topology, system)).system
    assert left.getNumConstraints() == 0
