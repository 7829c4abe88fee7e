"""Which MM charges a QM region sees: taken from the force field, grouped, and checked against the box."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import openmm
from numpy.typing import ArrayLike, NDArray
from openmm import unit

from openmmkstep.units import value_in

from ..molecule_graph import MoleculeGraph
from .charge_groups import charge_groups


class EmbeddingError(ValueError):
    """The embedding that was asked for cannot be had for this system."""


@dataclass(frozen=True)
class EmbeddingSettings:
    """How the MM charges enter the QM calculation.

    Attributes:
        cutoff: Distance beyond which charges are not seen, nm; None for all charges.
        switch_distance: Distance where charge groups begin to be switched off, nm; None without a cut-off.
        periodic: Whether images are considered.
    """

    cutoff: float | None
    switch_distance: float | None
    periodic: bool


def embedding_settings(
    system: openmm.System, cutoff: float | None, switch_distance: float | None, uses_periodic: bool
) -> EmbeddingSettings:
    """Check cut-off and switching distance against each other and against the system's box.

    Args:
        system: The system, for its default box vectors.
        cutoff: Distance beyond which charges are not seen, nm; None for all charges.
        switch_distance: Distance where charge groups begin to be switched off, nm; None for 80 % of the cut-off.
        uses_periodic: Whether the nonbonded force is periodic.

    Raises:
        EmbeddingError: Distances that make no sense, no cut-off in a periodic box, or a box that is too small.
    """
    if cutoff is None:
        if switch_distance is not None:
            raise EmbeddingError("switch_distance without cutoff: give both, or neither to embed in all charges")
        if uses_periodic:
            raise EmbeddingError(
                "a periodic system needs an embedding cut-off: pass cutoff (at most half the box), for example 0.85 nm"
            )
        return EmbeddingSettings(None, None, False)
    if not cutoff > 0:
        raise EmbeddingError(f"the embedding cut-off must be positive, got {cutoff} nm")
    switch_distance = 0.8 * cutoff if switch_distance is None else switch_distance
    if not 0 <= switch_distance < cutoff:
        raise EmbeddingError(
            f"switch_distance must lie between 0 and the cut-off of {cutoff} nm, got {switch_distance} nm"
        )
    if uses_periodic:
        refuse_small_box(box_widths(system), cutoff)
    return EmbeddingSettings(cutoff, switch_distance, uses_periodic)


def box_widths(system: openmm.System) -> NDArray[np.float64]:
    """The diagonal of the system's default (reduced) box vectors [3], nm."""
    vectors = system.getDefaultPeriodicBoxVectors()
    return np.array([vectors[k][k].value_in_unit(unit.nanometer) for k in range(3)])


def refuse_small_box(widths: ArrayLike, cutoff: float) -> None:
    """Raise EmbeddingError if the box [3], nm, is smaller than twice the cut-off, nm."""
    smallest = float(np.min(np.asarray(widths)))
    if smallest < 2 * cutoff:
        raise EmbeddingError(
            f"the periodic box is {smallest:.3f} nm wide, less than twice the embedding cut-off of {cutoff} nm: use a "
            f"larger box or a cut-off of at most {smallest / 2:.3f} nm"
        )


def collect_embedding_charges(
    force: openmm.NonbondedForce, region: Collection[int], graph: MoleculeGraph
) -> list[tuple[int, float, int]]:
    """The charges of all particles outside the region as (particle, charge in e, charge group).

    Particles without charge are left out; groups are numbered from 0 without gaps.

    Args:
        force: The nonbonded force as the force field made it.
        region: Particle indices of the region, virtual sites included.
        graph: The molecular graph of the system.

    Raises:
        EmbeddingError: No charges at all, or charges that depend on a global parameter.
    """
    members = set(region)
    for index in range(force.getNumParticleParameterOffsets()):
        parameter, particle, charge_scale, _, _ = force.getParticleParameterOffset(index)
        if particle not in members and value_in(charge_scale, unit.elementary_charge) != 0.0:
            raise EmbeddingError(
                f"the charge of {graph.name(particle)} depends on the global parameter {parameter!r}; embedding "
                "charges are constants, so electrostatic embedding is not possible. Use embedding='mechanical'"
            )
    charges = [
        value_in(force.getParticleParameters(particle)[0], unit.elementary_charge)
        for particle in range(force.getNumParticles())
    ]
    groups = charge_groups(graph, charges, members)
    numbers: dict[int, int] = {}
    collected = [
        (particle, charge, numbers.setdefault(int(groups[particle]), len(numbers)))
        for particle, charge in enumerate(charges)
        if particle not in members and charge != 0.0
    ]
    if not collected:
        raise EmbeddingError(
            "electrostatic embedding was asked for, but no particle outside the QM region has a charge: use "
            "embedding='mechanical'"
        )
    return collected
