"""Temperatures from kinetic energies."""

from __future__ import annotations

import openmm
from openmm import unit


def degrees_of_freedom(system: openmm.System) -> int:
    """Degrees of freedom: of massive particles, less constraints, less the centre of mass if it is kept still."""
    massive = sum(system.getParticleMass(i).value_in_unit(unit.dalton) > 0 for i in range(system.getNumParticles()))
    constraints = 0
    for index in range(system.getNumConstraints()):
        i, j, _ = system.getConstraintParameters(index)
        if system.getParticleMass(i)._value > 0 or system.getParticleMass(j)._value > 0:
            constraints += 1
    removed = 3 if any(isinstance(force, openmm.CMMotionRemover) for force in system.getForces()) else 0
    return 3 * massive - constraints - removed
