"""Equipartition: the temperature of each element of the QM region under a weak thermostat."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import openmm

from kstep_models.elements import symbol_of
from kstep_models.units import BOLTZMANN
from openmmkstep.analysis.averages import block_average
from openmmkstep.provenance import machine_info
from openmmkstep.qmmm.integrator import integrator_for
from openmmkstep.qmmm.system_copy import copy_without
from openmmkstep.workflows.config.validate import ValidateConfig

from .systems import ValidationSystems


def validate_temperature(config: ValidateConfig, log: Callable[[str], None]) -> dict[str, Any]:
    """Sample velocities of the QM atoms in k-step Langevin dynamics.

    Velocities are those at the ends of outer steps. Their variance in a vibration of angular frequency w is kT/m
    (1 - (w d)^2 / 4) for an inner step d (Leimkuhler and Matthews, J. Chem. Phys. 138, 174102 (2013)): at 0.5 fs this
    makes a bond to hydrogen appear 2 % too cold, whatever the forces.

    Args:
        config: what to run.
        log: called with what is being done.

    Returns:
        JSON values: mean and block-averaged standard error for each element, for all atoms, and whether each is within
        1 % or two standard errors of the target.
    """
    section = config.thermostat
    systems = ValidationSystems(config, log)
    start = systems.start(section.k)
    mixed = systems.mixed(config.surrogate.has_base_level, split_nonbonded=section.nonbonded_period > 1)
    # It would take degrees of freedom from the atoms in proportion to their mass.
    system = copy_without(mixed.system, lambda force: isinstance(force, openmm.CMMotionRemover))
    levels = config.levels(section.k, section.nonbonded_period)
    integrator = integrator_for(system, levels, config.temperature, section.friction)
    context = systems.context(system, integrator)
    start.apply_to(context)
    steps = round(section.time / levels.outer_step)
    log(f"sampling {section.time:g} ps at k = {section.k}")
    particles, masses = list(mixed.region.particles), mixed.region.masses
    doubled = np.zeros((steps, len(particles)))
    for step in range(steps):
        integrator.step(1)
        velocities = np.asarray(context.getState(velocities=True).getVelocities(asNumpy=True)._value)[particles]
        doubled[step] = masses * np.sum(velocities**2, axis=1)
    statistics = integrator.getStatistics()
    numbers = mixed.region.numbers
    groups = {symbol_of(z): numbers == z for z in sorted(set(numbers.tolist()))}
    groups["all"] = np.ones(len(particles), dtype=bool)
    return {
        "schema": "kstep-temperature",
        "version": 1,
        "k": section.k,
        "target_k": config.temperature,
        "time_ps": section.time,
        "fallbacks": statistics.fallbacks,
        "elements": {name: _temperature(doubled[:, mask], config.temperature) for name, mask in groups.items()},
        "machine": machine_info(),
    }


def _temperature(doubled_kinetic: Any, target: float) -> dict[str, Any]:
    """From twice the kinetic energies [T,n], kJ/mol."""
    series = doubled_kinetic.mean(axis=1) / (3 * BOLTZMANN)
    average = block_average(series)
    off = abs(average.mean - target)
    return {
        "atoms": int(doubled_kinetic.shape[1]),
        "mean_k": average.mean,
        "error_k": average.error,
        "deviation_percent": 100 * (average.mean - target) / target,
        "passes": bool(off <= 0.01 * target or off <= 2 * average.error),
    }
