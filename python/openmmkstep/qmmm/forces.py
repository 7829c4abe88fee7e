"""The forces of a mixed system that come from this plugin: QM level and surrogate, in the same embedding charges."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import openmm

from openmmkstep.engines.registry import EngineSpecification
from openmmkstep.openmmapi.embedding_charges import EmbeddingCharges
from openmmkstep.openmmapi.qmmm_force import QMMMForce
from openmmkstep.openmmapi.torchscript_force import TorchScriptForce
from openmmkstep.surrogates.compilation import compiled_package
from openmmkstep.surrogates.suitability import SurrogateError, read_surrogate_contract

from .embedding import EmbeddingSettings
from .region import QMRegion

Charges = Sequence[tuple[int, float, int]]


def create_qm_force(
    engine: EngineSpecification, region: QMRegion, charges: Charges, settings: EmbeddingSettings
) -> openmm.Force:
    """The QMMMForce of a region; ``charges`` are (particle, charge, group), empty for mechanical embedding."""
    return QMMMForce(
        list(region.particles),
        [int(number) for number in region.numbers],
        charge=region.charge,
        multiplicity=region.multiplicity,
        engine=engine.name,
        settings=engine.settings,
        embeddingCharges=_embedding_charges(charges, settings),
        bonds=region.bonded_particles,
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
    numbers = [int(number) for number in region.numbers]
    force = TorchScriptForce(archive, list(region.particles), numbers, bonds=region.bonded_particles)
    takes_potential = "potential" in force.getContract()["inputs"]
    if charges or (settings.periodic and takes_potential):
        force.setEmbeddingCharges(_embedding_charges(charges, settings))
    force.setNumThreads(threads)
    package = compiled_package(archive, len(region.particles)) if compiled else None
    if package is not None:
        force.setCompiledPackage(package)
    return force


def refuse_unsuitable_surrogate(
    archive: str | os.PathLike[str], region: QMRegion, engine: EngineSpecification, needs_environment: bool
) -> None:
    """Check a surrogate's contract against the region, without loading the network.

    Raises:
        SurrogateError: An archive that is none of a surrogate, that is for other elements, atoms, charge or spin, or
            that knows nothing of an environment although there is one.
    """
    contract = read_surrogate_contract(Path(archive))
    missing = sorted({int(z) for z in region.numbers} - set(contract["elements"]))
    if missing:
        raise SurrogateError(
            f"{archive} covers the elements {contract['elements']}, but the QM region also has {missing}: train a "
            "surrogate for this region"
        )
    numbers = contract.get("atomic_numbers")
    if numbers is not None and list(numbers) != [int(z) for z in region.numbers]:
        raise SurrogateError(
            f"{archive} was trained for {len(numbers)} atoms with atomic numbers {numbers}, the QM region has "
            f"{len(region.numbers)} with {region.numbers.tolist()}: give the atoms in the same order, or train a "
            "surrogate for this region"
        )
    for key, value in (("charge", region.charge), ("multiplicity", region.multiplicity)):
        if contract.get(key, value) != value:
            raise SurrogateError(f"{archive} was trained with {key} {contract[key]}, the QM region has {value}")
    if needs_environment and "potential" not in contract["inputs"]:
        raise SurrogateError(
            f"{archive} takes no electrostatic potential and would be blind to the surroundings: train it on QM/MM "
            "frames (kstep generate with solvent), or use embedding='mechanical'"
        )
    method = contract.get("level_of_theory", {}).get("method")
    if method is not None and str(method).lower() != engine.name:
        # Allowed, because the integrator corrects it; but hardly what anyone means to do.
        warnings.warn(
            f"{archive} was trained on {method}, the QM level is {engine.name}: expect large corrections", stacklevel=4
        )


def _embedding_charges(charges: Charges, settings: EmbeddingSettings) -> EmbeddingCharges:
    return EmbeddingCharges(
        [particle for particle, _, _ in charges],
        [charge for _, charge, _ in charges],
        [group for _, _, group in charges],
        cutoff=settings.cutoff,
        switchingDistance=settings.switch_distance,
        periodic=settings.periodic,
    )


def find_qm_force(system: openmm.System) -> QMMMForce:
    """The QM/MM force in a system; it lives as long as the system does.

    Raises:
        ValueError: The system has none.
    """
    for force in system.getForces():
        if QMMMForce.isInstance(force):
            return QMMMForce.cast(force)
    raise ValueError("the system has no QMMMForce: make it with QMMMPotential.createMixedSystem()")
