"""Energy conservation of k-step dynamics beside plain QM dynamics and the surrogate alone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import openmm

from kstep_models.units import BOLTZMANN, MEV_PER_ANGSTROM, MEV_PER_KJ_MOL
from openmmkstep.analysis.averages import drift
from openmmkstep.analysis.ensemble.verdict import judge_twice
from openmmkstep.openmmapi.kstep_integrator import KStepIntegrator
from openmmkstep.provenance import machine_info
from openmmkstep.qmmm.forces import find_qm_force
from openmmkstep.qmmm.integrator import integrator_for
from openmmkstep.qmmm.levels import force_groups
from openmmkstep.workflows.config.validate import ValidateConfig

from .systems import ValidationSystems


@dataclass(frozen=True)
class _Run:
    label: str
    system: openmm.System
    integrator: KStepIntegrator
    step: float
    time: float
    is_kstep: bool = False
    is_split: bool = False


def validate_nve(config: ValidateConfig, log: Callable[[str], None]) -> dict[str, Any]:
    """Run all variants from one starting point and measure the drift of their total energies.

    Args:
        config: what to run.
        log: called with what is being done.

    Returns:
        JSON values: for each run drift in meV/atom/ps, total-energy RMS in meV (about the mean, and about the drift),
        fallbacks, QM calls, correction RMS, and the energies themselves. Of a box, drifts of the whole with their
        errors, those of k-step dynamics beside twice that of plain QM dynamics with the same MM time steps, and what
        of them is due to MM time steps and to the correction.
    """
    systems = ValidationSystems(config, log)
    start = systems.start(min(config.nve.ks))
    atoms = len(systems.levels.region.particles)
    is_box = systems.molecules.system.getNumParticles() > len(systems.levels.region.members)
    results: dict[str, dict[str, Any]] = {}
    runs = _runs(config, systems)
    for run in runs:
        log(f"{run.label}: {run.time:g} ps")
        context = systems.context(run.system, run.integrator)
        start.apply_to(context)
        result = results[run.label] = _measure(run, context, atoms)
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
        "box": _box(runs, results) if is_box else {},
        "machine": machine_info(),
    }


def _runs(config: ValidateConfig, systems: ValidationSystems) -> list[_Run]:
    section, inner = config.nve, config.inner_step
    is_split = section.nonbonded_period > 1
    runs = []
    with_base = [config.surrogate.has_base_level]
    if section.without_base_level and config.surrogate.has_base_level:
        with_base.append(False)
    for base_level in with_base:
        mixed = systems.mixed(base_level, split_nonbonded=is_split)
        for k in section.ks:
            levels = config.levels(k, section.nonbonded_period)
            integrator = integrator_for(mixed.system, levels if base_level else replace(levels, surrogate_period=1))
            label = f"k = {k}, " + (
                f"base level (network every {config.surrogate.period})" if base_level else "network only"
            )
            runs.append(_Run(label, mixed.system, integrator, levels.outer_step, section.time, True, is_split))
    if section.surrogate_alone:
        alone = systems.surrogate_alone()
        runs.append(_Run("surrogate alone", alone, KStepIntegrator(inner, 1), inner, section.time))
    for step in section.plain_steps:
        label = f"plain QM, {1000 * step:g} fs"
        runs.append(_Run(label, systems.plain(), KStepIntegrator(step, 1), step, section.plain_time))
    if is_split:
        period = section.nonbonded_period
        label = f"plain QM, {1000 * inner:g} fs, nonbonded MM every {1000 * period * inner:g} fs"
        system, integrator = _plain_and_split(systems.plain(split_nonbonded=True), inner, period)
        runs.append(_Run(label, system, integrator, period * inner, section.plain_time, is_split=True))
    return runs


def _plain_and_split(system: openmm.System, inner: float, period: int) -> tuple[openmm.System, KStepIntegrator]:
    """Plain QM dynamics whose nonbonded MM forces act less often.

    To the integrator QM is one of the common forces, which act at every inner step; its own levels are empty.
    """
    used = {force.getForceGroup() for force in system.getForces()} | force_groups.RESERVED
    surrogate, qm = [group for group in range(32) if group not in used][:2]
    for group in (surrogate, qm):
        nothing = openmm.CustomExternalForce("0")
        nothing.setForceGroup(group)
        system.addForce(nothing)
    common = {group: 1 for group in used if any(f.getForceGroup() == group for f in system.getForces())}
    if force_groups.SLOW_COMMON in common:
        common[force_groups.SLOW_COMMON] = period
    monitored = find_qm_force(system).getParticles()
    integrator = KStepIntegrator(
        inner,
        period,
        commonGroups=common,
        surrogateLevels={surrogate: 1},
        qmGroup=qm,
        monitoredParticles=monitored,
    )
    return system, integrator


def _box(runs: list[_Run], results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Each k-step run beside plain QM dynamics with the same MM time steps; drifts of the whole box, kJ/mol/ps."""
    known = {run.label: results[run.label] for run in runs if "drift_kj_mol_ps" in results[run.label]}
    plain = [run for run in runs if not run.is_kstep and run.label.startswith("plain") and run.label in known]
    found = {}
    for run in runs:
        same = [other for other in plain if other.is_split == run.is_split]
        if not (run.is_kstep and run.label in known and same):
            continue
        drift, reference = _drift(known[run.label]), _drift(known[same[0].label])
        found[run.label] = {
            "beside": same[0].label,
            "drift_kj_mol_ps": drift[0],
            "beside_kj_mol_ps": reference[0],
            "due_to_correction_kj_mol_ps": drift[0] - reference[0],
            "verdict": str(judge_twice(drift, reference)),
        }
        unsplit = [other for other in plain if not other.is_split]
        if run.is_split and unsplit:
            found[run.label]["due_to_mm_steps_kj_mol_ps"] = reference[0] - _drift(known[unsplit[0].label])[0]
    return found


def _qm_calls(system: openmm.System, context: openmm.Context) -> int:
    return find_qm_force(system).getNumCalls(context)


def _drift(result: dict[str, Any]) -> tuple[float, float]:
    error = result["drift_error_kj_mol_ps"]
    return result["drift_kj_mol_ps"], math.nan if error is None else error


def _measure(run: _Run, context: openmm.Context, atoms: int) -> dict[str, Any]:
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
        "qm_calls": statistics.qmCalls if run.is_kstep or not run.is_split else _qm_calls(run.system, context),
        "mean_correction_rms_mev_a": None if correction is None else MEV_PER_ANGSTROM * correction,
    }
    if done >= 3:
        line = drift(times[:done], energies[:done])
        result["drift_mev_atom_ps"] = line.slope * MEV_PER_KJ_MOL / atoms
        result["drift_kj_mol_ps"] = line.slope
        result["drift_error_kj_mol_ps"] = None if math.isnan(line.error) else line.error
        result["rms_mev"] = line.rms * MEV_PER_KJ_MOL
        result["rms_about_drift_mev"] = line.residual_rms * MEV_PER_KJ_MOL
        every = max(1, done // 1000)
        result["trace"] = {
            "time_ps": times[:done:every].tolist(),
            "energy_mev": ((energies[:done:every] - energies[0]) * MEV_PER_KJ_MOL).tolist(),
        }
    return result
