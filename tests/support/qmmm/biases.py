"""Biases and restraints on the molecules of the tests, and what dividing a system must keep."""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm
import pytest

from openmmkstep.qmmm.force_field.division import SystemDivision
from openmmkstep.qmmm.molecule_graph import MoleculeGraph
from openmmkstep.qmmm.potential import QMMMPotential
from tests.support.qmmm.energies import energy_and_forces, with_forces
from tests.support.qmmm.molecules import Molecule

TWO_WATERS = list(range(6))
PHI, PSI = (4, 6, 8, 14), (6, 8, 14, 16)


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


def system_with(force: openmm.Force) -> openmm.System:
    system = openmm.System()
    for _ in range(22):
        system.addParticle(1)
    system.addForce(force)
    return system
