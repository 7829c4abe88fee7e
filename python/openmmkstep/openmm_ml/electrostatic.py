"""Electrostatic embedding of an exported archive, without a QM level above it."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable

import openmm
from openmm import app, unit

from openmmkstep.qmmm.boundary.link_atoms import LinkAtomDistance
from openmmkstep.qmmm.embedding.boundary_charges import DEFAULT_CHARGE_SCHEME, ChargeScheme
from openmmkstep.qmmm.embedding.far_field import FarField
from openmmkstep.qmmm.force_field.recognition import ForceReference
from openmmkstep.qmmm.mixing import MixingOptions, mix
from openmmkstep.qmmm.molecule_graph import MoleculeGraph
from openmmkstep.qmmm.region import QMRegion
from openmmkstep.units import value_in


def mix_archive(
    archive: str | os.PathLike[str],
    threads: int,
    topology: app.Topology,
    system: openmm.System,
    atoms: Iterable[int],
    charge: int = 0,
    multiplicity: int = 1,
    cutoff: float | unit.Quantity | None = None,
    switchDistance: float | unit.Quantity | None = None,  # noqa: N803 (as in createMixedSystem)
    farField: FarField | None = None,  # noqa: N803
    linkAtomDistances: Iterable[LinkAtomDistance] = (),  # noqa: N803
    chargeScheme: ChargeScheme = DEFAULT_CHARGE_SCHEME,  # noqa: N803
    keepForces: Collection[ForceReference] = (),  # noqa: N803
    removeForces: Collection[ForceReference] = (),  # noqa: N803
) -> openmm.System:
    """A copy of an MM system in which an archive describes a region among the charges of its surroundings.

    Args:
        archive: File name of the archive; its model takes a potential.
        threads: Threads of torch.
        topology: As in `QMMMPotential.createMixedSystem`, like all that follow.
        system: The MM system; it is not changed.
        atoms: Atoms of the region.
        charge: Total charge of the region, e.
        multiplicity: Its spin multiplicity.
        cutoff: Distance beyond which charges are not seen, nm.
        switchDistance: Distance where they begin to be switched off, nm.
        farField: What acts beyond the cut-off.
        linkAtomDistances: Lengths of bonds to link atoms.
        chargeScheme: What becomes of the charge at a bond that is cut.
        keepForces: Forces that stay as they are.
        removeForces: Forces whose terms inside the region are the force field's.

    Raises:
        ValueError: Anything that createMixedSystem refuses; an archive that takes no potential.
    """
    graph = MoleculeGraph(topology, system)
    region = QMRegion.create(topology, system, atoms, charge, multiplicity, graph, linkAtomDistances)
    options = MixingOptions(
        cutoff=None if cutoff is None else value_in(cutoff, unit.nanometer),
        switch_distance=None if switchDistance is None else value_in(switchDistance, unit.nanometer),
        far_field=farField,
        charge_scheme=chargeScheme,
        surrogate=archive,
        surrogate_threads=threads,
        keep_forces=keepForces,
        remove_forces=removeForces,
    )
    return mix((), topology, system, region, graph, options)
