"""The forces of a mixed system that come from this plugin: levels and far field, in the same embedding charges."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

import openmm

from openmmkstep.engines.registry import EngineSpecification
from openmmkstep.openmmapi.embedding_charges import EmbeddingCharges
from openmmkstep.openmmapi.far_field_force import FarFieldForce
from openmmkstep.openmmapi.qmmm_force import QMMMForce
from openmmkstep.openmmapi.torchscript_force import TorchScriptForce
from openmmkstep.surrogates.compilation import compiled_package

from .embedding.charges import EmbeddingSettings, SeenCharges
from .levels import force_groups
from .region import QMRegion


def create_qm_force(
    engine: EngineSpecification,
    region: QMRegion,
    charges: SeenCharges,
    settings: EmbeddingSettings,
    far_field: openmm.Force | None = None,
) -> openmm.Force:
    """The QMMMForce of a region; without charges for mechanical embedding.

    ``far_field`` is the FarFieldForce whose field acts on the QM method itself, if it does.
    """
    return QMMMForce(
        list(region.particles),
        [int(number) for number in region.numbers],
        charge=region.charge,
        multiplicity=region.multiplicity,
        engine=engine.name,
        settings=engine.settings,
        embeddingCharges=_embedding_charges(charges, settings),
        linkAtoms=region.links,
        bonds=region.bonded_particles,
        farField=far_field,
    )


def create_surrogate_force(
    archive: str | os.PathLike[str],
    region: QMRegion,
    charges: SeenCharges,
    settings: EmbeddingSettings,
    threads: int,
    compiled: bool,
) -> openmm.Force:
    """The TorchScriptForce of a region, in the same charges as the QM level, compiled for this machine or not."""
    numbers = [int(number) for number in region.numbers]
    force = TorchScriptForce(
        archive, list(region.particles), numbers, linkAtoms=region.links, bonds=region.bonded_particles
    )
    takes_potential = "potential" in force.getContract()["inputs"]
    if charges.charges or (settings.periodic and takes_potential):
        force.setEmbeddingCharges(_embedding_charges(charges, settings))
    force.setNumThreads(threads)
    package = compiled_package(archive, len(region.site_numbers)) if compiled else None
    if package is not None:
        force.setCompiledPackage(package)
    return force


def create_far_field_force(
    region: QMRegion, region_charges: Mapping[int, float], charges: SeenCharges, settings: EmbeddingSettings
) -> openmm.Force:
    """The FarFieldForce of a region that keeps ``region_charges`` (e by particle) in the force field.

    It takes out what the force field counts, so that it has the force field's charges beside a cut bond.
    """
    return FarFieldForce(
        list(region.particles),
        [int(number) for number in region.numbers],
        _embedding_charges(SeenCharges(charges.in_the_force_field), settings),
        region_charges,
        linkAtoms=region.links,
        bonds=region.bonded_particles,
    )


_MARK = re.compile(r"QMRegion\(charge=(-?\d+), multiplicity=(\d+)\)")


def create_region_mark(region: QMRegion) -> openmm.Force:
    """A force that does nothing but tell which particles the region is, with its charge and multiplicity.

    For systems none of whose levels can tell: a potential of openmm-ml or a force field above a bonded fit, say. It
    goes through OpenMM's serializer as any other force.
    """
    mark = openmm.CustomExternalForce("0")
    for particle in region.particles:
        mark.addParticle(int(particle))
    mark.setName(f"QMRegion(charge={region.charge}, multiplicity={region.multiplicity})")
    mark.setForceGroup(force_groups.QM)
    return mark


def is_region_mark(force: openmm.Force) -> bool:
    """Whether a force is one of `create_region_mark`."""
    return _MARK.fullmatch(force.getName()) is not None and isinstance(force, openmm.CustomExternalForce)


def tells_region(force: openmm.Force) -> bool:
    """Whether a force of a level tells which particles the region is."""
    if force.getForceGroup() not in force_groups.LEVELS:
        return False
    return is_region_mark(force) or QMMMForce.isInstance(force) or TorchScriptForce.isInstance(force)


def marked_state(system: openmm.System) -> tuple[int, int]:
    """Charge and multiplicity of a region by its mark; a neutral closed shell where there is none."""
    for force in system.getForces():
        if is_region_mark(force):
            found = _MARK.fullmatch(force.getName())
            return (int(found[1]), int(found[2])) if found else (0, 1)
    return 0, 1


def _embedding_charges(seen: SeenCharges, settings: EmbeddingSettings) -> EmbeddingCharges:
    return EmbeddingCharges(
        [particle for particle, _, _ in seen.charges],
        [charge for _, charge, _ in seen.charges],
        [group for _, _, group in seen.charges],
        cutoff=settings.cutoff,
        switchingDistance=settings.switch_distance,
        periodic=settings.periodic,
        bondCharges=seen.bond_charges,
    )


def find_qm_force(system: openmm.System) -> QMMMForce:
    """The QM/MM force of the QM level in a system; it lives as long as the system does.

    Where no force is in the QM level's group, as in a system made by hand, it is the only QMMMForce there is.

    Raises:
        ValueError: The system has none, or several of which none is the QM level's.
    """
    found = [force for force in system.getForces() if QMMMForce.isInstance(force)]
    of_the_level = [force for force in found if force.getForceGroup() == force_groups.QM]
    if len(of_the_level or found) != 1:
        raise ValueError(
            f"the system has {len(of_the_level or found) or 'no'} QMMMForce{'s' if found else ''} that could be the QM "
            "level: make it with QMMMPotential.createMixedSystem()"
        )
    return QMMMForce.cast((of_the_level or found)[0])


def find_method_below(system: openmm.System) -> QMMMForce:
    """The QM method that serves as surrogate in a system; it lives as long as the system does.

    Raises:
        ValueError: The surrogate of the system is none, or has none in it.
    """
    for force in system.getForces():
        if force.getForceGroup() == force_groups.SURROGATE and QMMMForce.isInstance(force):
            return QMMMForce.cast(force)
    raise ValueError(
        "no QM method is in the surrogate of the system: give createMixedSystem() one, surrogate='gfn2-xtb' say"
    )


def region_particles(system: openmm.System) -> list[int]:
    """The particles of the region that the levels of a mixed system describe.

    Raises:
        ValueError: No level tells; the message has the remedy.
    """
    for group in (force_groups.QM, force_groups.SURROGATE, force_groups.BASE_LEVEL):
        for force in system.getForces():
            if force.getForceGroup() != group:
                continue
            if QMMMForce.isInstance(force):
                return list(QMMMForce.cast(force).getParticles())
            if TorchScriptForce.isInstance(force):
                return list(TorchScriptForce.cast(force).getParticles())
            if is_region_mark(force):
                return [force.getParticleParameters(index)[0] for index in range(force.getNumParticles())]
    raise ValueError(
        "no force of the system tells which particles are the region: make the system with "
        "QMMMPotential.createMixedSystem(), or pass monitoredParticles"
    )
