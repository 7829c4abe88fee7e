"""What a region and the charges beyond the embedding cut-off are to each other.

The region keeps its force-field charges, by which it acts on what lies there. The QM method may feel it too, instead of
these charges (``"qm"``).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, get_args

import openmm
from openmm import unit

from openmmkstep.units import value_in

from .charges import EmbeddingSettings
from .errors import EmbeddingError

FarField = Literal["force-field", "qm", "none"]

# Those that count every pair in full. Others know the charges of the region in another way than the embedding does.
_EWALD = (openmm.NonbondedForce.Ewald, openmm.NonbondedForce.PME, openmm.NonbondedForce.LJPME)
_METHODS = (openmm.NonbondedForce.NoCutoff, *_EWALD)


def check_choice(choice: FarField | None) -> None:
    """Refuse a word that stands for no far field.

    Raises:
        EmbeddingError: It does.
    """
    if choice not in (None, *get_args(FarField)):
        raise EmbeddingError(f"farField must be 'force-field', 'qm' or 'none', got {choice!r}")


def refuse_far_field(choice: FarField | None, obstacle: str) -> None:
    """Refuse a far field that was asked for and cannot be had; one that was not asked for is just not there.

    Raises:
        EmbeddingError: It was asked for.
    """
    if choice in ("force-field", "qm"):
        raise EmbeddingError(f"farField={choice!r} is not possible: {obstacle}; leave farField out")


def far_field_charges(
    force: openmm.NonbondedForce,
    region: Collection[int],
    embedding: EmbeddingSettings,
    choice: FarField | None,
) -> dict[int, float]:
    """The charges that a region in electrostatic embedding keeps in the force field, e by particle; maybe none.

    Args:
        force: The nonbonded force as the force field made it.
        region: Particle indices of the region, virtual sites included.
        embedding: How the region sees the charges of its surroundings.
        choice: What the user wants; None for the far field of the force field where there can be one.

    Raises:
        EmbeddingError: A far field was asked for that cannot be had.
    """
    if choice == "none":
        return {}
    obstacle = _obstacle(force, region, embedding)
    if choice == "qm" and obstacle is None and force.getNonbondedMethod() not in _EWALD:
        obstacle = "it is that of a periodic box, for which the force field needs PME or Ewald"
    if obstacle is not None:
        refuse_far_field(choice, obstacle)
        return {}
    return _charges(force, region)


def charges_of_mechanical_embedding(system: openmm.System, region: Collection[int]) -> dict[int, float]:
    """The charges of a region whose pairs must be taken out of the lattice sum where the QM level has them.

    Args:
        system: The system as the force field made it.
        region: Particle indices of the region, virtual sites included.

    Returns:
        e by particle; empty where there is no lattice sum, or more than one force that may have a share in it.
    """
    forces = [force for force in system.getForces() if isinstance(force, openmm.NonbondedForce)]
    if len(forces) != 1 or forces[0].getNonbondedMethod() not in _EWALD:
        return {}
    if not forces[0].getIncludeDirectSpace() or _changing_charge(forces[0], region) is not None:
        return {}
    return _charges(forces[0], region)


def _obstacle(force: openmm.NonbondedForce, region: Collection[int], embedding: EmbeddingSettings) -> str | None:
    if embedding.cutoff is None:
        return "without an embedding cut-off there is nothing beyond it"
    if force.getNonbondedMethod() not in _METHODS:
        return (
            "the force field's electrostatics end at a cut-off (reaction field), which does not go with charges that "
            "the embedding sees by Coulomb's law: use PME"
        )
    if not force.getIncludeDirectSpace():
        return "the NonbondedForce leaves out the direct space"
    parameter = _changing_charge(force, region)
    if parameter is not None:
        return f"charges of the QM region depend on the global parameter {parameter!r}"
    if not _charges(force, region):
        return "the force field gives the QM region no charges"
    return None


def _charges(force: openmm.NonbondedForce, region: Collection[int]) -> dict[int, float]:
    charges = {i: value_in(force.getParticleParameters(i)[0], unit.elementary_charge) for i in region}
    return {particle: charge for particle, charge in charges.items() if charge != 0.0}


def _changing_charge(force: openmm.NonbondedForce, region: Collection[int]) -> str | None:
    """A global parameter on which a charge of the region depends."""
    members = set(region)
    for index in range(force.getNumParticleParameterOffsets()):
        parameter, particle, charge_scale, _, _ = force.getParticleParameterOffset(index)
        if particle in members and value_in(charge_scale, unit.elementary_charge) != 0.0:
            return str(parameter)
    return None
