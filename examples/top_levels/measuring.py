"""What both examples measure of a top level: energy without thermostat, and what Metropolis would accept."""

from __future__ import annotations

import json
import time as clock
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from openmm import app, unit

from kstep_models.files import write_atomically
from kstep_models.units import BOLTZMANN, MEV_PER_ANGSTROM, MEV_PER_KJ_MOL
from openmmkstep import createIntegrator
from openmmkstep.analysis.averages import block_average, drift
from openmmkstep.io.phase_space import PhaseSpacePoint
from openmmkstep.learning import Learned
from openmmkstep.provenance import machine_info

HERE = Path(__file__).parent
INNER_STEP = 0.0005  # ps
KT = BOLTZMANN * 300.0  # kJ/mol
KS = (4, 8, 16)


def ethanol() -> tuple[app.Topology, openmm.System, Any]:
    """Topology, force-field system (GAFF2) and positions."""
    folder = HERE.parent / "ethanol_dft"
    files = app.AmberPrmtopFile(str(folder / "ethanol.prmtop")), app.AmberInpcrdFile(str(folder / "ethanol.inpcrd"))
    system = files[0].createSystem()
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(files[1].positions)
    openmm.LocalEnergyMinimizer.minimize(context)
    positions = context.getState(positions=True).getPositions(asNumpy=True)
    return files[0].topology, system, positions.value_in_unit(unit.nanometer)


def energy_conservation(
    system: openmm.System, k: int, point: PhaseSpacePoint, platform: openmm.Platform, time: float, step: float
) -> dict[str, Any]:
    """Drift and root mean square of the total energy over ``time`` ps without thermostat."""
    integrator = createIntegrator(system, step, k)
    context = openmm.Context(system, integrator, platform)
    point.apply_to(context)
    energies: list[float] = []
    begin = clock.perf_counter()
    result: dict[str, Any] = {"k": k, "inner_step_fs": 1000 * step}
    try:
        for _ in range(round(time / (k * step))):
            integrator.step(1)
            energies.append(integrator.getStatistics().totalEnergy)
    except openmm.OpenMMException as error:
        return {**result, "broke_down_after_ps": len(energies) * k * step, "error": str(error)}
    seconds = clock.perf_counter() - begin
    statistics = integrator.getStatistics()
    line = drift(np.arange(1, len(energies) + 1) * k * step, np.array(energies))
    correction = statistics.meanCorrectionRMS
    atoms = len(integrator.getMonitoredParticles())
    return {
        **result,
        "time_ps": time,
        "drift_mev_atom_ps": line.slope * MEV_PER_KJ_MOL / atoms,
        "drift_error_mev_atom_ps": line.error * MEV_PER_KJ_MOL / atoms,
        "rms_mev": line.rms * MEV_PER_KJ_MOL,
        "rms_kt": line.rms / KT,
        "correction_mev_a": None if correction is None else correction * MEV_PER_ANGSTROM,
        "redone": statistics.fallbacks,
        "top_level_calls": statistics.qmCalls,
        "seconds_per_ps": seconds / time,
    }


def acceptance(
    system: openmm.System, k: int, point: PhaseSpacePoint, platform: openmm.Platform, time: float
) -> dict[str, float]:
    """What a Metropolis test on the correction would accept, with Langevin dynamics of ``time`` ps."""
    integrator = createIntegrator(system, 300, 2.0, INNER_STEP, k)
    integrator.setMetropolis("monitor")
    integrator.setRandomNumberSeed(1)
    context = openmm.Context(system, integrator, platform)
    point.apply_to(context)
    errors = []
    for _ in range(round(time / (k * INNER_STEP))):
        integrator.step(1)
        error = integrator.getStatistics().metropolisError
        # None of a step that the guard redoes, which Metropolis would reject.
        errors.append(np.inf if error is None else error / KT)
    mean = block_average(np.minimum(1.0, np.exp(-np.array(errors))))
    sound = [error for error in errors if np.isfinite(error)]
    return {
        "acceptance": mean.mean,
        "acceptance_error": mean.error,
        "mean_energy_error_kt": float(np.mean(sound)),
        "rms_energy_error_kt": float(np.sqrt(np.mean(np.square(sound)))),
        "redone": len(errors) - len(sound),
    }


def measure(
    name: str,
    learned: Learned,
    systems: dict[str, openmm.System],
    platform: openmm.Platform,
    times: tuple[float, ...],
) -> None:
    """Measure all systems at all k, each for its own time (ps), and write results/NAME.json."""
    record, point = learned.record, learned.point
    results: dict[str, Any] = {
        "molecule": "ethanol, gas phase",
        "kt_mev": KT * MEV_PER_KJ_MOL,
        "learning": {
            "k": learned.k,
            "top_level_calls": record.qm_calls,
            "labels": record.labels,
            "fits": [
                {"labels": fit.used, "parts": fit.parts, "mev_a": fit.errors[fit.parts], "of_mev_a": fit.size}
                for fit in record.fits
            ],
            "trials": [
                {"k": trial.k, "fit": trial.fit, "acceptance": trial.acceptance, "error": trial.uncertainty}
                for trial in record.trials
            ],
        },
        "runs": {},
        "machine": machine_info(),
    }
    for (label, system), time in zip(systems.items(), times, strict=True):
        runs = results["runs"][label] = []
        if label == "plain":
            runs += [energy_conservation(system, 1, point, platform, time, step) for step in (INNER_STEP, 0.001)]
        else:
            for k in KS:
                run = energy_conservation(system, k, point, platform, time, INNER_STEP)
                if "error" not in run:
                    run["metropolis"] = acceptance(system, k, point, platform, time)
                runs.append(run)
        print(label, json.dumps(runs, indent=1))
    write_atomically(HERE / "results" / f"{name}.json", (json.dumps(results, indent=1) + "\n").encode())
