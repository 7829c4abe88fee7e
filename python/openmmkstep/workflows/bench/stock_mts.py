"""The controls: what stock OpenMM offers for the same multiple-time-step scheme."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import openmm
from openmm import unit

from openmmkstep.qmmm.levels import force_groups
from openmmkstep.qmmm.levels.settings import LevelSettings
from openmmkstep.qmmm.system_copy import copy_without

_OUTER_GROUP = force_groups.QM


def plain_integrator(levels: LevelSettings, temperature: float, friction: float) -> openmm.MTSLangevinIntegrator:
    """Plain QM dynamics with the MM splitting of k-step dynamics: QM at every inner step, nonbonded forces less often.

    For a system of createMixedSystem() without surrogate and with the same split.

    Args:
        levels: time step and periods.
        temperature: K.
        friction: 1/ps.
    """
    groups = [(force_groups.COMMON, levels.k), (force_groups.QM, levels.k)]
    if levels.nonbonded_period > 1:
        groups.append((force_groups.SLOW_COMMON, levels.k // levels.nonbonded_period))
    if levels.splits_reciprocal and levels.reciprocal_period is not None:
        groups.append((force_groups.RECIPROCAL, levels.k // levels.reciprocal_period))
    return openmm.MTSLangevinIntegrator(temperature, friction, levels.outer_step, groups)


@dataclass
class Spent:
    """Wall seconds and calls inside the PythonForce."""

    qm: float = 0.0
    surrogate: float = 0.0
    calls: int = 0


def stock_context(
    mixed: openmm.System,
    k: int,
    inner_step: float,
    temperature: float,
    friction: float,
    platform: openmm.Platform,
    properties: dict[str, str],
) -> tuple[openmm.Context, Spent]:
    """A Context with MTSLangevinIntegrator whose outer group is a PythonForce: QM less surrogate.

    The surrogate and the common forces act at every inner step. QM and surrogate inside the PythonForce are this
    plugin's own forces, so that what differs is the integrator and the way of calling, not the programs.

    Args:
        mixed: System of createMixedSystem() with a surrogate, without base level and split nonbonded forces.
        k: inner steps per outer step.
        innerStep: ps.
        temperature: K.
        friction: 1/ps.
        platform: Platform of both Contexts.
        properties: Properties of the platform.
    """
    outer = copy_without(mixed, lambda force: force.getForceGroup() == force_groups.COMMON)
    inner = copy_without(mixed, lambda force: force.getForceGroup() == force_groups.QM)
    reference = openmm.Context(outer, openmm.VerletIntegrator(0.001), platform, properties)
    spent = Spent()
    shape = mixed.getNumParticles()

    def correction(state: openmm.State) -> tuple[Any, Any]:
        if outer.usesPeriodicBoundaryConditions():
            reference.setPeriodicBoxVectors(*state.getPeriodicBoxVectors())
        reference.setPositions(state.getPositions(asNumpy=True))
        begin = time.perf_counter()
        qm = reference.getState(energy=True, forces=True, groups={force_groups.QM})
        middle = time.perf_counter()
        surrogate = reference.getState(energy=True, forces=True, groups={force_groups.SURROGATE})
        spent.qm += middle - begin
        spent.surrogate += time.perf_counter() - middle
        spent.calls += 1
        forces = qm.getForces(asNumpy=True)._value - surrogate.getForces(asNumpy=True)._value
        return qm.getPotentialEnergy()._value - surrogate.getPotentialEnergy()._value, forces.reshape(shape, 3)

    force = openmm.PythonForce(correction)
    force.setUsesPeriodicBoundaryConditions(mixed.usesPeriodicBoundaryConditions())
    force.setForceGroup(_OUTER_GROUP)
    inner.addForce(force)
    groups = [(_OUTER_GROUP, 1), (force_groups.COMMON, k), (force_groups.SURROGATE, k)]
    integrator = openmm.MTSLangevinIntegrator(
        temperature * unit.kelvin, friction / unit.picosecond, k * inner_step * unit.picosecond, groups
    )
    return openmm.Context(inner, integrator, platform, properties), spent
