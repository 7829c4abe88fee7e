"""The atoms that are treated quantum mechanically: checked against topology, system and electron count."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit

from .molecule_graph import MoleculeGraph


class RegionError(ValueError):
    """The QM region that was asked for cannot be."""


@dataclass(frozen=True)
class QMRegion:
    """A QM region that passed all checks.

    Attributes:
        particles: particle indices, ascending.
        numbers: atomic numbers [n].
        masses: amu [n].
        names: atom names [n].
        bonds: molecular graph [b,2], places in the region.
        charge: total charge, e.
        multiplicity: spin multiplicity.
    """

    particles: tuple[int, ...]
    numbers: NDArray[np.int64]
    masses: NDArray[np.float64]
    names: tuple[str, ...]
    bonds: NDArray[np.int64]
    charge: int
    multiplicity: int

    @classmethod
    def create(
        cls,
        topology: app.Topology,
        system: openmm.System,
        qm_atoms: Iterable[int],
        charge: int,
        multiplicity: int,
        graph: MoleculeGraph | None = None,
    ) -> QMRegion:
        """Check a region and collect what is known about it.

        Args:
            topology: names elements and bonds.
            system: masses, constraints, virtual sites.
            qm_atoms: particle indices in any order.
            charge: total charge of the region, e.
            multiplicity: spin multiplicity, 1 for a closed shell.
            graph: of the same topology and system, where the caller has it.

        Raises:
            RegionError: indices that are no integers, out of range, repeated or none at all; atoms without element;
                virtual sites; a bond that the region would cut; impossible charge or multiplicity.
        """
        particles = _checked_indices(qm_atoms, topology.getNumAtoms())
        graph = graph if graph is not None else MoleculeGraph(topology, system)
        atoms = list(topology.atoms())
        for particle in particles:
            if system.isVirtualSite(particle):
                raise RegionError(
                    f"{graph.name(particle)} is a virtual site and cannot be a QM atom: leave it out of atoms"
                )
            if atoms[particle].element is None:
                raise RegionError(
                    f"{graph.name(particle)} has no element: set it in the topology, the QM method needs it"
                )
        _refuse_cut_bonds(graph, particles)
        numbers = np.array([atoms[particle].element.atomic_number for particle in particles], dtype=np.int64)
        charge, multiplicity = _checked_spin(numbers, charge, multiplicity)
        masses = [system.getParticleMass(particle).value_in_unit(unit.dalton) for particle in particles]
        return cls(
            particles=particles,
            numbers=numbers,
            masses=np.array(masses, dtype=np.float64),
            names=tuple(atoms[particle].name for particle in particles),
            bonds=graph.bonds_within(particles),
            charge=charge,
            multiplicity=multiplicity,
        )


def _checked_indices(qm_atoms: Iterable[int], count: int) -> tuple[int, ...]:
    indices = []
    for value in qm_atoms:
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


def _refuse_cut_bonds(graph: MoleculeGraph, particles: tuple[int, ...]) -> None:
    cut = graph.cut_bonds(particles)
    if not cut:
        return
    shown = "; ".join(f"{graph.name(i)} - {graph.name(j)}" for i, j in cut[:5])
    more = f" and {len(cut) - 5} more" if len(cut) > 5 else ""
    raise RegionError(
        f"the QM region cuts {len(cut)} bond{'s' if len(cut) > 1 else ''} (QM - MM): {shown}{more}. "
        "Link atoms are not supported yet: take whole molecules into the region"
    )


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
        raise RegionError(
            f"charge {charge} and multiplicity {multiplicity} do not fit: {electrons} electrons cannot have {unpaired} "
            f"unpaired. With this charge the multiplicity must be {'odd' if electrons % 2 == 0 else 'even'}"
        )
    return charge, multiplicity
