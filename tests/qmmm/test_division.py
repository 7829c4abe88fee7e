"""What divideSystem() takes out of a system is exactly the region's own energy: nothing lost, nothing counted twice."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import openmm
import pytest
from openmm import app

from openmmkstep.qmmm.division import SystemDivision, divideSystem, refuseMissingBondTerms
from openmmkstep.qmmm.molecule_graph import MoleculeGraph
from openmmkstep.qmmm.nonbonded_terms import COULOMB_CONSTANT, UnsupportedForceFieldError
from tests.support.qmmm.energies import energyAndForces, withForces
from tests.support.qmmm.molecules import Molecule


def divide(system: openmm.System, region: list[int], **options: object) -> SystemDivision:
    arguments = {"zeroCharges": False, "splitNonbonded": False, "withRegionForces": True, "keepForces": (), **options}
    return divideSystem(system, region, **arguments)  # type: ignore[arg-type]


def test_parts_add_up_without_cutoff(solvatedAla2: Molecule, ala2Atoms: list[int]) -> None:
    system = solvatedAla2.createSystem(nonbondedMethod=app.NoCutoff)
    division = divide(system, ala2Atoms)
    whole, wholeForces = energyAndForces(system, solvatedAla2.positions)
    both, bothForces = energyAndForces(withForces(division.system, division.regionForces), solvatedAla2.positions)
    assert both == pytest.approx(whole, rel=1e-11)
    np.testing.assert_allclose(bothForces, wholeForces, rtol=1e-9, atol=1e-6)


def test_parts_add_up_with_pme(solvatedAla2: Molecule, ala2Atoms: list[int]) -> None:
    # A cut-off beyond the size of the molecule: inside it PME counts the pairs that the vacuum terms count.
    system = solvatedAla2.createSystem(nonbondedMethod=app.PME, nonbondedCutoff=1.05, ewaldErrorTolerance=1e-6)
    division = divide(system, ala2Atoms)
    whole, wholeForces = energyAndForces(system, solvatedAla2.positions)
    both, bothForces = energyAndForces(withForces(division.system, division.regionForces), solvatedAla2.positions)
    # Lennard-Jones between far ends of the molecule is cut off in the one and not in the other.
    assert both == pytest.approx(whole, abs=0.02)
    np.testing.assert_allclose(bothForces, wholeForces, atol=0.5)


def test_region_forces_are_the_molecule_in_vacuum(solvatedAla2: Molecule, ala2: Molecule, ala2Atoms: list[int]) -> None:
    division = divide(solvatedAla2.createSystem(nonbondedMethod=app.PME, nonbondedCutoff=0.9), ala2Atoms)
    alone = openmm.System()
    for _ in range(solvatedAla2.topology.getNumAtoms()):
        alone.addParticle(1.0)
    inside, insideForces = energyAndForces(withForces(alone, division.regionForces), solvatedAla2.positions)
    vacuum, vacuumForces = energyAndForces(ala2.createSystem(), solvatedAla2.positions[:22])
    assert inside == pytest.approx(vacuum, rel=1e-10)
    np.testing.assert_allclose(insideForces[:22], vacuumForces, rtol=1e-8, atol=1e-7)
    assert np.all(insideForces[22:] == 0)


def test_electrostatic_division_leaves_lennard_jones_with_the_surroundings(
    solvatedAla2: Molecule, ala2Atoms: list[int]
) -> None:
    system = solvatedAla2.createSystem(nonbondedMethod=app.NoCutoff)
    kept, _ = energyAndForces(divide(system, ala2Atoms).system, solvatedAla2.positions)
    zeroed, _ = energyAndForces(divide(system, ala2Atoms, zeroCharges=True).system, solvatedAla2.positions)
    nonbonded = next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    charges = np.array([nonbonded.getParticleParameters(i)[0]._value for i in range(system.getNumParticles())])
    x = np.asarray(solvatedAla2.positions)
    distances = np.linalg.norm(x[:22, None] - x[None, 22:], axis=2)
    coulomb = COULOMB_CONSTANT * float(np.sum(charges[:22, None] * charges[None, 22:] / distances))
    assert kept - zeroed == pytest.approx(coulomb, abs=1e-4)


def test_energy_inside_an_isolated_region_is_gone(ala2: Molecule, ala2Atoms: list[int]) -> None:
    energy, forces = energyAndForces(divide(ala2.createSystem(), ala2Atoms, zeroCharges=True).system, ala2.positions)
    assert energy == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_allclose(forces, 0.0, atol=1e-10)


def test_pme_sees_nothing_of_a_region_without_charges(solvatedAla2: Molecule, ala2Atoms: list[int]) -> None:
    # Under PME the surroundings must have the energy they have alone, but for Lennard-Jones with the region.
    options = {"nonbondedMethod": app.PME, "nonbondedCutoff": 0.9, "ewaldErrorTolerance": 1e-6}
    system = solvatedAla2.createSystem(**options)
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            force.setUseDispersionCorrection(False)
            for particle in ala2Atoms:
                charge, sigma, _ = force.getParticleParameters(particle)
                force.setParticleParameters(particle, charge, sigma, 0.0)
    mixed = divide(system, ala2Atoms, zeroCharges=True).system
    far = np.array(solvatedAla2.positions)
    far[:22] += 0.35
    first, _ = energyAndForces(mixed, solvatedAla2.positions)
    second, _ = energyAndForces(mixed, far)
    assert second == pytest.approx(first, abs=1e-6)


def test_constraints_inside_the_region_are_removed(solvatedAla2: Molecule, ala2Atoms: list[int]) -> None:
    system = solvatedAla2.createSystem(nonbondedMethod=app.NoCutoff, constraints=app.HBonds, flexibleConstraints=True)
    division = divide(system, ala2Atoms)
    assert len(division.removedConstraints) == 12
    assert division.system.getNumConstraints() == system.getNumConstraints() - 12
    refuseMissingBondTerms(division, MoleculeGraph(solvatedAla2.topology, system))


def test_rung_refuses_constraints_without_bond_terms(solvatedAla2: Molecule, ala2Atoms: list[int]) -> None:
    system = solvatedAla2.createSystem(nonbondedMethod=app.NoCutoff, constraints=app.HBonds)
    division = divide(system, ala2Atoms)
    with pytest.raises(UnsupportedForceFieldError, match=r"ACE 1 .*flexibleConstraints"):
        refuseMissingBondTerms(division, MoleculeGraph(solvatedAla2.topology, system))


def test_groups(solvatedAla2: Molecule, ala2Atoms: list[int]) -> None:
    system = solvatedAla2.createSystem(nonbondedMethod=app.PME, nonbondedCutoff=0.9)
    for split, group in ((False, 0), (True, 4)):
        mixed = divide(system, ala2Atoms, splitNonbonded=split).system
        groups = {type(force).__name__: force.getForceGroup() for force in mixed.getForces()}
        assert groups.pop("NonbondedForce") == groups.pop("CMMotionRemover") == group
        assert set(groups.values()) <= {0}


def everyBondedForce() -> openmm.System:
    """A system of two chains of eight particles, with each kind of bonded force in both and across."""
    system = openmm.System()
    for _ in range(16):
        system.addParticle(12.0)
    bond, angle = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    torsion, rb, cmap = openmm.PeriodicTorsionForce(), openmm.RBTorsionForce(), openmm.CMAPTorsionForce()
    customBond, customAngle = openmm.CustomBondForce("scale*r^2"), openmm.CustomAngleForce("k*theta^2")
    customTorsion = openmm.CustomTorsionForce("k*cos(theta)")
    compound = openmm.CustomCompoundBondForce(3, "k*f(distance(p1,p3))*angle(p1,p2,p3)")
    customBond.addGlobalParameter("scale", 3.0)
    for force in (customAngle, customTorsion):
        getattr(force, f"addPer{type(force).__name__[6:-5]}Parameter")("k")
    compound.addPerBondParameter("k")
    compound.addTabulatedFunction("f", openmm.Continuous1DFunction([1.0, 2.0, 5.0, 3.0], 0.0, 4.0))
    cmap.addMap(4, np.random.default_rng(1).normal(size=16).tolist())
    for s in (0, 8, 4):
        bond.addBond(s, s + 1, 0.1, 1000.0)
        angle.addAngle(s, s + 1, s + 2, 1.5, 200.0)
        torsion.addTorsion(s, s + 1, s + 2, s + 3, 2, 0.3, 4.0)
        rb.addTorsion(s, s + 1, s + 2, s + 3, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
        cmap.addTorsion(0, s, s + 1, s + 2, s + 3, s + 4, s + 5, s + 6, s + 7)
        customBond.addBond(s, s + 2)
        customAngle.addAngle(s + 1, s + 2, s + 3, [7.0])
        customTorsion.addTorsion(s + 1, s + 2, s + 3, s + 4, [8.0])
        compound.addBond([s, s + 3, s + 5], [9.0])
    for force in (bond, angle, torsion, rb, cmap, customBond, customAngle, customTorsion, compound):
        system.addForce(force)
    system.getForce(0).addBond(7, 8, 0.1, 10.0)
    return system


def test_every_bonded_force_is_split_without_loss() -> None:
    system = everyBondedForce()
    positions = np.random.default_rng(2).normal(size=(16, 3))
    division = divide(system, list(range(8)))
    whole, wholeForces = energyAndForces(system, positions)
    both, bothForces = energyAndForces(withForces(division.system, division.regionForces), positions)
    assert len(division.regionForces) == 9
    assert division.system.getNumForces() == 9
    assert both == pytest.approx(whole, rel=1e-12)
    np.testing.assert_allclose(bothForces, wholeForces, rtol=1e-9, atol=1e-9)
    inside = openmm.System()
    for _ in range(16):
        inside.addParticle(1.0)
    _, insideForces = energyAndForces(withForces(inside, division.regionForces), positions)
    assert np.all(insideForces[8:] == 0)


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
    division = divide(system, [1, 3, 4, 6])
    whole, _ = energyAndForces(system, positions)
    both, _ = energyAndForces(withForces(division.system, division.regionForces), positions)
    assert both == pytest.approx(whole, rel=1e-10 if method == 0 else 1e-6)


def test_unknown_forces_are_named(ala2: Molecule, ala2Atoms: list[int]) -> None:
    system = ala2.createSystem()
    force = openmm.GBSAOBCForce()
    for _ in ala2Atoms:
        force.addParticle(0.0, 0.1, 1.0)
    system.addForce(force)
    with pytest.raises(UnsupportedForceFieldError, match=r"GBSAOBCForce.*keepForces"):
        divide(system, ala2Atoms)


def test_forces_to_keep_are_kept(ala2: Molecule, ala2Atoms: list[int]) -> None:
    system = ala2.createSystem()
    restraint = openmm.CustomBondForce("10*(r-0.3)^2")
    restraint.setName("bias")
    restraint.addBond(0, 21)
    system.addForce(restraint)
    mixed = divide(system, ala2Atoms, keepForces=["bias"]).system
    kept = [force for force in mixed.getForces() if force.getName() == "bias"]
    assert len(kept) == 1 and kept[0].getNumBonds() == 1
    with pytest.raises(UnsupportedForceFieldError, match="the forces are"):
        divide(system, ala2Atoms, keepForces=["biass"])


def test_parameter_offsets(ala2: Molecule, ala2Atoms: list[int]) -> None:
    system = ala2.createSystem()
    nonbonded = next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    nonbonded.addGlobalParameter("lambda", 0.7)
    nonbonded.addParticleParameterOffset("lambda", 3, 0.5, 0.0, 0.1)
    nonbonded.addExceptionParameterOffset("lambda", 2, 0.5, 0.0, 0.1)
    with pytest.raises(UnsupportedForceFieldError, match="lambda"):
        divide(system, ala2Atoms)
    mixed = divide(system, ala2Atoms, zeroCharges=True, withRegionForces=False).system
    energy, _ = energyAndForces(mixed, ala2.positions)
    assert energy == pytest.approx(0.0, abs=1e-12)


def test_the_original_system_is_not_changed(ala2: Molecule, ala2Atoms: list[int]) -> None:
    system = ala2.createSystem(constraints=app.HBonds)
    before = openmm.XmlSerializer.serialize(system)
    divide(system, ala2Atoms, zeroCharges=True, splitNonbonded=True)
    assert openmm.XmlSerializer.serialize(system) == before
