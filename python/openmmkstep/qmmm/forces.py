"""The forces of a mixed system that come from this plugin: QM level and surrogate, with the same embedding charges."""

from __future__ import annotations

import os
from collections.abc import Sequence

import openmm

from openmmkstep.engines.specification import QMEngine
from openmmkstep.openmmapi.embedding_charges import EmbeddingCharges
from openmmkstep.openmmapi.qmmm_force import QMMMForce
from openmmkstep.surrogates.compilation import compiled_package

from .embedding import EmbeddingSettings
from .region import QMRegion

Charges = Sequence[tuple[int, float, int]]


def create_qm_force(engine: QMEngine, region: QMRegion, charges: Charges, settings: EmbeddingSettings) -> openmm.Force:
    """The QMMMForce of a region; ``charges`` are (particle, charge, group), empty for mechanical embedding."""
    return QMMMForce(
        list(region.particles),
        [int(number) for number in region.numbers],
        charge=region.charge,
        multiplicity=region.multiplicity,
        engine=engine.name,
        settings=engine.settings,
        embeddingCharges=_embedding_charges(charges, settings),
    )


def create_surrogate_force(
    archive: str | os.PathLike[str],
    region: QMRegion,
    charges: Charges,
    settings: EmbeddingSettings,
    threads: int,
    compiled: bool,
) -> openmm.Force:
    """The TorchScriptForce of a region, in the same charges as the QM level, compiled for this machine or not."""
    from openmmkstep.openmmapi.torchscript_force import TorchScriptForce

    force = TorchScriptForce(archive, list(region.particles), [int(number) for number in region.numbers])
    takes_potential = "potential" in force.getContract()["inputs"]
    if charges or (settings.periodic and takes_potential):
        force.setEmbeddingCharges(_embedding_charges(charges, settings))
    force.setNumThreads(threads)
    package = compiled_package(archive, len(region.particles)) if compiled else None
    if package is not None:
        force.setCompiledPackage(package)
    return force


def _embedding_charges(charges: Charges, settings: EmbeddingSettings) -> EmbeddingCharges:
    return EmbeddingCharges(
        [particle for particle, _, _ in charges],
        [charge for _, charge, _ in charges],
        [group for _, _, group in charges],
        cutoff=settings.cutoff,
        switchingDistance=settings.switch_distance,
        periodic=settings.periodic,
    )
