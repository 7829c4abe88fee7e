"""Makes a system with a QM region of an MM system: what QMMMPotential.createMixedSystem() does."""

from __future__ import annotations

import os
import warnings
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

import openmm

from openmmkstep.engines.registry import EngineSpecification
from openmmkstep.openmmapi.qmmm_force import QMMMForce
from openmmkstep.surrogates.bonded_fit.model import BondedFit, BondedFitError
from openmmkstep.surrogates.suitability import refuse_unsuitable_surrogate

from . import force_groups
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
from .forces import create_far_field_force, create_qm_force, create_surrogate_force
from .molecule_graph import MoleculeGraph
from .region import QMRegion, RegionChargeWarning, region_charge_mismatch

Embedding = Literal["electrostatic", "mechanical"]
FORCE_FIELD = "force-field"
"""As a base level: the region's own force-field terms."""


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
        surrogate: Archive of the surrogate; None for none.
        surrogate_threads: Threads of the surrogate.
        compile_surrogate: Whether the surrogate is compiled for this machine.
        base_level: File of a bonded fit, or "force-field"; None for none.
        split_nonbonded: Whether nonbonded MM forces get a force group of their own.
        split_reciprocal: Whether the reciprocal space of their Ewald sums gets another one.
        keep_forces: Forces of the MM system that stay as they are.
        remove_forces: Forces of the MM system whose terms inside the region are the force field's.
    """

    embedding: Embedding = "electrostatic"
    cutoff: float | None = None
    switch_distance: float | None = None
    far_field: FarField | None = None
    charge_scheme: ChargeScheme = DEFAULT_CHARGE_SCHEME
    surrogate: str | os.PathLike[str] | None = None
    surrogate_threads: int = 1
    compile_surrogate: bool = False
    base_level: str | os.PathLike[str] | None = None
    split_nonbonded: bool = False
    split_reciprocal: bool = False
    keep_forces: Collection[ForceReference] = ()
    remove_forces: Collection[ForceReference] = ()


def mix(
    engine: EngineSpecification | None,
    system: openmm.System,
    region: QMRegion,
    graph: MoleculeGraph,
    options: MixingOptions,
) -> openmm.System:
    """A copy of an MM system in which a region is described by a QM method.

    Args:
        engine: The QM method; None lets the surrogate stand for it.
        system: The MM system; it is not changed.
        region: The QM region.
        graph: The molecular graph of the system.
        options: Embedding, levels, and what happens to forces of the MM system.

    Raises:
        ValueError: Anything that makes no sense, as QMMMPotential.createMixedSystem() says.
    """
    if engine is not None:
        engine.check(region.site_numbers, region.charge, region.multiplicity)
    if any(QMMMForce.isInstance(force) for force in system.getForces()):
        raise UnsupportedForceFieldError("the system has a QM region already: start from the MM system")
    mismatch = region_charge_mismatch(system, region, graph)
    if mismatch is not None:
        warnings.warn(mismatch, RegionChargeWarning, stacklevel=3)
    environment = _environment(system, region, graph, options, engine is not None)
    charges, settings = environment.charges, environment.settings
    if engine is not None and (charges.charges or charges.bond_charges):
        engine.check_charges(fading=settings.cutoff is not None)
    if options.surrogate is not None:
        refuse_unsuitable_surrogate(
            options.surrogate,
            region.site_numbers.tolist(),
            region.charge,
            region.multiplicity,
            None if engine is None else engine.name,
            needs_environment=bool(charges.charges),
        )
    base_level = options.base_level
    fit = None if base_level is None or base_level == FORCE_FIELD else _bonded_fit(base_level, region)
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
    far_field = None
    if environment.region_charges and not division.divides_charges:
        refuse_far_field(options.far_field, "keepForces keeps the NonbondedForce as it is")
    elif environment.region_charges:
        far_field = create_far_field_force(region, environment.region_charges, charges, settings)
        # Beside the nonbonded force, with which it makes a small and smooth whole.
        far_field.setForceGroup(force_groups.SLOW_COMMON if options.split_nonbonded else force_groups.COMMON)
        mixed.addForce(far_field)
    base_forces = fit.create_forces(region.particles, region.links) if fit is not None else []
    if base_level == FORCE_FIELD:
        base_forces = division.region_forces()
    for force in base_forces:
        force_groups.place_base_level(force)
        mixed.addForce(force)
    if options.surrogate is not None:
        force = create_surrogate_force(
            options.surrogate, region, charges, settings, options.surrogate_threads, options.compile_surrogate
        )
        force.setForceGroup(force_groups.SURROGATE)
        mixed.addForce(force)
    if engine is not None:
        force = create_qm_force(engine, region, charges, settings, far_field if options.far_field == "qm" else None)
        force.setForceGroup(force_groups.QM)
        mixed.addForce(force)
    return mixed


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


def _bonded_fit(path: str | os.PathLike[str], region: QMRegion) -> BondedFit:
    model = BondedFit.read(path)
    if model.numbers != tuple(int(number) for number in region.site_numbers):
        raise BondedFitError(
            f"{path} was fitted for atomic numbers {list(model.numbers)}, the QM region has "
            f"{region.site_numbers.tolist()}: give the atoms in the same order, or fit one for this region"
        )
    return model
