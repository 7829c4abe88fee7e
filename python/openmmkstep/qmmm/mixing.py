"""Makes a system with a QM region of an MM system: what QMMMPotential.createMixedSystem() does."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import openmm
from openmm import app

from openmmkstep.openmmapi.qmmm_force import QMMMForce

from .embedding.boundary_charges import DEFAULT_CHARGE_SCHEME, ChargeScheme
from .embedding.charges import EmbeddingSettings, SeenCharges, collect_embedding_charges, embedding_settings
from .embedding.errors import EmbeddingError
from .embedding.far_field import (
    FarField,
    charges_of_mechanical_embedding,
    check_choice,
    far_field_charges,
    refuse_far_field,
)
from .force_field.division import SystemDivision
from .force_field.nonbonded_terms import RegionCharges
from .force_field.recognition import ForceReference, UnsupportedForceFieldError
from .forces import create_far_field_force, create_region_mark, tells_region
from .level_parts import EnginePart, LevelArgument, LevelCase, LevelPart, level_of
from .levels import force_groups
from .masses import repartition_mass
from .molecule_graph import MoleculeGraph
from .region import QMRegion, RegionChargeWarning, region_charge_mismatch

Embedding = Literal["electrostatic", "mechanical"]


@dataclass(frozen=True)
class MixingOptions:
    """How a region is coupled to its surroundings, and the levels below QM; see QMMMPotential.createMixedSystem().

    Attributes:
        embedding: "electrostatic" or "mechanical".
        cutoff: Distance beyond which the region does not see charges, nm; None for all charges.
        switch_distance: Distance where they begin to be switched off, nm; None for 80 % of the cut-off.
        far_field: What the region is to charges beyond the cut-off: "force-field", "qm", "none", or None for the force
            field where there can be one.
        charge_scheme: What becomes of the MM charges beside bonds that the region cuts.
        surrogate: What the surrogate is the sum of, as `openmmkstep.qmmm.level_parts.level_of` takes it; None for
            none.
        surrogate_threads: Threads of archives.
        compile_surrogate: Whether archives are compiled for this machine.
        base_level: What the base level is the sum of, likewise.
        split_nonbonded: Whether nonbonded MM forces get a force group of their own.
        split_reciprocal: Whether the reciprocal space of their Ewald sums gets another one.
        hydrogen_mass: Mass of the region's hydrogen atoms, amu, taken from the atoms that they are bonded to; None for
            the masses that there are.
        keep_forces: Forces of the MM system that stay as they are.
        remove_forces: Forces of the MM system whose terms inside the region are the force field's.
    """

    embedding: Embedding = "electrostatic"
    cutoff: float | None = None
    switch_distance: float | None = None
    far_field: FarField | None = None
    charge_scheme: ChargeScheme = DEFAULT_CHARGE_SCHEME
    surrogate: LevelArgument = None
    surrogate_threads: int = 1
    compile_surrogate: bool = False
    base_level: LevelArgument = None
    split_nonbonded: bool = False
    split_reciprocal: bool = False
    hydrogen_mass: float | None = None
    keep_forces: Collection[ForceReference] = ()
    remove_forces: Collection[ForceReference] = ()


def mix(
    top: Sequence[LevelPart],
    topology: app.Topology,
    system: openmm.System,
    region: QMRegion,
    graph: MoleculeGraph,
    options: MixingOptions,
) -> openmm.System:
    """A copy of an MM system in which a region is described by a QM method, or by whatever else is the top level.

    Args:
        top: The QM method; none lets the surrogate stand for it.
        topology: The topology of the system.
        system: The MM system; it is not changed.
        region: The QM region.
        graph: The molecular graph of the system.
        options: Embedding, levels, and what happens to forces of the MM system.

    Raises:
        ValueError: Anything that makes no sense, as QMMMPotential.createMixedSystem() says.
    """
    if any(QMMMForce.isInstance(force) for force in system.getForces()):
        raise UnsupportedForceFieldError("the system has a QM region already: start from the MM system")
    levels = {
        force_groups.BASE_LEVEL: level_of(options.base_level, archives_by_default=False),
        force_groups.SURROGATE: level_of(options.surrogate),
        force_groups.QM: tuple(top),
    }
    method = next((part.method for part in top if part.method is not None), None)
    for part in top:
        part.check(region, False, None)
    mismatch = region_charge_mismatch(system, region, graph)
    if mismatch is not None:
        warnings.warn(mismatch, RegionChargeWarning, stacklevel=3)
    environment = _environment(system, region, graph, options, method is not None)
    charges, settings = environment.charges, environment.settings
    _refuse_blind_top(top, charges)
    for parts in levels.values():
        _check_level(parts, region, charges, settings, method)
    division = SystemDivision(
        system,
        region.members,
        graph,
        charges=environment.in_the_force_field,
        keep_forces=options.keep_forces,
        remove_forces=options.remove_forces,
    )
    if options.split_nonbonded:
        division.split_off_nonbonded()
    if options.split_reciprocal:
        division.split_off_reciprocal()
    mixed = division.system
    if options.hydrogen_mass is not None:
        repartition_mass(mixed, region.particles, graph, options.hydrogen_mass)
    far_field = None
    if environment.region_charges and not division.divides_charges:
        refuse_far_field(options.far_field, "keepForces keeps the NonbondedForce as it is")
    elif environment.region_charges:
        far_field = create_far_field_force(region, environment.region_charges, charges, settings)
        # Beside the nonbonded force, with which it makes a small and smooth whole.
        far_field.setForceGroup(force_groups.SLOW_COMMON if options.split_nonbonded else force_groups.COMMON)
        mixed.addForce(far_field)
    case = LevelCase(
        region,
        charges,
        settings,
        division.region_forces,
        topology,
        threads=options.surrogate_threads,
        compiled=options.compile_surrogate,
    )
    # Levels below the QM method do not feel the far field: it would cost them more than it is worth.
    with_far_field = replace(case, far_field=far_field if options.far_field == "qm" else None)
    for group, parts in levels.items():
        for part in parts:
            for force in part.create(with_far_field if group == force_groups.QM else case):
                force_groups.place(force, group)
                mixed.addForce(force)
    if top and not any(tells_region(force) for force in mixed.getForces()):
        mixed.addForce(create_region_mark(region))
    return mixed


def _refuse_blind_top(top: Sequence[LevelPart], charges: SeenCharges) -> None:
    for part in top:
        if charges.charges and not part.sees_charges:
            raise EmbeddingError(
                f"{part.name} does not see the MM charges, so that nothing would couple the region to them: use "
                "embedding='mechanical', where the force field does"
            )


def _check_level(
    parts: Sequence[LevelPart], region: QMRegion, charges: SeenCharges, settings: EmbeddingSettings, method: str | None
) -> None:
    """Refuse parts that cannot describe the region or take its charges, before anything is made."""
    below = {part.minus for part in parts}
    for part in parts:
        # A difference on which another one stands leads to another method than the top level, and should.
        leads_elsewhere = part.above is not None and part.above in below
        part.check(region, bool(charges.charges), None if leads_elsewhere else method)
        if isinstance(part, EnginePart) and (charges.charges or charges.bond_charges):
            part.engine.check_charges(fading=settings.cutoff is not None)


@dataclass(frozen=True)
class _Environment:
    """What QM level and surrogate see of the surroundings, and what the surroundings see of the region.

    Attributes:
        settings: How charges enter the QM calculation.
        in_the_force_field: What becomes of the region's charges there.
        charges: The embedding charges.
        region_charges: The region's charges in the force field of which a FarFieldForce takes out a part, e by
            particle.
    """

    settings: EmbeddingSettings
    in_the_force_field: RegionCharges
    charges: SeenCharges = field(default_factory=SeenCharges)
    region_charges: dict[int, float] = field(default_factory=dict)


def _environment(
    system: openmm.System, region: QMRegion, graph: MoleculeGraph, options: MixingOptions, has_engine: bool
) -> _Environment:
    # Periodic without charges: the QM level then puts a region of several molecules in one piece.
    none = EmbeddingSettings(None, None, system.usesPeriodicBoundaryConditions())
    if options.embedding == "mechanical":
        if options.cutoff is not None or options.switch_distance is not None or options.far_field is not None:
            raise EmbeddingError(
                "cutoff, switchDistance and farField belong to electrostatic embedding; with embedding='mechanical' "
                "the force field's own cut-off rules"
            )
        pairs = charges_of_mechanical_embedding(system, region.members)
        return _Environment(none, RegionCharges.PAIRS_IN_FULL if pairs else RegionCharges.KEPT, region_charges=pairs)
    if options.embedding != "electrostatic":
        raise EmbeddingError(f"embedding must be 'electrostatic' or 'mechanical', got {options.embedding!r}")
    check_choice(options.far_field)
    if options.far_field == "qm" and not has_engine:
        raise EmbeddingError("farField='qm' lets the far field act on the QM method, and there is none")
    if len(region.members) == system.getNumParticles():
        if options.cutoff is not None:
            warnings.warn("the QM region is the whole system: the embedding cut-off has no effect", stacklevel=4)
        refuse_far_field(options.far_field, "the QM region is the whole system")
        return _Environment(none, RegionCharges.REMOVED)
    nonbonded = [force for force in system.getForces() if isinstance(force, openmm.NonbondedForce)]
    if len(nonbonded) != 1:
        raise EmbeddingError(
            f"electrostatic embedding takes its charges from the NonbondedForce, and the system has {len(nonbonded)} "
            "of them: use embedding='mechanical', or merge them into one"
        )
    periodic = nonbonded[0].usesPeriodicBoundaryConditions()
    settings = embedding_settings(system, options.cutoff, options.switch_distance, periodic)
    kept = far_field_charges(nonbonded[0], region.members, settings, options.far_field)
    return _Environment(
        settings,
        RegionCharges.IN_FULL if kept else RegionCharges.REMOVED,
        collect_embedding_charges(nonbonded[0], region.members, graph, region.links, options.charge_scheme),
        kept,
    )
