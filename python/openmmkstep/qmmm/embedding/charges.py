"""Which MM charges a QM region sees: taken from the force field, grouped, and checked against the box."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import openmm
from numpy.typing import ArrayLike, NDArray
from openmm import unit

from openmmkstep.openmmapi.region import LinkAtom
from openmmkstep.units import value_in

from ..molecule_graph import MoleculeGraph
from .boundary_charges import DEFAULT_CHARGE_SCHEME, ChargeScheme, boundary_charges
from .charge_groups import charge_groups
from .errors import EmbeddingError


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


@dataclass(frozen=True)
class SeenCharges:
    """The charges around a region, as (particle, charge in e, charge group); groups are numbered from 0 without gaps.

    Attributes:
        charges: What the region sees at the particles.
        bond_charges: What it sees between them, as (particle, bonded particle, weight, charge, group): a charge at
            x_1 + weight (x_2 - x_1).
        in_the_force_field: The charges that the force field has, in the same groups.
    """

    charges: tuple[tuple[int, float, int], ...] = ()
    bond_charges: tuple[tuple[int, int, float, float, int], ...] = ()
    in_the_force_field: tuple[tuple[int, float, int], ...] = ()


def collect_embedding_charges(
    force: openmm.NonbondedForce,
    region: Collection[int],
    graph: MoleculeGraph,
    links: Sequence[LinkAtom] = (),
    scheme: ChargeScheme = DEFAULT_CHARGE_SCHEME,
) -> SeenCharges:
    """The charges of all particles outside the region; those without charge are left out.

    Args:
        force: The nonbonded force as the force field made it.
        region: Particle indices of the region, virtual sites included.
        graph: The molecular graph of the system.
        links: Its link atoms.
        scheme: What becomes of the charges beside them.

    Raises:
        EmbeddingError: No charges at all, charges that depend on a global parameter, or a scheme that cannot be had.
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
    seen = boundary_charges(charges, members, links, graph, scheme)
    # Of the charges that are seen: what a cut leaves of a residue has a whole charge then.
    groups = charge_groups(graph, seen.charges, members)
    anchors = {bond.first for bond in seen.bond_charges}
    numbers: dict[int, int] = {}

    def listed(values: ArrayLike, needed: Collection[int] = ()) -> tuple[tuple[int, float, int], ...]:
        return tuple(
            (particle, float(charge), numbers.setdefault(int(groups[particle]), len(numbers)))
            for particle, charge in enumerate(np.asarray(values))
            if particle not in members and (charge != 0.0 or particle in needed)
        )

    collected = SeenCharges(
        listed(seen.charges, anchors),
        tuple((b.first, b.second, b.weight, b.charge, numbers[int(groups[b.first])]) for b in seen.bond_charges),
        listed(charges),
    )
    if not collected.charges:
        raise EmbeddingError(
            "electrostatic embedding was asked for, but no particle outside the QM region has a charge: use "
            "embedding='mechanical'"
        )
    return collected
