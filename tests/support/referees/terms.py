"""The energy of a mixed system in Amber's terms, with Amber's constants.

Among MM charges sander has another Coulomb constant. Phases of torsions, which a prmtop gives to six digits, are pi for
sander where they are within 0.001 of it; OpenMM takes them as they stand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import openmm
from numpy.typing import NDArray

from kstep_models.units import COULOMB
from openmmkstep import QMMMForce

from .sander import CALORIE, ELECTRON, Answer

COULOMB_RATIO = ELECTRON**2 * CALORIE / 10 / COULOMB
"""Amber's Coulomb constant over ours: 1 - 3.5e-5."""
TOLERANCE = 1e-7
"""Of deviations(): a prmtop has eight digits of each pair's Lennard-Jones parameters, which OpenMM has by its rule."""
PARTS = {
    "lennard_jones": (False, True, False),
    "coulomb": (True, False, False),
    "lennard_jones_14": (False, True, True),
    "coulomb_14": (True, False, True),
}
"""Of a NonbondedForce: whether Coulomb, whether Lennard-Jones, whether of its exceptions."""
KINDS: dict[type[openmm.Force], str] = {
    openmm.HarmonicBondForce: "bonds",
    openmm.HarmonicAngleForce: "angles",
    openmm.PeriodicTorsionForce: "torsions",
}


@dataclass(frozen=True)
class Terms:
    """Energies (kJ/mol) and forces [N,3] (kJ/mol/nm) by term."""

    energies: dict[str, float]
    forces: dict[str, NDArray[np.float64]]

    @property
    def total_force(self) -> NDArray[np.float64]:
        """The sum of all forces [N,3], kJ/mol/nm."""
        return np.sum(list(self.forces.values()), axis=0)


def terms_of(mixed: openmm.System, positions: NDArray[np.float64]) -> Terms:
    """The terms of a mixed system without far field at positions [N,3], nm.

    Raises:
        ValueError: It has a force that is none of Amber's.
    """
    system: openmm.System = openmm.XmlSerializer.clone(mixed)
    groups: dict[str, int] = {}

    def place(force: openmm.Force, name: str) -> None:
        force.setForceGroup(groups.setdefault(name, len(groups)))

    for index in reversed(range(system.getNumForces())):
        force = system.getForce(index)
        kind = next((name for kind, name in KINDS.items() if isinstance(force, kind)), None)
        if isinstance(force, openmm.PeriodicTorsionForce):
            _round_phases(force)
        if kind is not None:
            place(force, kind)
        elif QMMMForce.isInstance(force):
            place(force, "qm")
        elif isinstance(force, openmm.NonbondedForce):
            for name in PARTS:
                part = part_of(force, name)
                place(part, name)
                system.addForce(part)
            system.removeForce(index)
        elif isinstance(force, openmm.CMMotionRemover):
            system.removeForce(index)
        else:
            raise ValueError(f"{force.getName()} is none of Amber's terms")
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(positions)
    energies, forces = {}, {}
    for name, group in groups.items():
        state = context.getState(energy=True, forces=True, groups={group})
        energies[name] = state.getPotentialEnergy()._value
        forces[name] = np.array(state.getForces(asNumpy=True)._value)
    return Terms(energies, forces)


def _round_phases(force: openmm.PeriodicTorsionForce) -> None:
    for index in range(force.getNumTorsions()):
        *particles, periodicity, phase, k = force.getTorsionParameters(index)
        if abs(phase._value - math.pi) <= 1e-3:
            force.setTorsionParameters(index, *particles, periodicity, math.pi, k)


def part_of(force: openmm.NonbondedForce, name: str) -> openmm.NonbondedForce:
    """A copy of a force that has one of its PARTS, its Coulomb energy as with Amber's constant."""
    coulomb, lennard_jones, of_exceptions = PARTS[name]
    part: openmm.NonbondedForce = openmm.XmlSerializer.clone(force)
    pairs = not of_exceptions
    for index in range(part.getNumParticles()):
        charge, sigma, epsilon = part.getParticleParameters(index)
        scale = COULOMB_RATIO**0.5 * (pairs and coulomb)
        part.setParticleParameters(index, charge * scale, sigma, epsilon * (pairs and lennard_jones))
    for index in range(part.getNumExceptions()):
        i, j, product, sigma, epsilon = part.getExceptionParameters(index)
        scale = COULOMB_RATIO * (of_exceptions and coulomb)
        part.setExceptionParameters(index, i, j, product * scale, sigma, epsilon * (of_exceptions and lennard_jones))
    return part


def deviations(ours: Terms, sanders: Answer, without: tuple[str, ...] = ()) -> dict[str, float]:
    """Relative deviations of all energies, and of the total force, from sander's.

    Energies are measured by their own size; a term that sander has none of must be below 1e-9 kJ/mol, for which its
    deviation is 0. The force is measured by its largest component.
    """
    found = {}
    for name, value in sanders.energies.items():
        if name in ("total", "hydrogen_bonds", "restraints", *without):
            continue
        mine = ours.energies.get(name, 0.0)
        found[name] = abs(mine - value) / abs(value) if abs(value) > 1e-9 else float(abs(mine) > 1e-9)
    if not without:
        found["force"] = float(np.abs(ours.total_force - sanders.forces).max() / np.abs(sanders.forces).max())
    return found
