"""What stays of a force field around a QM region, written apart from the product: by loops over its parameters.

Of bonded terms those stay of which a particle is outside; Lennard-Jones stays for pairs of which a particle is outside,
with the scaling of pairs of three bonds; Coulomb stays for pairs that are both outside, or with mechanical embedding as
Lennard-Jones does. Without box and cut-off.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray

from kstep_models.units import COULOMB

# Kind -> number of terms, a term's parameters, how many of these are particles, what adds one.
_BONDED: dict[str, tuple[str, str, int, str]] = {
    "HarmonicBondForce": ("getNumBonds", "getBondParameters", 2, "addBond"),
    "HarmonicAngleForce": ("getNumAngles", "getAngleParameters", 3, "addAngle"),
    "PeriodicTorsionForce": ("getNumTorsions", "getTorsionParameters", 4, "addTorsion"),
    "RBTorsionForce": ("getNumTorsions", "getTorsionParameters", 4, "addTorsion"),
    "CustomBondForce": ("getNumBonds", "getBondParameters", 2, "addBond"),
    "CustomTorsionForce": ("getNumTorsions", "getTorsionParameters", 4, "addTorsion"),
}

Energies = dict[str, float]


def term_by_term(
    system: openmm.System, positions: NDArray[np.float64], region: Collection[int], mechanical: bool = False
) -> tuple[Energies, NDArray[np.float64]]:
    """Energies by kind of force (kJ/mol) and their forces [N,3] (kJ/mol/nm), of what stays around a region.

    Args:
        system: The system as the force field made it, without box or cut-off.
        positions: [N,3], nm.
        region: Particle indices, virtual sites included.
        mechanical: Whether the region's charges go on acting on those outside.

    Raises:
        ValueError: A kind of force that this does not know.
    """
    inside = set(region)
    energies: Energies = defaultdict(float)
    forces = np.zeros_like(positions)
    for force in system.getForces():
        kind = type(force).__name__
        if kind == "CMMotionRemover":
            continue
        if kind == "NonbondedForce":
            for name, energy, gradient in _pairs(force, positions, inside, mechanical):
                energies[name] += energy
                forces -= gradient
            continue
        rest = _rest(force, inside)
        energy, on_particles = _evaluate(system, rest, positions)
        energies[kind] += energy
        forces += on_particles
    return dict(energies), forces


def _rest(force: openmm.Force, inside: set[int]) -> openmm.Force:
    kind = type(force).__name__
    if kind == "CustomNonbondedForce":
        rest = openmm.XmlSerializer.clone(force)
        outside = [particle for particle in range(force.getNumParticles()) if particle not in inside]
        rest.addInteractionGroup(outside, outside)
        if inside and outside:
            rest.addInteractionGroup(sorted(inside), outside)
        return rest
    if kind == "CMAPTorsionForce":
        return _maps(force, inside)
    if kind not in _BONDED:
        raise ValueError(f"no reference for {kind}")
    count, get, width, add = _BONDED[kind]
    rest = _empty(force)
    for index in range(getattr(force, count)()):
        parameters = getattr(force, get)(index)
        if not inside.issuperset(parameters[:width]):
            getattr(rest, add)(*parameters)
    return rest


def _empty(force: openmm.Force) -> openmm.Force:
    kind = type(force).__name__
    if not kind.startswith("Custom"):
        return type(force)()
    rest = type(force)(force.getEnergyFunction())
    what = "Bond" if kind == "CustomBondForce" else "Torsion"
    for index in range(getattr(force, f"getNumPer{what}Parameters")()):
        getattr(rest, f"addPer{what}Parameter")(getattr(force, f"getPer{what}ParameterName")(index))
    return rest


def _maps(force: openmm.CMAPTorsionForce, inside: set[int]) -> openmm.CMAPTorsionForce:
    rest = openmm.CMAPTorsionForce()
    for index in range(force.getNumMaps()):
        rest.addMap(*force.getMapParameters(index))
    for index in range(force.getNumTorsions()):
        number, *particles = force.getTorsionParameters(index)
        if not inside.issuperset(particles):
            rest.addTorsion(number, *particles)
    return rest


def _evaluate(
    system: openmm.System, force: openmm.Force, positions: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    alone = openmm.System()
    for index in range(system.getNumParticles()):
        alone.addParticle(system.getParticleMass(index))
    alone.addForce(force)
    context = openmm.Context(alone, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(positions)
    state = context.getState(energy=True, forces=True)
    return state.getPotentialEnergy()._value, np.array(state.getForces(asNumpy=True)._value)


def _pairs(
    force: openmm.NonbondedForce, positions: NDArray[np.float64], inside: set[int], mechanical: bool
) -> list[tuple[str, float, NDArray[np.float64]]]:
    """Lennard-Jones and Coulomb energy of pairs, and their gradients [N,3]."""
    count = force.getNumParticles()
    values = np.array([[_plain(value) for value in force.getParticleParameters(index)] for index in range(count)])
    charge, sigma, epsilon = values.T
    products = np.outer(charge, charge)
    sigmas = 0.5 * (sigma[:, None] + sigma[None, :])
    epsilons = np.sqrt(np.outer(epsilon, epsilon))
    for index in range(force.getNumExceptions()):
        i, j, *exception = force.getExceptionParameters(index)
        for table, value in zip((products, sigmas, epsilons), exception, strict=True):
            table[i, j] = table[j, i] = _plain(value)
    member = np.isin(np.arange(count), list(inside))
    both = member[:, None] & member[None, :]
    either = member[:, None] | member[None, :]
    np.fill_diagonal(both, True)
    np.fill_diagonal(either, True)
    apart = positions[:, None] - positions[None, :]
    distance = np.linalg.norm(apart, axis=2)
    np.fill_diagonal(distance, 1.0)
    sixth = (sigmas / distance) ** 6
    terms: list[tuple[str, NDArray[Any], NDArray[Any], NDArray[Any]]] = [
        ("LennardJones", 4 * epsilons * (sixth**2 - sixth), 4 * epsilons * (-12 * sixth**2 + 6 * sixth), both),
        ("Coulomb", COULOMB * products / distance, -COULOMB * products / distance, both if mechanical else either),
    ]
    results = []
    for name, energy, slope, gone in terms:
        gradient = np.where(gone, 0.0, slope / distance**2)[:, :, None] * apart
        results.append((name, float(np.where(gone, 0.0, energy).sum() / 2), gradient.sum(axis=1)))
    return results


def _plain(value: Any) -> float:
    return float(getattr(value, "_value", value))
