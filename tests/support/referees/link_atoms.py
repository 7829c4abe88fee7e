"""sander's link atoms, at a fixed distance, and ours, at a fixed fraction of the bond, at one geometry."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app

from openmmkstep.qmmm.forces import find_qm_force

LINK_DISTANCE = 0.109
"""sander's default, nm."""


def charges_of(prmtop: app.AmberPrmtopFile) -> NDArray[np.float64]:
    """The charges of a force field [N], e."""
    system = prmtop.createSystem(nonbondedMethod=app.NoCutoff)
    force = next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    return np.array([force.getParticleParameters(index)[0]._value for index in range(force.getNumParticles())])


def charges_with_nothing_to_choose(
    prmtop: app.AmberPrmtopFile, region: Sequence[int], cuts: Sequence[tuple[int, int]]
) -> dict[int, float]:
    """Changed charges, e, with which all schemes for cut bonds say the same.

    MM ends have none and the region of each residue has a whole one; the oxygen atom of the backbone takes what is
    missing.
    """
    charges = charges_of(prmtop)
    atoms = list(prmtop.topology.atoms())
    changes: dict[int, float] = {}
    for qm, mm in cuts:
        residue = atoms[qm].residue
        total = charges[[particle for particle in region if atoms[particle].residue is residue]].sum()
        oxygen = next(atom.index for atom in residue.atoms() if atom.name == "O")
        changes |= {mm: 0.0, qm: charges[qm] + round(total) - total}
        changes[oxygen] = charges[oxygen] + charges[mm] + total - round(total)
    return changes


def distances_at(
    system: openmm.System, positions: NDArray[np.float64], cuts: Sequence[tuple[int, int]]
) -> list[tuple[int, int, float]]:
    """The `linkAtomDistances` that put link atoms where sander has them at positions [N,3], nm."""
    bonds = next(force for force in system.getForces() if isinstance(force, openmm.HarmonicBondForce))
    terms = [bonds.getBondParameters(index) for index in range(bonds.getNumBonds())]
    resting = {frozenset((i, j)): length._value for i, j, length, _ in terms}
    return [
        (qm, mm, resting[frozenset((qm, mm))] * ratio)
        for (qm, mm), ratio in zip(cuts, ratios_at(positions, cuts), strict=True)
    ]


def ratios_at(positions: NDArray[np.float64], cuts: Sequence[tuple[int, int]]) -> list[float]:
    """The fractions of the cut bonds, given as (QM, MM), at which sander's link atoms are."""
    return [LINK_DISTANCE / float(np.linalg.norm(positions[mm] - positions[qm])) for qm, mm in cuts]


def at_fixed_distances(
    mixed: openmm.System,
    positions: NDArray[np.float64],
    cuts: Sequence[tuple[int, int]],
    forces: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Forces [N,3] with link atoms at fixed fractions as they are with such at fixed distances, kJ/mol/nm.

    At the fraction r = d / R the MM end has r F of the force F on the link atom; at the distance d it has
    r (F - (F u) u) with u along the bond. The QM end has the rest.
    """
    context = openmm.Context(mixed, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    context.getState(energy=True)
    on_links = find_qm_force(mixed).getLastResult(context).forces[-len(cuts) :]
    projected = forces.copy()
    for (qm, mm), ratio, force in zip(cuts, ratios_at(positions, cuts), on_links, strict=True):
        along = positions[mm] - positions[qm]
        along /= np.linalg.norm(along)
        projected[mm] -= ratio * (force @ along) * along
        projected[qm] += ratio * (force @ along) * along
    return projected
