"""``kstep region``: atoms, charge, electrons and cut bonds of a QM region, and what is wrong with it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit

from kstep_models.elements import formula
from openmmkstep.qmmm.boundary.cut_bonds import CutBond, find_cut_bonds
from openmmkstep.qmmm.boundary.link_atoms import LinkAtomError, place_link_atoms
from openmmkstep.qmmm.region import QMRegion, force_field_charge, region_charge_mismatch
from openmmkstep.units import value_in
from openmmkstep.workflows.config.sections import QMSection
from openmmkstep.workflows.setup.mixed_system import region_of
from openmmkstep.workflows.setup.molecular_system import MolecularSystem
from openmmkstep.workflows.setup.region_extent import RegionExtent, nearest_images, periodic_box
from openmmkstep.workflows.setup.selection import select_atoms

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ResidueInRegion:
    """The part of a residue that is in the region.

    Attributes:
        name: Name of the residue, with chain and number.
        atoms: How many of its atoms are in the region.
        of: How many it has.
        names: Names of those in the region.
        charge: Their charge by the force field, e; None if it is not known.
    """

    name: str
    atoms: int
    of: int
    names: tuple[str, ...]
    charge: float | None


@dataclass(frozen=True)
class LinkAtomPlace:
    """A link atom.

    Attributes:
        bond: The bond that is cut.
        ratio: Its place on the bond, as a fraction of its length from the QM atom.
        distance: Its distance from the QM atom in the structure, nm.
    """

    bond: str
    ratio: float
    distance: float


@dataclass(frozen=True)
class RegionInspection:
    """A QM region as a configuration means it; it may be one that cannot be.

    Attributes:
        residues: What of which residue is in it.
        formula: Sum formula, with link atoms.
        atoms: Number of QM atoms.
        particles: Number of particles of the system.
        charge: Its charge, as given, e.
        force_field_charge: Its charge by the force field, with whole charges of parts of residues, e; None if it is not
            known.
        multiplicity: Its spin multiplicity, as given.
        electrons: Number of electrons, with those of link atoms.
        cut_bonds: The bonds that it cuts.
        link_atoms: Where link atoms would stand.
        charge_scheme: What becomes of the charges beside them.
        extent: Largest distance between two of its atoms, nm.
        half_box: Half the smallest width of the periodic box, nm; None without one.
        charges_within_cutoff: Charged particles within the embedding cut-off in the structure; None if all are seen, or
            none.
        problems: Why it cannot be.
        warnings: What may be wrong.
        proposals: What to do about it.
    """

    residues: tuple[ResidueInRegion, ...]
    formula: str
    atoms: int
    particles: int
    charge: int
    force_field_charge: float | None
    multiplicity: int
    electrons: int
    cut_bonds: tuple[CutBond, ...]
    link_atoms: tuple[LinkAtomPlace, ...]
    charge_scheme: str
    extent: float
    half_box: float | None
    charges_within_cutoff: int | None
    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    proposals: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"schema": "kstep-region", "version": 1, **asdict(self)}


def inspect_region(molecules: MolecularSystem, qm: QMSection) -> RegionInspection:
    """Look at a region, also where it is one that would be refused.

    Args:
        molecules: The system.
        qm: What the region is.

    Raises:
        SelectionError: No atoms are meant.
    """
    topology, positions = molecules.topology, np.round(molecules.positions, 4)
    chosen = select_atoms(topology, qm.atoms, positions)
    particles, members = _members(molecules, chosen)
    cuts = find_cut_bonds(topology, molecules.graph, members)
    links, unplaced = _link_atoms(molecules, cuts, qm, positions)
    problems, doubts, region = _refusals(molecules, qm)
    charges = _charges(molecules.system)
    total = force_field_charge(molecules.system, members, molecules.graph)
    if region is not None:
        mismatch = region_charge_mismatch(molecules.system, region, molecules.graph)
        doubts += [mismatch] if mismatch else []
    by_index = list(topology.atoms())
    numbers = [by_index[i].element.atomic_number for i in particles if by_index[i].element is not None]
    with_links = [*numbers, *[1] * len(cuts)]
    extent = RegionExtent.of(molecules, particles)
    problems += [extent.refusal] if extent.refusal else []
    doubts += [extent.doubt] if extent.doubt else []
    return RegionInspection(
        residues=_residues(topology, particles, charges),
        formula=formula(with_links),
        atoms=len(particles),
        particles=molecules.system.getNumParticles(),
        charge=qm.charge,
        force_field_charge=total,
        multiplicity=qm.multiplicity,
        electrons=sum(with_links) - qm.charge,
        cut_bonds=tuple(cuts),
        link_atoms=tuple(links),
        charge_scheme=qm.charge_scheme,
        extent=extent.length,
        half_box=extent.half_box,
        charges_within_cutoff=_charges_within(molecules, qm, positions, members, charges),
        problems=tuple(problems + unplaced),
        warnings=tuple(doubts),
        proposals=tuple(_proposals(topology, cuts, total, qm)),
    )


def _members(molecules: MolecularSystem, chosen: Sequence[int]) -> tuple[list[int], list[int]]:
    """QM atoms, and with the virtual sites that they define."""
    sites = molecules.graph.virtual_sites
    particles = sorted({particle for particle in chosen if particle not in sites})
    inside = set(particles)
    return particles, sorted([*particles, *(site for site, parents in sites.items() if inside.issuperset(parents))])


def _link_atoms(
    molecules: MolecularSystem, cuts: Sequence[CutBond], qm: QMSection, positions: Array
) -> tuple[list[LinkAtomPlace], list[str]]:
    placed, problems = [], []
    for cut in cuts:
        if cut.obstacles:
            continue
        given = [entry for entry in qm.link_atom_distances if {entry[0], entry[1]} == {cut.qm, cut.mm}]
        try:
            (link,) = place_link_atoms(molecules.topology, molecules.system, molecules.graph, [(cut.qm, cut.mm)], given)
        except LinkAtomError as error:
            problems.append(str(error))
            continue
        length = float(np.linalg.norm(positions[cut.qm] - positions[cut.mm]))
        placed.append(LinkAtomPlace(cut.name, link.ratio, link.ratio * length))
    return placed, problems


def _refusals(molecules: MolecularSystem, qm: QMSection) -> tuple[list[str], list[str], QMRegion | None]:
    """Why the region would be refused, what would be warned of, and the region."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            region = region_of(molecules, qm)
        except LinkAtomError:
            return [], [], None  # told bond by bond
        except ValueError as error:
            return [str(error)], [], None
    return [], [str(warning.message) for warning in caught], region


