"""SystemDivision takes exactly the region's own energy out of a system: nothing is lost, nothing counted twice."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app

from kstep_models.units import COULOMB
from openmmkstep.qmmm.force_field.division import SystemDivision
from openmmkstep.qmmm.force_field.nonbonded_terms import RegionCharges
from openmmkstep.qmmm.force_field.recognition import UnsupportedForceFieldError
from openmmkstep.qmmm.levels import force_groups
from openmmkstep.qmmm.molecule_graph import MoleculeGraph
from tests.support.qmmm.energies import energy_and_forces, with_forces
from tests.support.qmmm.molecules import Molecule, make_topology


def divide(molecule: Molecule, system: openmm.System, region: list[int], **options: Any) -> SystemDivision:
    return SystemDivision(system, region, MoleculeGraph(molecule.topology, system), **options)


def test_parts_add_up_without_cutoff(solvated_ala2: Molecule, ala2_atoms: list[int]) -> None:
    system = solvated_ala2.create_system(nonbondedMethod=app.NoCutoff)
    division = divide(solvated_ala2, system, ala2_atoms)
    whole, whole_forces = energy_and_forces(system, solvated_ala2.positions)
    both, both_forces = energy_and_forces(
        with_forces(division.system, division.region_forces()), solvated_ala2.positions
    )
    assert both == pytest.approx(whole, rel=1e-11)
    np.testing.assert_allclose(both_forces, whole_forces, rtol=1e-9, atol=1e-6)


def test_parts_add_up_with_pme(solvated_ala2: Molecule, ala2_atoms: list[int]) -> None:
    # A cut-off beyond the size of the molecule: inside it PME counts the pairs that the vacuum terms count.
    system = solvated_ala2.create_system(nonbondedMethod=app.PME, nonbondedCutoff=1.05, ewaldErrorTolerance=1e-6)
    division = divide(solvated_ala2, system, ala2_atoms)
    whole, whole_forces = energy_and_forces(system, solvated_ala2.positions)
    both, both_forces = energy_and_forces(
        with_forces(division.system, division.region_forces()), solvated_ala2.positions
    )
    # Lennard-Jones between far ends of the molecule is cut off in the one and not in the other.
    assert both == pytest.approx(whole, abs=0.02)
    np.testing.assert_allclose(both_forces, whole_forces, atol=0.5)


def test_region_forces_are_the_molecule_in_vacuum(
    solvated_ala2: Molecule, ala2: Molecule, ala2_atoms: list[int]
) -> None:
    division = divide(
        solvated_ala2, solvated_ala2.create_system(nonbondedMethod=app.PME, nonbondedCutoff=0.9), ala2_atoms
    )
    alone = openmm.System()
    for _ in range(solvated_ala2.topology.getNumAtoms()):
        alone.addParticle(1.0)
    inside, inside_forces = energy_and_forces(with_forces(alone, division.region_forces()), solvated_ala2.positions)
    vacuum, vacuum_forces = energy_and_forces(ala2.create_system(), solvated_ala2.positions[:22])
    assert inside == pytest.approx(vacuum, rel=1e-10)
    np.testing.assert_allclose(inside_forces[:22], vacuum_forces, rtol=1e-8, atol=1e-7)
    assert np.all(inside_forces[22:] == 0)


def test_electrostatic_division_leaves_lennard_jones_with_the_surroundings(
    solvated_ala2: Molecule, ala2_atoms: list[int]
) -> None:
    system = solvated_ala2.create_system(nonbondedMethod=app.NoCutoff)
    kept, _ = energy_and_forces(divide(solvated_ala2, system, ala2_atoms).system, solvated_ala2.positions)
    zeroed, _ = energy_and_forces(
        divide(solvated_ala2, system, ala2_atoms, charges=RegionCharges.REMOVED).system, solvated_ala2.positions
    )
    nonbonded = next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    charges = np.array([nonbonded.getParticleParameters(i)[0]._value for i in range(system.getNumParticles())])
    x = np.asarray(solvated_ala2.positions)
    distances = np.linalg.norm(x[:22, None] - x[None, 22:], axis=2)
    coulomb = COULOMB * float(np.sum(charges[:22, None] * charges[None, 22:] / distances))
    assert kept - zeroed == pytest.approx(coulomb, abs=1e-4)


def test_energy_inside_an_isolated_region_is_gone(ala2: Molecule, ala2_atoms: list[int]) -> None:
    energy, forces = energy_and_forces(
        divide(ala2, ala2.create_system(), ala2_atoms, charges=RegionCharges.REMOVED).system, ala2.positions
    )
    assert energy == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_allclose(forces, 0.0, atol=1e-10)


def test_pme_sees_nothing_of_a_region_without_charges(solvated_ala2: Molecule, ala2_atoms: list[int]) -> None:
    # Under PME the surroundings must have the energy they have alone, but for Lennard-Jones with the region.
    options = {"nonbondedMethod": app.PME, "nonbondedCutoff": 0.9, "ewaldErrorTolerance": 1e-6}
    system = solvated_ala2.create_system(**options)
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            force.setUseDispersionCorrection(False)
            for particle in ala2_atoms:
                charge, sigma, _ = force.getParticleParameters(particle)
                force.setParticleParameters(particle, charge, sigma, 0.0)
    mixed = divide(solvated_ala2, system, ala2_atoms, charges=RegionCharges.REMOVED).system
    far = np.array(solvated_ala2.positions)
    far[:22] += 0.35
    first, _ = energy_and_forces(mixed, solvated_ala2.positions)
    second, _ = energy_and_forces(mixed, far)
    assert second == pytest.approx(first, abs=1e-6)


def test_constraints_inside_the_region_are_removed(solvated_ala2: Molecule, ala2_atoms: list[int]) -> None:
    system = solvated_ala2.create_system(nonbondedMethod=app.NoCutoff, constraints=app.HBonds, flexibleConstraints=True)
    division = divide(solvated_ala2, system, ala2_atoms)
    assert len(division.removed_constraints) == 12
    assert division.system.getNumConstraints() == system.getNumConstraints() - 12
    assert division.region_forces()


def test_base_level_refuses_constraints_without_bond_terms(solvated_ala2: Molecule, ala2_atoms: list[int]) -> None:
    system = solvated_ala2.create_system(nonbondedMethod=app.NoCutoff, constraints=app.HBonds)
    division = divide(solvated_ala2, system, ala2_atoms)
    with pytest.raises(UnsupportedForceFieldError, match=r"ACE 1 .*flexibleConstraints"):
        division.region_forces()


def test_groups(solvated_ala2: Molecule, ala2_atoms: list[int]) -> None:
    system = solvated_ala2.create_system(nonbondedMethod=app.PME, nonbondedCutoff=0.9)
    for split, group in ((False, force_groups.COMMON), (True, force_groups.SLOW_COMMON)):
        division = divide(solvated_ala2, system, ala2_atoms)
        if split:
            division.split_off_nonbonded()
        groups = {type(force).__name__: force.getForceGroup() for force in division.system.getForces()}
        assert groups.pop("NonbondedForce") == groups.pop("CMMotionRemover") == group
        assert set(groups.values()) <= {force_groups.COMMON}


def every_bonded_force() -> openmm.System:
    """A system of two chains of eight particles, with each kind of bonded force in both and across."""
    system = openmm.System()
    for _ in range(16):
        system.addParticle(12.0)
    bond, angle = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    torsion, rb, cmap = openmm.PeriodicTorsionForce(), openmm.RBTorsionForce(), openmm.CMAPTorsionForce()
    custom_bond, custom_angle = openmm.CustomBondForce("scale*r^2"), openmm.CustomAngleForce("k*theta^2")
    custom_torsion = openmm.CustomTorsionForce("k*cos(theta)")
    compound = openmm.CustomCompoundBondForce(3, "k*f(distance(p1,p3))*angle(p1,p2,p3)")
    custom_bond.addGlobalParameter("scale", 3.0)
    for force in (custom_angle, custom_torsion):
        getattr(force, f"addPer{type(force).__name__[6:-5]}Parameter")("k")
    compound.addPerBondParameter("k")
    compound.addTabulatedFunction("f", openmm.Continuous1DFunction([1.0, 2.0, 5.0, 3.0], 0.0, 4.0))
    cmap.addMap(4, np.random.default_rng(1).normal(size=16).tolist())
    for s in (0, 8, 4):
        bond.addBond(s, s + 1, 0.1, 1000.0)
        angle.addAngle(s, s + 1, s + 2, 1.5, 200.0)
        torsion.addTorsion(s, s + 1, s + 2, s + 3, 2, 0.3, 4.0)
        rb.addTorsion(s + 1, s + 2, s + 3, s + 4, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
        cmap.addTorsion(0, s, s + 1, s + 2, s + 3, s + 4, s + 5, s + 6, s + 7)
        custom_bond.addBond(s, s + 2)
        custom_angle.addAngle(s + 1, s + 2, s + 3, [7.0])
        custom_torsion.addTorsion(s + 1, s + 2, s + 3, s + 4, [8.0])
        compound.addBond([s, s + 3, s + 5], [9.0])
    for force in (bond, angle, torsion, rb, cmap, custom_bond, custom_angle, custom_torsion, compound):
        system.addForce(force)
    system.getForce(0).addBond(7, 8, 0.1, 10.0)
    return system


TWO_CHAINS = make_topology(2 * [("CHN", 8 * ["C"], [(i, i + 1) for i in range(7)])])


def test_every_bonded_force_is_split_without_loss() -> None:
    system = every_bonded_force()
    positions = np.random.default_rng(2).normal(size=(16, 3))
    names = [f"Custom{kind}Force" for kind in ("Bond", "Angle", "Torsion", "CompoundBond")]
    division = SystemDivision(system, range(8), MoleculeGraph(TWO_CHAINS, system), remove_forces=names)
    whole, whole_forces = energy_and_forces(system, positions)
    both, both_forces = energy_and_forces(with_forces(division.system, division.region_forces()), positions)
    assert len(division.region_forces()) == 9
    assert division.system.getNumForces() == 9
    assert both == pytest.approx(whole, rel=1e-12)
    np.testing.assert_allclose(both_forces, whole_forces, rtol=1e-9, atol=1e-9)
    inside = openmm.System()
    for _ in range(16):
        inside.addParticle(1.0)
    _, inside_forces = energy_and_forces(with_forces(inside, division.region_forces()), positions)
    assert np.all(inside_forces[8:] == 0)


@pytest.mark.parametrize("method", [openmm.NonbondedForce.NoCutoff, openmm.NonbondedForce.PME])
def test_custom_nonbonded_and_exceptions(method: int) -> None:
    generator = np.random.default_rng(3)
    system = openmm.System()
    nonbonded = openmm.NonbondedForce()
    nonbonded.setNonbondedMethod(method)
    nonbonded.setCutoffDistance(1.4)
    nonbonded.setEwaldErrorTolerance(1e-7)
    nonbonded.setUseDispersionCorrection(False)
    custom = openmm.CustomNonbondedForce("a1*a2/r^3")
    custom.setNonbondedMethod(
        openmm.CustomNonbondedForce.NoCutoff if method == 0 else openmm.CustomNonbondedForce.CutoffPeriodic
    )
    custom.setCutoffDistance(1.4)
    custom.addPerParticleParameter("a")
    for _ in range(10):
        system.addParticle(1.0)
        nonbonded.addParticle(float(generator.normal()), 0.02, 0.3)
        custom.addParticle([float(generator.normal())])
    for i, j in combinations(range(0, 10, 3), 2):
        nonbonded.addException(i, j, 0.4, 0.03, 0.2)
        custom.addExclusion(i, j)
    system.addForce(nonbonded)
    system.addForce(custom)
    system.setDefaultPeriodicBoxVectors([3, 0, 0], [0, 3, 0], [0, 0, 3])
    positions = generator.uniform(0, 0.75, size=(10, 3))
    atoms = make_topology([(f"A{i}", ["Ar"], []) for i in range(10)])
    division = SystemDivision(system, [1, 3, 4, 6], MoleculeGraph(atoms, system), remove_forces=[custom.getName()])
    whole, _ = energy_and_forces(system, positions)
    both, _ = energy_and_forces(with_forces(division.system, division.region_forces()), positions)
    assert both == pytest.approx(whole, rel=1e-10 if method == 0 else 1e-6)


def test_parameter_offsets(ala2: Molecule, ala2_atoms: list[int]) -> None:
    system = ala2.create_system()
    nonbonded = next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    nonbonded.addGlobalParameter("lambda", 0.7)
    nonbonded.addParticleParameterOffset("lambda", 3, 0.5, 0.0, 0.1)
    nonbonded.addExceptionParameterOffset("lambda", 2, 0.5, 0.0, 0.1)
    with pytest.raises(UnsupportedForceFieldError, match="lambda"):
        divide(ala2, system, ala2_atoms).region_forces()
    mixed = divide(ala2, system, ala2_atoms, charges=RegionCharges.REMOVED).system
    energy, _ = energy_and_forces(mixed, ala2.positions)
    assert energy == pytest.approx(0.0, abs=1e-12)


def test_the_original_system_is_not_changed(ala2: Molecule, ala2_atoms: list[int]) -> None:
    system = ala2.create_system(constraints=app.HBonds)
    before = openmm.XmlSerializer.serialize(system)
    divide(ala2, system, ala2_atoms, charges=RegionCharges.REMOVED).split_off_nonbonded()
    assert openmm.XmlSerializer.serialize(system) == before
