"""The atoms that are treated quantum mechanically: checked against topology, system and electron count."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit

from openmmkstep.openmmapi.region import LinkAtom
from openmmkstep.units import value_in

from .boundary.cut_bonds import CutBond, find_cut_bonds
from .boundary.link_atoms import HYDROGEN_MASS, LinkAtomDistance, place_link_atoms
from .molecule_graph import MoleculeGraph
from .part_charges import charge_of_parts


class RegionError(ValueError):
    """The QM region that was asked for cannot be."""


class _UnpairedError(RegionError):
    """Charge and multiplicity do not fit the number of electrons."""


class RegionChargeWarning(UserWarning):
    """The charge given for a QM region is not the one that the force field gives it."""


class CutBondWarning(UserWarning):
    """A bond that is cut and had better not be."""


@dataclass(frozen=True)
class QMRegion:
    """A QM region that passed all checks.

    Attributes:
        particles: Particle indices of the QM atoms [n], ascending.
        sites: Particle indices of the virtual sites that QM atoms define, ascending: force-field charges of the region
            without a place in the QM calculation.
        numbers: Atomic numbers [n].
        masses: Masses [n], amu.
        names: Atom names [n].
        bonds: Molecular graph [b,2], places in the region.
        charge: Total charge, e.
        multiplicity: Spin multiplicity.
        links: Link atoms that saturate the bonds which the region cuts.

    The QM method and every level below it see *sites*: the atoms, and after them the link atoms.
    """

    particles: tuple[int, ...]
    sites: tuple[int, ...]
    numbers: NDArray[np.int64]
    masses: NDArray[np.float64]
    names: tuple[str, ...]
    bonds: NDArray[np.int64]
    charge: int
    multiplicity: int
    links: tuple[LinkAtom, ...] = ()

    @property
    def site_numbers(self) -> NDArray[np.int64]:
        """Atomic numbers of the sites [s]."""
        return np.array([*self.numbers, *(link.atomicNumber for link in self.links)], dtype=np.int64)

    @property
    def site_masses(self) -> NDArray[np.float64]:
        """Masses of the sites [s], amu; link atoms, which are hydrogen, carry none of the System's mass."""
        return np.array([*self.masses, *[HYDROGEN_MASS] * len(self.links)], dtype=np.float64)

    @property
    def site_names(self) -> tuple[str, ...]:
        """Names of the sites [s]: those of the atoms, and L1, L2 and so on for link atoms."""
        return (*self.names, *(f"L{number}" for number in range(1, len(self.links) + 1)))

    @property
    def site_bonds(self) -> NDArray[np.int64]:
        """Molecular graph of the sites [b,2]."""
        place = {particle: index for index, particle in enumerate(self.particles)}
        to_links = [(place[link.qmParticle], len(self.particles) + index) for index, link in enumerate(self.links)]
        return np.array([*self.bonds.tolist(), *to_links], dtype=np.int64).reshape(-1, 2)

    @property
    def bonded_particles(self) -> list[tuple[int, int]]:
        """The bonds as pairs of particle indices: what barostats and wrapping take for molecules."""
        return [(self.particles[i], self.particles[j]) for i, j in self.bonds]

    @classmethod
    def create(
        cls,
        topology: app.Topology,
        system: openmm.System,
        atoms: Iterable[int],
        charge: int,
        multiplicity: int,
        graph: MoleculeGraph | None = None,
        link_atom_distances: Iterable[LinkAtomDistance] = (),
        links: Sequence[LinkAtom] | None = None,
    ) -> QMRegion:
        """Check a region and collect what is known about it.

        Args:
            topology: The topology of the system; it names elements and bonds.
            system: The system, for masses, constraints and virtual sites.
            atoms: Particle indices in any order. Virtual sites that these atoms define belong to the region whether
                they are named or not.
            charge: Total charge of the region, e.
            multiplicity: Spin multiplicity, 1 for a closed shell.
            graph: The graph of the same topology and system, where the caller has it.
            link_atom_distances: Lengths of bonds to link atoms instead of the standard ones, as (particle, particle,
                nm) for cut bonds.
            links: The link atoms, where they are known already.

        Raises:
            RegionError: Indices that are no integers, out of range, repeated or none at all; atoms without element; a
                virtual site between region and surroundings; a bond that must not be cut; impossible charge or
                multiplicity.
            LinkAtomError: A link atom that cannot be placed.
        """
        named = _checked_indices(atoms, topology.getNumAtoms())
        graph = graph if graph is not None else MoleculeGraph(topology, system)
        particles = tuple(particle for particle in named if particle not in graph.virtual_sites)
        sites = _sites_of(particles, named, graph)
        by_index = list(topology.atoms())
        for particle in particles:
            if by_index[particle].element is None:
                raise RegionError(
                    f"{graph.name(particle)} has no element: set it in the topology, the QM method needs it"
                )
        numbers = np.array([by_index[particle].element.atomic_number for particle in particles], dtype=np.int64)
        if links is None:
            cut = _checked_cuts(find_cut_bonds(topology, graph, (*particles, *sites)))
            links = place_link_atoms(topology, system, graph, cut, link_atom_distances)
        site_numbers = np.array([*numbers, *(link.atomicNumber for link in links)], dtype=np.int64)
        try:
            charge, multiplicity = _checked_spin(site_numbers, charge, multiplicity)
        except _UnpairedError as error:
            # More often than not it is the charge that was left out.
            total = force_field_charge(system, (*particles, *sites), graph)
            if total is None or abs(total - charge) < 0.5:
                raise
            raise RegionError(f"{error}; but the force field gives the region the charge {_shown(total)}") from error
        masses = [system.getParticleMass(particle).value_in_unit(unit.dalton) for particle in particles]
        return cls(
            particles=particles,
            sites=sites,
            numbers=numbers,
            masses=np.array(masses, dtype=np.float64),
            names=tuple(by_index[particle].name for particle in particles),
            bonds=graph.bonds_within(particles),
            charge=charge,
            multiplicity=multiplicity,
            links=tuple(links),
        )

    @property
    def members(self) -> tuple[int, ...]:
        """Particle indices of atoms and virtual sites of the region, ascending."""
        return tuple(sorted((*self.particles, *self.sites)))


