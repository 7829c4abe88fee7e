"""Energy conservation of k-step dynamics beside plain QM dynamics and the surrogate alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import openmm

from kstep_models.units import BOLTZMANN, MEV_PER_ANGSTROM, MEV_PER_KJ_MOL
from openmmkstep.analysis.averages import drift
from openmmkstep.openmmapi.kstep_integrator import KStepIntegrator
from openmmkstep.provenance import machine_info
from openmmkstep.qmmm.integrator import integrator_for
from openmmkstep.workflows.config.validate import ValidateConfig

from .systems import ValidationSystems


@dataclass(frozen=True)
class _Run:
    label: str
    system: openmm.System
    integrator: KStepIntegrator
    step: float
    time: float


def validate_nve(config: ValidateConfig, log: Callable[[str], None]) -> dict[str, Any]:
    """Run all variants from one starting point and measure the drift of their total energies.

    Args:
        config: what to run.
        log: called with what is being done.

    Returns:
        JSON values: for each run drift in meV/atom/ps, total-energy RMS in meV (about the mean, and about the drift),
        fallbacks, QM calls, correction RMS, and the energies themselves.
    """
    systems = ValidationSystems(config, log)
    start = systems.start(min(config.nve.ks))
    atoms = len(systems.levels.region.particles)
    results = {}
    for run in _runs(config, systems):
        log(f"{run.label}: {run.time:g} ps")
        context = systems.context(run.system, run.integrator)
        start.apply_to(context)
        result = results[run.label] = _measure(run, atoms)
        if "drift_mev_atom_ps" in result:
            log(f"  drift {result['drift_mev_atom_ps']:+.4f} meV/atom/ps, RMS {result['rms_mev']:.2f} meV")
        del context
    return {
        "schema": "kstep-nve",
        "version": 1,
        "atoms": atoms,
        "temperature_k": config.temperature,
        "kt_mev": BOLTZMANN * config.temperature * MEV_PER_KJ_MOL,
        "runs": results,
        "machine": machine_info(),
    }


def _runs(config: ValidateConfig, systems: ValidationSystems) -> list[_Run]:
    section, inner = config.nve, config.inner_step
    runs = []
    with_base = [config.surrogate.has_base_level]
    if section.without_base_level and config.surrogate.has_base_level:
        with_base.append(False)
    for base_level in with_base:
        mixed = systems.mixed(base_level)
        for k in section.ks:
            levels = config.levels(k)
            integrator = integrator_for(mixed.system, levels if base_level else replace(levels, surrogate_period=1))
            label = f"k = {k}, " + (
                f"base level (network every {config.surrogate.period})" if base_level else "network only"
            )
            runs.append(_Run(label, mixed.system, integrator, levels.outer_step, section.time))
    if section.surrogate_alone:
        alone = systems.surrogate_alone()
        runs.append(_Run("surrogate alone", alone, KStepIntegrator(inner, 1), inner, section.time))
    for step in section.plain_steps:
        label = f"plain QM, {1000 * step:g} fs"
        runs.append(_Run(label, systems.plain(), KStepIntegrator(step, 1), step, section.plain_time))
    return runs


def _measure(run: _Run, atoms: int) -> dict[str, Any]:
    begin = time.perf_counter()
    steps = round(run.time / run.step)
    energies = np.zeros(steps)
    done, error = 0, None
    try:
        for done in range(steps):
            run.integrator.step(1)
            energies[done] = run.integrator.getStatistics().totalEnergy
        done = steps
    except openmm.OpenMMException as exception:
        # A run that breaks down is a result, and the others must not be lost with it.
        error = str(exception)
    times = (np.arange(steps) + 1) * run.step
    statistics = run.integrator.getStatistics()
    correction = statistics.meanCorrectionRMS
    result: dict[str, Any] = {
        "finished": error is None,
        "error": error,
        "time_ps": done * run.step,
        "wall_time_s": time.perf_counter() - begin,
        "fallbacks": statistics.fallbacks,
        "qm_calls": statistics.qmCalls,
        "mean_correction_rms_mev_a": None if correction is None else MEV_PER_ANGSTROM * correction,
    }
    if done >= 3:
        line = drift(times[:done], energies[:done])
        result["drift_mev_atom_ps"] = line.slope * MEV_PER_KJ_MOL / atoms
        result["drift_kj_mol_ps"] = line.slope
        result["rms_mev"] = line.rms * MEV_PER_KJ_MOL
        result["rms_about_drift_mev"] = line.residual_rms * MEV_PER_KJ_MOL
        every = max(1, done // 1000)
        result["trace"] = {
            "time_ps": times[:done:every].tolist(),
            "energy_mev": ((energies[:done:every] - energies[0]) * MEV_PER_KJ_MOL).tolist(),
        }
    return result
