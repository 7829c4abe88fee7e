"""What the energy of a mixed system is made of."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
import openmm
from openmm import unit

from openmmkstep.openmmapi.embedding_charges import EmbeddingCharges
from openmmkstep.openmmapi.far_field_force import FarFieldForce
from openmmkstep.openmmapi.qmmm_force import QMMMForce
from openmmkstep.units import value_in

from .force_field.origins import Origin, origin
from .forces import find_qm_force
from .levels import force_groups

_GROUPS = 32
_VACUUM, _WEAK = "qm_vacuum", "qm_in_weak_field"
# Part of the charges: errors of convergence are divided by it, and of a cubic term it is what the parabola leaves.
_WEAKNESS = 0.01
_LATTICE_SUMS = (openmm.NonbondedForce.Ewald, openmm.NonbondedForce.PME)

LEVELS_BELOW = {"surrogate": force_groups.SURROGATE, "base_level": force_groups.BASE_LEVEL}
"""Names of the levels below QM and their force groups."""


class EnergyDecomposition:
    """The parts of the potential energy of a mixed system at the QM level, kJ/mol, by name.

    ``qm``: energy of the QM region in the field of the embedding charges. ``lennard_jones``: of NonbondedForce and
    CustomNonbondedForce between region and surroundings. ``long_range``: of the region's force-field charges, with all
    that lies beyond the embedding; where the QM method feels that itself (``farField="qm"``), ``qm`` has it, and
    ``long_range`` is what the force field's sum over periodic images counts besides. ``mm_nonbonded``: what is left of
    these forces. Every other force has its own name, as in the System; of those with equal names the sum. These parts
    sum to the potential energy.

    Of the QM energy: ``qm_coulomb`` is that of the QM method's atomic charges in the field. With ``polarisation``,
    which costs two QM calls each time, ``qm_vacuum`` is the energy without the field, ``permanent_coulomb`` that of the
    unperturbed density in the field, and ``polarisation`` what ``qm`` has more: the response, which is never positive.
    The second is of first order in the field, as the QM method itself describes it (atomic charges do not, and xTB
    weakens Coulomb's law at short distance): by a call in a hundredth of the field, and a parabola.

    The levels below, which do not act on the trajectory in the end: ``surrogate`` and ``base_level``; NaN where they
    fail.

    Args:
        system: A system from createMixedSystem().
        platform: Platform of the additional Context; None for the fastest.
        polarisation: Whether the QM energy is divided further.
    """

    def __init__(
        self, system: openmm.System, platform: openmm.Platform | None = None, polarisation: bool = False
    ) -> None:
        self._force = find_qm_force(system)
        self._levels = {
            name: group
            for name, group in LEVELS_BELOW.items()
            if any(force.getForceGroup() == group for force in system.getForces())
        }
        self._parts: list[tuple[dict[str, float], openmm.Force]] = []
        region = _region_of(system, self._force)
        far_field = None
        for force in system.getForces():
            below = QMMMForce.isInstance(force) or force.getForceGroup() in force_groups.LEVELS
            if not below and origin(force) is not Origin.WITHOUT_ENERGY:
                self._add(force, region)
            if FarFieldForce.isInstance(force) and self._force.hasFarField():
                far_field = FarFieldForce.cast(force)
        if polarisation:
            self._parts.append(({_VACUUM: 1.0}, _in_field(self._force, 0.0, None)))
            self._parts.append(({_WEAK: 1.0}, _in_field(self._force, _WEAKNESS, far_field)))
        self._places = _places(system, [force for _, force in self._parts], platform)

    def evaluate(self, context: openmm.Context) -> dict[str, float]:
        """The parts at the present positions of a Context of the system, kJ/mol.

        Costs no QM call if the Context has just made an outer step, but two more with ``polarisation``.
        """
        energy_of_force = _energy(context, {force_groups.QM})
        result = self._force.getLastResult(context)
        terms = {"qm": result.energy, "qm_coulomb": float(result.charges @ result.potential)}
        state = context.getState(positions=True, parameters=True)
        moved: list[openmm.Context] = []
        for (weights, force), (place, group) in zip(self._parts, self._places, strict=True):
            if place not in moved:
                _move(place, state)
                moved.append(place)
            if QMMMForce.isInstance(force):
                # From nothing, so that a run that is taken up has the same lines.
                QMMMForce.cast(force).reset(place)
            energy = _energy(place, {group})
            if QMMMForce.isInstance(force):
                energy = QMMMForce.cast(force).getLastResult(place).energy
            for name, weight in weights.items():
                terms[name] = terms.get(name, 0.0) + weight * energy
        if self._force.hasFarField():
            # What it takes out of the force field.
            terms["long_range"] += energy_of_force - result.energy
        if _VACUUM in terms:
            whole, weak = terms["qm"] - terms[_VACUUM], terms.pop(_WEAK) - terms[_VACUUM]
            terms["permanent_coulomb"] = (weak - _WEAKNESS**2 * whole) / (_WEAKNESS * (1 - _WEAKNESS))
            terms["polarisation"] = whole - terms["permanent_coulomb"]
        for name, group in self._levels.items():
            try:
                terms[name] = _energy(context, {group})
            except openmm.OpenMMException:
                # A surrogate may know nothing of this geometry; the trajectory goes on without it.
                terms[name] = math.nan
        return terms

    @property
    def summands(self) -> tuple[str, ...]:
        """The names of the parts that sum to the potential energy."""
        names = ["qm"]
        for weights, _ in self._parts:
            names += [name for name in weights if name not in names and name not in (_VACUUM, _WEAK)]
        return tuple(names)

    def _add(self, force: openmm.Force, region: Collection[int]) -> None:
        clone = openmm.XmlSerializer.clone(force)
        if isinstance(force, openmm.NonbondedForce):
            # Whole = MM + region's charges; Lennard-Jones of the region = with it - without it, both without charges.
            self._parts.append(({"long_range": 1.0}, clone))
            self._parts.append(({"long_range": -1.0, "mm_nonbonded": 1.0}, _without_charges(force, region)))
            everything = range(force.getNumParticles())
            uncharged = _without_charges(force, everything)
            self._parts.append(({"lennard_jones": 1.0, "mm_nonbonded": -1.0}, uncharged))
            self._parts.append(({"lennard_jones": -1.0, "mm_nonbonded": 1.0}, _without_depths(uncharged, region)))
        elif FarFieldForce.isInstance(force):
            self._parts.append(({"long_range": 1.0}, clone))
        elif isinstance(force, openmm.CustomNonbondedForce) and force.getNumInteractionGroups() == 0:
            across = openmm.XmlSerializer.clone(force)
            across.addInteractionGroup(list(region), sorted(set(range(force.getNumParticles())) - set(region)))
            self._parts.append(({"mm_nonbonded": 1.0}, clone))
            self._parts.append(({"lennard_jones": 1.0, "mm_nonbonded": -1.0}, across))
        else:
            self._parts.append(({force.getName(): 1.0}, clone))


def _region_of(system: openmm.System, force: QMMMForce) -> list[int]:
    """QM atoms, and virtual sites that they define."""
    members = {int(particle) for particle in force.getParticles()}
    for particle in range(system.getNumParticles()):
        if system.isVirtualSite(particle):
            site = system.getVirtualSite(particle)
            if all(site.getParticle(index) in members for index in range(site.getNumParticles())):
                members.add(particle)
    return sorted(members)


def _without_charges(force: openmm.NonbondedForce, particles: Collection[int]) -> openmm.NonbondedForce:
    """A copy in which some particles have no charge."""
    copy: openmm.NonbondedForce = openmm.XmlSerializer.clone(force)
    chosen = set(particles)
    for index in range(copy.getNumParticleParameterOffsets()):
        parameter, particle, charge, sigma, epsilon = copy.getParticleParameterOffset(index)
        copy.setParticleParameterOffset(
            index, parameter, particle, 0.0 if particle in chosen else charge, sigma, epsilon
        )
    for particle in chosen:
        _, sigma, epsilon = copy.getParticleParameters(particle)
        copy.setParticleParameters(particle, 0.0, sigma, epsilon)
    for index in range(copy.getNumExceptions()):
        i, j, _, sigma, epsilon = copy.getExceptionParameters(index)
        if i in chosen or j in chosen:
            copy.setExceptionParameters(index, i, j, 0.0, sigma, epsilon)
    for index in range(copy.getNumExceptionParameterOffsets()):
        parameter, exception, _, sigma, epsilon = copy.getExceptionParameterOffset(index)
        i, j, *_ = copy.getExceptionParameters(exception)
        if i in chosen or j in chosen:
            copy.setExceptionParameterOffset(index, parameter, exception, 0.0, sigma, epsilon)
    if len(chosen) == copy.getNumParticles() and copy.getNonbondedMethod() in _LATTICE_SUMS:
        copy.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    return copy


def _without_depths(force: openmm.NonbondedForce, particles: Collection[int]) -> openmm.NonbondedForce:
    """A copy in which some particles have no Lennard-Jones interaction."""
    copy: openmm.NonbondedForce = openmm.XmlSerializer.clone(force)
    chosen = set(particles)
    for particle in chosen:
        charge, sigma, _ = copy.getParticleParameters(particle)
        copy.setParticleParameters(particle, charge, sigma, 0.0)
    for index in range(copy.getNumExceptions()):
        i, j, product, sigma, _ = copy.getExceptionParameters(index)
        if i in chosen or j in chosen:
            copy.setExceptionParameters(index, i, j, product, sigma, 0.0)
    return copy


def _in_field(force: QMMMForce, part: float, far_field: FarFieldForce | None) -> QMMMForce:
    """The same region in a part of the charges of its environment; 0 for vacuum."""
    weakened = None
    if far_field is not None:
        weakened = FarFieldForce(
            far_field.getParticles().tolist(),
            far_field.getAtomicNumbers().tolist(),
            _weakened(far_field.getEmbeddingCharges(), part),
            {particle: part * charge for particle, charge in far_field.getRegionCharges().items()},
        )
    return QMMMForce(
        force.getParticles().tolist(),
        force.getAtomicNumbers().tolist(),
        force.getEngine(),
        force.getCharge(),
        force.getMultiplicity(),
        force.getEngineSettings(),
        _weakened(force.getEmbeddingCharges(), part) if part else None,
        force.getLinkAtoms(),
        force.getBonds(),
        weakened,
    )


def _weakened(seen: EmbeddingCharges, part: float) -> EmbeddingCharges:
    particles, charges, groups = seen.getCharges()
    return EmbeddingCharges(
        particles.tolist(),
        part * charges,
        groups.tolist(),
        seen.getCutoffDistance(),
        seen.getSwitchingDistance(),
        seen.usesPeriodicBoundaryConditions(),
        [(i, j, weight, part * charge, group) for i, j, weight, charge, group in seen.getBondCharges()],
    )


def _places(
    system: openmm.System, forces: list[openmm.Force], platform: openmm.Platform | None
) -> list[tuple[openmm.Context, int]]:
    """For each force a Context and the group in which it is alone."""
    # A FarFieldForce refuses to stand beside a NonbondedForce with other charges.
    apart = {index for index, force in enumerate(forces) if FarFieldForce.isInstance(force)}
    together = [index for index in range(len(forces)) if index not in apart]
    lists = [together[first : first + _GROUPS] for first in range(0, len(together), _GROUPS)]
    lists += [[index] for index in sorted(apart)]
    found: dict[int, tuple[openmm.Context, int]] = {}
    for indices in lists:
        copy: openmm.System = openmm.XmlSerializer.clone(system)
        while copy.getNumForces():
            copy.removeForce(0)
        for group, index in enumerate(indices):
            forces[index].setForceGroup(group)
            if isinstance(forces[index], openmm.NonbondedForce):
                forces[index].setReciprocalSpaceForceGroup(group)
            copy.addForce(forces[index])
        integrator = openmm.VerletIntegrator(0.001)
        context = openmm.Context(copy, integrator, platform) if platform else openmm.Context(copy, integrator)
        found.update({index: (context, group) for group, index in enumerate(indices)})
    return [found[index] for index in range(len(forces))]


def _move(context: openmm.Context, state: openmm.State) -> None:
    context.setPeriodicBoxVectors(*state.getPeriodicBoxVectors())
    context.setPositions(state.getPositions(asNumpy=True))
    known = set(context.getParameters())
    for name, value in state.getParameters().items():
        if name in known:
            context.setParameter(name, value)


def _energy(context: openmm.Context, groups: set[int]) -> float:
    energy = context.getState(energy=True, groups=groups).getPotentialEnergy()
    return float(np.float64(value_in(energy, unit.kilojoule_per_mole)))
