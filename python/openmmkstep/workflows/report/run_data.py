"""What a run left behind, read and summarised."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kstep_models.frames import FrameFile
from kstep_models.provenance import software_versions
from kstep_models.units import BOLTZMANN, MEV_PER_ANGSTROM, MEV_PER_KJ_MOL
from openmmkstep.analysis.averages import block_average, drift
from openmmkstep.analysis.backbone import backbone_residues, dihedrals
from openmmkstep.provenance import PACKAGES
from openmmkstep.qmmm.region import QMRegion
from openmmkstep.surrogates.suitability import read_surrogate_contract
from openmmkstep.workflows.config.run import RunConfig
from openmmkstep.workflows.run_folder import RunFolder
from openmmkstep.workflows.setup.molecular_system import MolecularSystem


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
        backbone: of residues in the QM region.
    """

    summary: dict[str, Any]
    series: dict[str, NDArray[np.float64]]
    backbone: list[BackboneTrace]


def read_run(config: RunConfig, files: RunFolder, molecules: MolecularSystem, region: QMRegion) -> RunData:
    """Collect the data of a finished run."""
    production = json.loads(files.summary.read_text(encoding="utf-8"))
    speed = json.loads(files.speed.read_text(encoding="utf-8")) if files.speed.exists() else None
    series = _read_series(files) if files.statistics.exists() else {}
    summary = {
        "system": {
            "qm_atoms": len(region.particles),
            "mm_particles": molecules.system.getNumParticles() - len(region.particles),
            "charge": region.charge,
            "multiplicity": region.multiplicity,
            "method": config.qm.method,
            "embedding": config.qm.embedding,
            "cutoff_nm": config.qm.cutoff,
        },
        "dynamics": _dynamics(config, production),
        "qmCalls": _qm_calls(config, production),
        "guard": _guard(production, series),
        "energy": _energy(series, molecules.system.getNumParticles()),
        "temperature": _temperature(config, series),
        "speed": speed,
        "surrogate": _surrogate(config),
        "versions": software_versions(PACKAGES),
    }
    return RunData(summary, series, _backbone(files, molecules, region))


def _read_series(files: RunFolder) -> dict[str, NDArray[np.float64]]:
    with files.statistics.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    values = np.array(rows[1:], dtype=np.float64).reshape(-1, len(rows[0]))
    return {name: values[:, column] for column, name in enumerate(rows[0])}


def _dynamics(config: RunConfig, production: dict[str, Any]) -> dict[str, Any]:
    section = config.integrator
    wall = production["wall_time"]
    return {
        "time_ps": production["time"],
        "k": section.k,
        "inner_step_fs": 1000 * section.inner_step,
        "outer_step_fs": 1000 * section.outer_step,
        "ensemble": section.ensemble,
        "surrogatePeriod": config.surrogate.period if config.surrogate else None,
        "base_level": config.surrogate.has_base_level if config.surrogate else None,
        "nonbonded_period": section.nonbonded_period,
        "wallTime_s": wall,
        "ns_per_day": 86.4 * production["time"] / wall if wall > 0 else None,
    }


def _qm_calls(config: RunConfig, production: dict[str, Any]) -> dict[str, Any]:
    statistics = production["statistics"]
    made = statistics["qmCalls"]
    plain = production["steps"] * config.integrator.k
    return {
        "made": made,
        "plain_verlet_at_inner_step": plain,
        "saved": plain - made,
        "saved_share": (plain - made) / plain if plain else 0.0,
        "surrogateCalls": statistics["surrogateCalls"],
    }


def _guard(production: dict[str, Any], series: dict[str, NDArray[np.float64]]) -> dict[str, Any]:
    statistics = production["statistics"]
    largest = series.get("maxCorrection", np.zeros(0))
    return {
        "outerSteps": statistics["outerSteps"],
        "fallbacks": statistics["fallbacks"],
        "lastFallbackReason": statistics["lastFallbackReason"],
        "meanCorrectionRMS_kJ_mol_nm": statistics["meanCorrectionRMS"],
        "meanCorrectionRMS_meV_A": MEV_PER_ANGSTROM * statistics["meanCorrectionRMS"],
        "largestCorrection_kJ_mol_nm": float(largest.max()) if len(largest) else None,
    }


def _energy(series: dict[str, NDArray[np.float64]], atoms: int) -> dict[str, Any] | None:
    if len(series.get("time", ())) < 3:
        return None
    conserved = drift(series["time"], series["totalEnergy"] - series["heat"])
    return {
        "conservedDrift_kJ_mol_ps": conserved.slope,
        "conservedDrift_meV_atom_ps": conserved.slope * MEV_PER_KJ_MOL / atoms,
        "conservedRMS_kJ_mol": conserved.rms,
        "outer_step_error_rms_kJ_mol": float(np.sqrt(np.mean(series["energyError"] ** 2))),
    }


def _temperature(config: RunConfig, series: dict[str, NDArray[np.float64]]) -> dict[str, Any] | None:
    if len(series.get("temperature", ())) < 2:
        return None
    average = block_average(series["temperature"])
    target = config.integrator.temperature if config.integrator.ensemble == "langevin" else None
    return {
        "mean_K": average.mean,
        "error_K": average.error,
        "target_K": target,
        "kT_kJ_mol": BOLTZMANN * config.integrator.temperature,
    }


def _surrogate(config: RunConfig) -> dict[str, Any] | None:
    if config.surrogate is None:
        return None
    contract = read_surrogate_contract(config.surrogate.archive)
    return {
        key: getattr(contract, key) for key in ("level_of_theory", "training_data", "validation", "versions", "dtype")
    }


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