def _charges(system: openmm.System) -> Array | None:
    forces = [force for force in system.getForces() if isinstance(force, openmm.NonbondedForce)]
    if len(forces) != 1:
        return None
    count = system.getNumParticles()
    return np.array([value_in(forces[0].getParticleParameters(i)[0], unit.elementary_charge) for i in range(count)])


def _residues(topology: app.Topology, particles: Sequence[int], charges: Array | None) -> tuple[ResidueInRegion, ...]:
    inside = set(particles)
    found = []
    for residue in topology.residues():
        atoms = [atom for atom in residue.atoms() if atom.index in inside]
        if atoms:
            where = f"{residue.name} {residue.id}" + (f" of chain {residue.chain.id}" if residue.chain.id else "")
            charge = None if charges is None else float(charges[[atom.index for atom in atoms]].sum())
            whole = sum(atom.element is not None for atom in residue.atoms())
            found.append(ResidueInRegion(where, len(atoms), whole, tuple(atom.name for atom in atoms), charge))
    return tuple(found)


def _charges_within(
    molecules: MolecularSystem, qm: QMSection, positions: Array, members: Sequence[int], charges: Array | None
) -> int | None:
    if qm.cutoff is None or qm.embedding != "electrostatic" or charges is None:
        return None
    others = np.setdiff1d(np.flatnonzero(charges), members)
    box = periodic_box(molecules.system)
    nearest = np.full(len(others), np.inf)
    for place in positions[list(members)]:
        delta = positions[others] - place
        if box is not None:
            delta = nearest_images(delta, box)
        nearest = np.minimum(nearest, np.linalg.norm(delta, axis=1))
    return int(np.count_nonzero(nearest < qm.cutoff))


def _proposals(topology: app.Topology, cuts: Sequence[CutBond], total: float | None, qm: QMSection) -> list[str]:
    """Side chains cut at CA-CB, where a residue is cut badly; the charge of the force field."""
    residues: Mapping[int, Any] = {atom.index: atom.residue for atom in topology.atoms()}
    proposals = []
    for cut in cuts:
        if not cut.obstacles and not cut.doubts:
            continue
        for residue in dict.fromkeys((residues[cut.qm], residues[cut.mm])):
            names = {atom.name for atom in residue.atoms()}
            if {"N", "CA", "C", "CB"} <= names and residue.name != "PRO":
                proposals.append(
                    f"{residue.name} {residue.id} can be cut at CA-CB: 'sidechain and resid {residue.id}' (with 'and "
                    "chain ...' if the number occurs more than once), or take it in whole with its neighbours"
                )
    if total is not None and abs(total - qm.charge) >= 0.5:
        proposals.append(f"charge: {round(total)}, as the force field has it")
    return list(dict.fromkeys(proposals))
