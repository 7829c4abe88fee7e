"""What one evaluation of each force costs, and how often k-step dynamics asks for it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import openmm

from openmmkstep.io.phase_space import PhaseSpacePoint
from openmmkstep.qmmm.levels import force_groups
from openmmkstep.qmmm.levels.settings import LevelSettings

NOTHING = "nothing"
"""A call for an empty force group: what OpenMM does for every call, whatever is asked for."""

_SHIFT = 1e-4
"""nm; by this atoms are off from one evaluation to the next, so that none is remembered from the last."""
_LAST_GROUP = 31


def force_costs(
    system: openmm.System,
    levels: LevelSettings,
    start: PhaseSpacePoint,
    platform: openmm.Platform,
    properties: Mapping[str, str],
    repeats: int = 7,
) -> list[dict[str, Any]]:
    """Time every force of a mixed system by itself, interleaved.

    Args:
        system: System of createMixedSystem().
        levels: How often its levels are evaluated.
        start: Where atoms are.
        platform: OpenMM platform.
        properties: Properties of the platform.
        repeats: Evaluations of each force.

    Returns:
        For each force, and for the reciprocal space of Ewald sums, which is not in the time of their force: ``force``,
        ``level``, ``seconds`` (median wall time of a call for its forces and energy, with that for nothing),
        ``calls_per_ps``. Empty for a system of so many forces that they cannot all have a group of their own.
    """
    copy: openmm.System = openmm.XmlSerializer.clone(system)
    costs: list[dict[str, Any]] = []
    groups: list[int] = []

    def add(name: str, group: int | None, alone: int) -> None:
        period = None if group is None else _period(group, levels)
        calls = None if period is None else 1 / (period * levels.inner_step)
        costs.append(
            {"force": name, "level": None if group is None else _LEVELS.get(group, "common"), "calls_per_ps": calls}
        )
        groups.append(alone)

    if 2 * copy.getNumForces() > _LAST_GROUP:
        return []
    free = iter(range(_LAST_GROUP))
    for force in copy.getForces():
        if isinstance(force, openmm.CMMotionRemover):
            force.setForceGroup(next(free))
            continue
        group = force.getForceGroup()
        reciprocal = force_groups.reciprocal_group(force)
        force.setForceGroup(next(free))
        add(force.getName(), group, force.getForceGroup())
        if isinstance(force, openmm.NonbondedForce) and force.getNonbondedMethod() in force_groups.EWALD:
            force.setReciprocalSpaceForceGroup(next(free))
            where = group if reciprocal is None else reciprocal
            add(f"{force.getName()}, reciprocal space", where, force.getReciprocalSpaceForceGroup())
    add(NOTHING, None, _LAST_GROUP)
    context = openmm.Context(copy, openmm.VerletIntegrator(0.001), platform, dict(properties))
    random = np.random.default_rng(0)
    seconds: list[list[float]] = [[] for _ in costs]
    # The first round is for what is set up on first use.
    for round_ in range(repeats + 1):
        context.setPositions(start.positions + random.normal(scale=_SHIFT, size=start.positions.shape))
        for index, group in enumerate(groups):
            begin = time.perf_counter()
            context.getState(energy=True, groups={group})
            if round_ > 0:
                seconds[index].append(time.perf_counter() - begin)
    for cost, measured in zip(costs, seconds, strict=True):
        cost["seconds"] = statistics.median(measured)
    return costs


_LEVELS = {
    force_groups.COMMON: "common",
    force_groups.SLOW_COMMON: "slow common",
    force_groups.RECIPROCAL: "reciprocal space",
    force_groups.BASE_LEVEL: "base level",
    force_groups.SURROGATE: "surrogate",
    force_groups.QM: "qm",
}


def _period(group: int, levels: LevelSettings) -> int:
    reciprocal = levels.reciprocal_period
    periods = {
        force_groups.SLOW_COMMON: levels.nonbonded_period,
        force_groups.RECIPROCAL: levels.nonbonded_period if reciprocal is None else reciprocal,
        force_groups.SURROGATE: levels.surrogate_period,
        force_groups.QM: levels.k,
    }
    return periods.get(group, 1)
