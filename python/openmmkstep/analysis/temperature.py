"""Temperatures from kinetic energies, of a whole system or of a part of it."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit

from kstep_models.units import BOLTZMANN


def degrees_of_freedom(system: openmm.System, particles: Collection[int] | None = None) -> float:
    """Twice the mean kinetic energy of some particles in units of kT, at equilibrium.

    Three for each particle with a mass, less constraints, less three in all for the centre of mass where it is kept
    still. Of a constraint between particles i and j, whose motion along the bond is frozen, i loses m_j/(m_i + m_j) and
    j the rest; of the centre of mass each particle loses 3 m_i/M, M being the mass of the system. Virtual sites and
    particles without mass have none.

    Args:
        system: constraints, masses and CMMotionRemover are read from it.
        particles: indices; all if None.

    Returns:
        The number, a whole one for a whole system; parts add up to it.

    Raises:
        IndexError: a particle is not in the system.
    """
    masses = _masses(system)
    freedom = np.where(masses > 0, 3.0, 0.0)
    for index in range(system.getNumConstraints()):
        i, j, _ = system.getConstraintParameters(index)
        freedom[i] -= _lost(masses[i], masses[j])
        freedom[j] -= _lost(masses[j], masses[i])
    if any(isinstance(force, openmm.CMMotionRemover) for force in system.getForces()):
        freedom -= 3.0 * masses / masses.sum()
    chosen = freedom if particles is None else freedom[np.unique(np.asarray(list(particles), dtype=np.int64))]
    return float(round(chosen.sum(), 9))


def temperature(kinetic_energy: float, freedom: float) -> float | None:
    """A temperature (K); None where nothing can move.

    Args:
        kinetic_energy: kJ/mol.
        freedom: degrees of freedom.
    """
    return 2.0 * kinetic_energy / (freedom * BOLTZMANN) if freedom > 0 else None


def _lost(mass: float, partner: float) -> float:
    """Degrees of freedom that a constraint takes from one of its two particles; one without mass stands still."""
    if mass == 0.0:
        return 0.0
    return 1.0 if partner == 0.0 else partner / (mass + partner)


def _masses(system: openmm.System) -> NDArray[np.float64]:
    number = system.getNumParticles()
    return np.array([system.getParticleMass(i).value_in_unit(unit.dalton) for i in range(number)], dtype=np.float64)
