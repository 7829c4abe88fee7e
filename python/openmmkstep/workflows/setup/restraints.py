"""Atoms held in place while a system is equilibrated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import openmm
from numpy.typing import NDArray

from openmmkstep.workflows.config.equilibration import RestraintSection

from .molecular_system import MolecularSystem
from .selection import SelectionError, select_atoms


def add_restraints(
    system: openmm.System, molecules: MolecularSystem, restraints: Sequence[RestraintSection], where: str
) -> openmm.CustomExternalForce | None:
    """Hold atoms where the built system has them, by K/2 r^2 with r to the nearest periodic image.

    Args:
        system: System to which the force is added.
        molecules: topology and positions.
        restraints: Which atoms, and how strongly; an atom of several is held by all of them.
        where: name of the configuration's key, for errors.

    Returns:
        The force; None if there are no restraints.

    Raises:
        SelectionError: A selection that selects nothing or is not understood, or an atom that is not there or twice.
    """
    if not restraints:
        return None
    distance = "periodicdistance(x, y, z, x0, y0, z0)^2"
    if not system.usesPeriodicBoundaryConditions():
        distance = "((x - x0)^2 + (y - y0)^2 + (z - z0)^2)"
    force = openmm.CustomExternalForce(f"0.5 * restraint * {distance}")
    force.setName("restraints")
    for name in ("restraint", "x0", "y0", "z0"):
        force.addPerParticleParameter(name)
    # To the digits of the structure file, as for the QM region, so that a run that is taken up holds the same atoms.
    places = np.round(molecules.positions, 4)
    for index, restraint in enumerate(restraints):
        for atom in _atoms(restraint, molecules, places, f"{where}[{index}].atoms"):
            if system.getParticleMass(atom)._value > 0:
                force.addParticle(atom, [restraint.force_constant, *places[atom]])
    system.addForce(force)
    return force


def _atoms(
    restraint: RestraintSection, molecules: MolecularSystem, places: NDArray[np.float64], where: str
) -> list[int]:
    try:
        atoms = select_atoms(molecules.topology, restraint.atoms, places)
    except SelectionError as error:
        raise SelectionError(f"{where}: {error}") from error
    number = molecules.system.getNumParticles()
    if not atoms:
        raise SelectionError(f"{where}: the list is empty")
    for atom in atoms:
        if not 0 <= atom < number:
            raise SelectionError(f"{where}: there is no atom {atom}: there are {number} atoms")
    if len(set(atoms)) < len(atoms):
        raise SelectionError(f"{where}: atoms are given more than once, and would be held twice as strongly")
    return atoms