def region_charge_mismatch(system: openmm.System, region: QMRegion, graph: MoleculeGraph) -> str | None:
    """What is wrong with the charge of a region, judged by the force field's charges of its particles.

    Force fields give whole molecules whole charges, so that a difference of half a charge or more is a charge that was
    left out or counted wrongly, unless the region is in a state that the force field does not describe. Of residues
    that are cut the part that is in the region counts with the nearest whole charge.

    Args:
        system: The system as the force field describes it, with one NonbondedForce.
        region: The region.
        graph: The molecular graph of the system.

    Returns:
        A sentence that names both charges and the remedy; None if they fit, or if the force field has no charges there.
    """
    total = force_field_charge(system, region.members, graph)
    if total is None or abs(total - region.charge) < 0.5:
        return None
    return (
        f"the QM region was given the charge {region.charge:+d}, but the force field's charges of its "
        f"{len(region.particles)} atoms sum to {_shown(total)}: pass charge={round(total)}, unless another state of "
        "the molecule is meant"
    )


def force_field_charge(system: openmm.System, members: Sequence[int], graph: MoleculeGraph) -> float | None:
    """Charge of a region by the force field, e; None if it is not known, or has none there."""
    nonbonded = [force for force in system.getForces() if isinstance(force, openmm.NonbondedForce)]
    if len(nonbonded) != 1:
        return None
    charges = [value_in(nonbonded[0].getParticleParameters(i)[0], unit.elementary_charge) for i in members]
    return charge_of_parts(members, charges, graph) if any(charges) else None


def _shown(charge: float) -> str:
    return f"{round(charge):+d}" if abs(charge - round(charge)) < 0.005 else f"{charge:+.3f}"


def _sites_of(particles: tuple[int, ...], named: tuple[int, ...], graph: MoleculeGraph) -> tuple[int, ...]:
    inside, asked = set(particles), set(named)
    sites = []
    for site, parents in graph.virtual_sites.items():
        missing = [parent for parent in parents if parent not in inside]
        if not missing:
            sites.append(site)
        elif len(missing) < len(parents):
            own = next(parent for parent in parents if parent in inside)
            raise RegionError(
                f"the virtual site {graph.name(site)} is defined by {graph.name(own)} in the QM region and by "
                f"{graph.name(missing[0])} outside: take all particles that define it into the region, or none"
            )
        elif site in asked:
            raise RegionError(
                f"{graph.name(site)} is a virtual site and cannot be a QM atom: name the atoms that define it, such as "
                f"{graph.name(parents[0])}"
            )
    return tuple(sorted(sites))


def _checked_indices(atoms: Iterable[int], count: int) -> tuple[int, ...]:
    indices = []
    for value in atoms:
        try:
            indices.append(operator.index(value))
        except TypeError as error:
            raise RegionError(
                f"atoms must hold particle indices (integers), got {value!r} of type {type(value).__name__}"
            ) from error
    if not indices:
        raise RegionError("the QM region is empty: give at least one particle index in atoms")
    outside = sorted({index for index in indices if not 0 <= index < count})
    if outside:
        raise RegionError(f"QM atoms {outside} do not exist: the system has particles 0 to {count - 1}")
    repeated = sorted({index for index in indices if indices.count(index) > 1})
    if repeated:
        raise RegionError(f"QM atoms {repeated} are given more than once")
    return tuple(sorted(indices))


def _checked_cuts(cut_bonds: Sequence[CutBond]) -> list[tuple[int, int]]:
    for cut in cut_bonds:
        if cut.obstacles:
            raise RegionError(
                f"the QM region cuts the bond {cut.name} (QM - MM), which cannot be cut: "
                f"{' and '.join(cut.obstacles)}. Take more atoms into the region, or fewer"
            )
    for cut in cut_bonds:
        for doubt in cut.doubts:
            warnings.warn(f"the QM region cuts the bond {cut.name} (QM - MM): {doubt}", CutBondWarning, stacklevel=4)
    return [(cut.qm, cut.mm) for cut in cut_bonds]


def _checked_spin(numbers: NDArray[np.int64], charge: int, multiplicity: int) -> tuple[int, int]:
    try:
        charge, multiplicity = operator.index(charge), operator.index(multiplicity)
    except TypeError as error:
        raise RegionError(f"charge and multiplicity must be integers, got {charge!r} and {multiplicity!r}") from error
    if multiplicity < 1:
        raise RegionError(f"multiplicity must be at least 1 (closed shell), got {multiplicity}")
    electrons = int(numbers.sum()) - charge
    unpaired = multiplicity - 1
    if electrons < 0 or electrons < unpaired:
        raise RegionError(
            f"charge {charge} and multiplicity {multiplicity} are impossible: the region has {electrons} electrons, "
            f"{unpaired} of them unpaired"
        )
    if (electrons - unpaired) % 2:
        raise _UnpairedError(
            f"charge {charge} and multiplicity {multiplicity} do not fit: {electrons} electrons cannot have {unpaired} "
            f"unpaired. With this charge the multiplicity must be {'odd' if electrons % 2 == 0 else 'even'}"
        )
    return charge, multiplicity
