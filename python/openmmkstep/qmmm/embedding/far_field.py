"""The force-field charges that a region keeps, by which it acts on what lies beyond the embedding cut-off."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import openmm
from openmm import unit

from openmmkstep.units import value_in

from .charges import EmbeddingError, EmbeddingSettings

FarField = Literal["force-field", "none"]

# Those that count every pair in full. Others know the charges of the region in another way than the embedding does.
_METHODS = (
    openmm.NonbondedForce.NoCutoff,
    openmm.NonbondedForce.Ewald,
    openmm.NonbondedForce.PME,
    openmm.NonbondedForce.LJPME,
)


def far_field_charges(
    force: openmm.NonbondedForce,
    region: Collection[int],
    embedding: EmbeddingSettings,
    choice: FarField | None,
) -> dict[int, float]:
    """The charges that a region keeps in the force field, e by particle; empty if it keeps none.

    Args:
        force: The nonbonded force as the force field made it.
        region: Particle indices of the region, virtual sites included.
        embedding: How the region sees the charges of its surroundings.
        choice: What the user wants; None for the far field of the force field where there can be one.

    Raises:
        EmbeddingError: A far field was asked for that cannot be had.
    """
    obstacle = _obstacle(force, region, embedding)
    if choice == "force-field" and obstacle is not None:
        raise EmbeddingError(f"farField='force-field' is not possible: {obstacle}; leave farField out")
    if choice not in (None, "force-field", "none"):
        raise EmbeddingError(f"farField must be 'force-field' or 'none', got {choice!r}")
    if choice == "none" or obstacle is not None:
        return {}
    charges = {i: value_in(force.getParticleParameters(i)[0], unit.elementary_charge) for i in region}
    return {particle: charge for particle, charge in charges.items() if charge != 0.0}


def _obstacle(force: openmm.NonbondedForce, region: Collection[int], embedding: EmbeddingSettings) -> str | None:
    if embedding.cutoff is None:
        return "without an embedding cut-off there is nothing beyond it"
    if force.getNonbondedMethod() not in _METHODS:
        return (
            "the force field's electrostatics end at a cut-off (reaction field), which does not go with charges that "
            "the embedding sees by Coulomb's law: use PME"
        )
    members = set(region)
    for index in range(force.getNumParticleParameterOffsets()):
        parameter, particle, charge_scale, _, _ = force.getParticleParameterOffset(index)
        if particle in members and value_in(charge_scale, unit.elementary_charge) != 0.0:
            return f"charges of the QM region depend on the global parameter {parameter!r}"
    return None
