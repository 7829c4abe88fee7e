"""The QM/MM system of a configuration."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import openmm
from openmm import unit

from openmmkstep.engines.registry import EngineSpecification, specification
from openmmkstep.openmmapi.far_field_force import FarFieldForce
from openmmkstep.openmmapi.qmmm_force import QMMMForce
from openmmkstep.qmmm.embedding.far_field import FarField
from openmmkstep.qmmm.forces import find_qm_force
from openmmkstep.qmmm.level_parts import ArchivePart, EnginePart, LevelPart
from openmmkstep.qmmm.mixing import MixingOptions, mix
from openmmkstep.qmmm.region import QMRegion
from openmmkstep.units import value_in
from openmmkstep.workflows.config.sections import QMSection, SurrogateSection

from .molecular_system import MolecularSystem
from .region_extent import RegionExtent
from .selection import select_atoms


@dataclass(frozen=True)
class MixedSystem:
    """A system with a QM region.

    Attributes:
        system: The system, with the force groups of openmmkstep.qmmm.levels.force_groups.
        region: the QM region, with the masses that the system has.
    """

    system: openmm.System
    region: QMRegion

    @property
    def far_field(self) -> FarField:
        """What of the region acts beyond the embedding cut-off."""
        forces = self.system.getForces()
        found = [FarFieldForce.cast(force) for force in forces if FarFieldForce.isInstance(force)]
        if not any(force.getEmbeddingCharges().getNumCharges() > 0 for force in found):
            return "none"
        return "qm" if find_qm_force(self.system).hasFarField() else "force-field"


def region_of(molecules: MolecularSystem, qm: QMSection) -> QMRegion:
    """The QM region that a configuration means, checked."""
    # To the digits of the structure file, so that a run that is taken up has the same region.
    atoms = select_atoms(molecules.topology, qm.atoms, np.round(molecules.positions, 4))
    return QMRegion.create(
        molecules.topology,
        molecules.system,
        atoms,
        qm.charge,
        qm.multiplicity,
        molecules.graph,
        qm.link_atom_distances,
    )


def engine_of(qm: QMSection) -> EngineSpecification:
    """The QM method that a configuration means."""
    return specification(qm.method, qm.settings, others=QMMMForce.getEngines())


def method_below(section: SurrogateSection) -> EngineSpecification:
    """The QM method that serves as surrogate."""
    return specification(section.method or "", section.settings, others=QMMMForce.getEngines())


def surrogate_parts(section: SurrogateSection) -> list[LevelPart]:
    """What the surrogate that a configuration means is the sum of."""
    parts: list[LevelPart] = []
    if section.method is not None:
        parts.append(EnginePart(method_below(section)))
    if section.archive is not None:
        parts.append(ArchivePart(section.archive))
    return parts


def build_mixed_system(
    molecules: MolecularSystem,
    qm: QMSection,
    surrogate: SurrogateSection | None = None,
    split_nonbonded: bool = False,
    split_reciprocal: bool = False,
) -> MixedSystem:
    """The QM/MM system that a configuration means.

    Args:
        molecules: The force-field system.
        qm: Region, method, embedding.
        surrogate: Archive and the level below it; none for plain QM dynamics.
        split_nonbonded: Whether nonbonded forces are put into the slow common group.
        split_reciprocal: Whether the reciprocal space of Ewald sums is put into a group of its own.

    Raises:
        RegionError: A region that cannot be, or that reaches around the box.
        ValueError: What `openmmkstep.qmmm.mixing.mix` refuses.
    """
    region = region_of(molecules, qm)
    isolated = len(region.members) == molecules.system.getNumParticles()
    if not isolated:
        RegionExtent.of(molecules, region.particles).check()
    options = MixingOptions(
        embedding=qm.embedding,
        cutoff=None if isolated else qm.cutoff,
        switch_distance=None if isolated else qm.switch_distance,
        far_field=None if isolated else qm.far_field,
        charge_scheme=qm.charge_scheme,
        surrogate=(surrogate_parts(surrogate) or None) if surrogate is not None else None,
        surrogate_threads=1 if surrogate is None else surrogate.threads,
        compile_surrogate=surrogate is not None and surrogate.compiled,
        base_level=None if surrogate is None else surrogate.base_level,
        split_nonbonded=split_nonbonded,
        split_reciprocal=split_reciprocal,
        hydrogen_mass=qm.hydrogen_mass,
        keep_forces=qm.keep_forces,
        remove_forces=qm.remove_forces,
    )
    top = [EnginePart(engine_of(qm))]
    system = mix(top, molecules.topology, molecules.system, region, molecules.graph, options)
    # Those that move: temperatures and normal modes are theirs.
    masses = np.array([value_in(system.getParticleMass(particle), unit.dalton) for particle in region.particles])
    return MixedSystem(system, replace(region, masses=masses))
