"""What a run left behind, read and summarised."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kstep_models.frames import FrameFile
from kstep_models.provenance import software_versions
from kstep_models.units import BOLTZMANN, MEV_PER_ANGSTROM, MEV_PER_KJ_MOL
from openmmkstep.analysis.averages import block_average, drift
from openmmkstep.analysis.backbone import backbone_residues, dihedrals
from openmmkstep.io.statistics import read_table
from openmmkstep.provenance import PACKAGES
from openmmkstep.qmmm.region import QMRegion
from openmmkstep.surrogates.suitability import read_surrogate_contract
from openmmkstep.workflows.config.sections import SurrogateSection
from openmmkstep.workflows.plan import DynamicsPlan, RunPlan
from openmmkstep.workflows.run_folder import RunFolder
from openmmkstep.workflows.setup.mixed_system import MixedSystem
from openmmkstep.workflows.setup.molecular_system import MolecularSystem

from .box import box_summary
from .energies import energy_parts
from .learning import learning_summary


@dataclass(frozen=True)
class BackboneTrace:
    """Backbone dihedrals of one residue over the labelled frames, degrees [T], and their times, ps [T]."""

    residue: str
    time: NDArray[np.float64]
    phi: NDArray[np.float64]
    psi: NDArray[np.float64]


@dataclass(frozen=True)
class RunData:
    """Everything that the report shows.

    Attributes:
        summary: JSON values.
        series: column name -> values over time, from the statistics file.
        backbone: Backbone dihedrals of residues in the QM region; none where Metropolis rejects steps.
        equilibration: column name -> values, of the stages of the force field.
        energies: column name -> values, of the parts of the potential energy.
    """

    summary: dict[str, Any]
    series: dict[str, NDArray[np.float64]]
    backbone: list[BackboneTrace]
    equilibration: dict[str, NDArray[np.float64]]
    energies: dict[str, NDArray[np.float64]]


def read_run(plan: RunPlan, files: RunFolder, molecules: MolecularSystem, mixed: MixedSystem) -> RunData:
    """Collect the data of a finished run."""
    region = mixed.region
    production = files.read_json(files.summary)
    speed = files.read_json(files.speed) if files.has(files.speed) else None
    series, energies = (
        _read_series(files, file) if file.exists() else {} for file in (files.statistics, files.energies)
    )
    table = files.equilibration_table
    equilibration = _read_series(files, table) if files.has(table) else {}
    others = molecules.system.getNumParticles() - len(region.members)
    summary = {
        "system": {
            "qm_atoms": len(region.particles),
            "link_atoms": len(region.links),
            "charge_scheme": plan.system.qm.charge_scheme if region.links and others else None,
            "mm_particles": others,
            "charge": region.charge,
            "multiplicity": region.multiplicity,
            "method": plan.system.qm.method,
            "embedding": plan.system.qm.embedding if others else "no",
            "cutoff_nm": plan.system.qm.cutoff if others else None,
            "far_field": mixed.far_field,
        },
        "dynamics": _dynamics(plan, production),
        "qm_calls": _qm_calls(production),
        "guard": _guard(production, series),
        "metropolis": _metropolis(plan.dynamics, production),
        "energy": _energy(series, molecules.system.getNumParticles()),
        "temperature": _temperature(plan.dynamics, series),
        "energy_parts": energy_parts(energies),
        "box": box_summary(plan.dynamics.pressure, molecules.mass, series),
        "speed": speed,
        "surrogate": _surrogate(plan.system.surrogate),
        "learning": learning_summary(plan.learning, files),
        "versions": software_versions(PACKAGES),
    }
    # Frames are where the QM level was asked, which under Metropolis is what was proposed, not what was sampled.
    backbone = _backbone(files, molecules, region) if plan.dynamics.metropolis in ("off", "monitor") else []
    return RunData(summary, series, backbone, equilibration, energies)


def _read_series(files: RunFolder, file: Path) -> dict[str, NDArray[np.float64]]:
    try:
        return read_table(file)
    except ValueError as error:
        raise files.damaged(file, f"no table of numbers ({error})") from error


def _dynamics(plan: RunPlan, production: dict[str, Any]) -> dict[str, Any]:
    levels, surrogate = plan.dynamics.levels, plan.system.surrogate
    time, wall = production["time_ps"], production["wall_time_s"]
    return {
        "time_ps": time,
        "k": levels.k,
        "inner_step_fs": 1000 * levels.inner_step,
        "outer_step_fs": 1000 * levels.outer_step,
        "ensemble": "nve" if plan.dynamics.friction is None else "langevin",
        "surrogate_period": levels.surrogate_period if surrogate else None,
        "base_level": surrogate.has_base_level if surrogate else None,
        "nonbonded_period": levels.nonbonded_period,
        "reciprocal_period": levels.reciprocal_period,
        "wall_time_s": wall,
        "ns_per_day": 86.4 * time / wall if wall > 0 else None,
    }


def _qm_calls(production: dict[str, Any]) -> dict[str, Any]:
    statistics = production["statistics"]
    made, others = statistics["qm_calls"], statistics["other_qm_calls"]
    plain = production["inner_steps"]
    return {
        "made": made + (others or 0),
        "made_by_integrator": made,
        "made_by_others": others,
        "plain_verlet_at_inner_step": plain,
        "saved": plain - made - (others or 0),
        "saved_share": (plain - made - (others or 0)) / plain if plain else 0.0,
        "surrogate_calls": statistics["surrogate_calls"],
    }


def _guard(production: dict[str, Any], series: dict[str, NDArray[np.float64]]) -> dict[str, Any]:
    statistics = production["statistics"]
    mean = statistics["mean_correction_rms"]
    measured = series.get("max_correction", np.zeros(0))
    measured = measured[np.isfinite(measured)]
    return {
        "outer_steps": statistics["outer_steps"],
        "measured_corrections": statistics["measured_corrections"],
        "fallbacks": statistics["fallbacks"],
        "last_fallback_reason": statistics["last_fallback_reason"],
        "mean_correction_rms_kj_mol_nm": mean,
        "mean_correction_rms_mev_a": None if mean is None else MEV_PER_ANGSTROM * mean,
        "largest_correction_kj_mol_nm": float(measured.max()) if len(measured) else None,
    }


def _metropolis(dynamics: DynamicsPlan, production: dict[str, Any]) -> dict[str, Any] | None:
    if dynamics.metropolis == "off":
        return None
    statistics = production["statistics"]
    decided = dynamics.metropolis != "monitor"
    counted = ("acceptance", "accepted_steps", "rejected_steps", "guard_rejections", "flips") if decided else ()
    return {
        "mode": dynamics.metropolis,
        "mean_acceptance_probability": statistics["mean_acceptance_probability"],
        **{name: statistics[name] for name in counted},
        "thermostat_interval": dynamics.thermostat_interval,
        "reduced_flips": dynamics.reduced_flips,
    }


def _energy(series: dict[str, NDArray[np.float64]], atoms: int) -> dict[str, Any] | None:
    if len(series.get("time", ())) < 3:
        return None
    # Not total energy less heat: centre-of-mass removers and barostats change that between steps, by their own right.
    conserved = drift(series["time"], series["cumulative_energy_error"])
    return {
        "conserved_drift_kj_mol_ps": conserved.slope,
        "conserved_drift_error_kj_mol_ps": None if math.isnan(conserved.error) else conserved.error,
        "conserved_drift_mev_atom_ps": conserved.slope * MEV_PER_KJ_MOL / atoms,
        "conserved_rms_kj_mol": conserved.rms,
        "outer_step_error_rms_kj_mol": float(np.sqrt(np.mean(series["energy_error"] ** 2))),
    }


def _temperature(dynamics: DynamicsPlan, series: dict[str, NDArray[np.float64]]) -> dict[str, Any] | None:
    """Of the QM region and of the rest in the middle of steps; a part where nothing moves is None."""
    parts = {name: _average(series.get(f"{name}_temperature", np.zeros(0))) for name in ("region", "rest")}
    if parts["region"] is None and parts["rest"] is None:
        return None
    return {**parts, "target_k": dynamics.target, "kt_kj_mol": BOLTZMANN * dynamics.temperature}


def _average(series: NDArray[np.float64]) -> dict[str, float] | None:
    if len(series) < 2 or not np.all(np.isfinite(series)):
        return None
    average = block_average(series)
    return {"mean_k": average.mean, "error_k": average.error}


def _surrogate(surrogate: SurrogateSection | None) -> dict[str, Any] | None:
    if surrogate is None:
        return None
    method = {} if surrogate.method is None else {"method": surrogate.method}
    if surrogate.archive is None:
        return method
    contract = read_surrogate_contract(surrogate.archive)
    keys = ("level_of_theory", "training_data", "validation", "versions", "dtype")
    return {**method, **{key: getattr(contract, key) for key in keys}}


def _backbone(files: RunFolder, molecules: MolecularSystem, region: QMRegion) -> list[BackboneTrace]:
    if not files.frames.exists():
        return []
    place = {particle: index for index, particle in enumerate(region.particles)}
    with FrameFile(files.frames) as file:
        positions, time = file.frames("positions"), file.frames("time")
    traces = []
    for residue in backbone_residues(molecules.topology):
        if len(time) and all(atom in place for atom in (*residue.phi, *residue.psi)):
            phi, psi = (
                dihedrals(positions, tuple(place[atom] for atom in atoms))  # type: ignore[arg-type]
                for atoms in (residue.phi, residue.psi)
            )
            traces.append(BackboneTrace(residue.name, time, phi, psi))
    return traces
