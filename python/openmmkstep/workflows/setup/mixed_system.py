"""The QM/MM system of a configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import openmm

from openmmkstep.qmmm.potential import FORCE_FIELD, QMMMPotential
from openmmkstep.qmmm.region import QMRegion
from openmmkstep.workflows.config.sections import QMSection, SurrogateSection

from .molecular_system import MolecularSystem
from .selection import select_atoms


@dataclass(frozen=True)
class MixedSystem:
    """A system with a QM region.

    Attributes:
        system: with the force groups of openmmkstep.qmmm.force_groups.
        region: the QM region.
    """

    system: openmm.System
    region: QMRegion


def region_of(molecules: MolecularSystem, qm: QMSection) -> QMRegion:
    """The QM region that a configuration means, checked."""
    atoms = select_atoms(molecules.topology, qm.atoms)
    return QMRegion.create(molecules.topology, molecules.system, atoms, qm.charge, qm.multiplicity)


def potential_of(qm: QMSection) -> QMMMPotential:
    """The QM method that a configuration means."""
    return QMMMPotential(qm.method, **qm.settings)


def build_mixed_system(
    molecules: MolecularSystem,
    qm: QMSection,
    surrogate: SurrogateSection | None = None,
    folder: Path | None = None,
    split_nonbonded: bool = False,
) -> MixedSystem:
    """The QM/MM system that a configuration means.

    Args:
        molecules: force-field system.
        qm: region, method, embedding.
        surrogate: archive and the level below it; none for plain QM dynamics.
        folder: the archive's path is relative to it.
        split_nonbonded: put nonbonded forces into the slow common group.
    """
    region = region_of(molecules, qm)
    potential = potential_of(qm)
    isolated = len(region.particles) == molecules.system.getNumParticles()
    system = potential.createMixedSystem(
        molecules.topology,
        molecules.system,
        region.particles,
        charge=qm.charge,
        multiplicity=qm.multiplicity,
        embedding=qm.embedding,
        cutoff=None if isolated else qm.cutoff,
        switchDistance=None if isolated else qm.switch_distance,
        surrogate=None if surrogate is None else (folder or Path()) / surrogate.archive,
        surrogateThreads=1 if surrogate is None else surrogate.threads,
        compileSurrogate=surrogate is not None and surrogate.compiled,
        baseLevel=None if surrogate is None else _base_level(surrogate, folder),
        splitNonbonded=split_nonbonded,
    )
    return MixedSystem(system, region)


def _base_level(surrogate: SurrogateSection, folder: Path | None) -> str | Path | None:
    if surrogate.base_level is None or str(surrogate.base_level) == FORCE_FIELD:
        return None if surrogate.base_level is None else FORCE_FIELD
    return (folder or Path()) / surrogate.base_level
