"""The force groups of a mixed system, and which forces belong to them.

Scripts need none of these numbers: createMixedSystem() fills the groups and createIntegrator() finds them.
"""

from __future__ import annotations

import openmm

from openmmkstep.openmmapi.qmmm_force import QMMMForce
from openmmkstep.openmmapi.torchscript_force import TorchScriptForce

COMMON = 0
"""Everything that all levels share: MM force field, QM-MM Lennard-Jones, far field, restraints and biases."""
SURROGATE = 1
"""The learned potential of the QM region, with its Coulomb coupling to the embedding charges."""
QM = 2
"""The QM or QM/MM energy."""
BASE_LEVEL = 3
"""The base level: a fitted potential or the region's own force-field terms in vacuum."""
SLOW_COMMON = 4
"""Nonbonded MM forces and far field, when they are split off to be evaluated less often than the bonded ones."""
RECIPROCAL = 5
"""The reciprocal space of PME or Ewald sums, when it is split off to be evaluated less often still."""

LEVELS = frozenset({SURROGATE, QM, BASE_LEVEL})
"""Groups of which every force describes the QM region. A force of another kind there would be taken for a level."""
RESERVED = LEVELS | {SLOW_COMMON, RECIPROCAL}
"""Groups that createMixedSystem() fills by itself; forces of the user that are in one of them move to COMMON."""

_PREFIXES = {BASE_LEVEL: "Base", SURROGATE: "Surrogate", QM: "QM"}
"""The names of forces of a level begin with it, but for those that can be nothing else."""


def place(force: openmm.Force, group: int) -> None:
    """Make a force one of a level, before it is added to a mixed system."""
    force.setForceGroup(group)
    if not is_level(force):
        force.setName(_PREFIXES[group] + force.getName())


EWALD = frozenset({openmm.NonbondedForce.Ewald, openmm.NonbondedForce.PME, openmm.NonbondedForce.LJPME})
"""Nonbonded methods with a reciprocal space."""


def reciprocal_group(force: openmm.Force) -> int | None:
    """The group of the reciprocal space of an Ewald sum; None if it has none of its own."""
    if not isinstance(force, openmm.NonbondedForce) or force.getNonbondedMethod() not in EWALD:
        return None
    group = int(force.getReciprocalSpaceForceGroup())
    return None if group < 0 else group


def is_level(force: openmm.Force) -> bool:
    """Whether a force is one that createMixedSystem() makes to describe the QM region."""
    prefix = _PREFIXES.get(force.getForceGroup())
    if prefix is None:
        return False
    return bool(force.getName().startswith(prefix)) or QMMMForce.isInstance(force) or _is_surrogate(force)


def _is_surrogate(force: openmm.Force) -> bool:
    try:
        TorchScriptForce.cast(force)
    except TypeError:
        return False
    return True
