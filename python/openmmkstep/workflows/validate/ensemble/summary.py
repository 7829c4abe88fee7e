"""Results as JSON values."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from kstep_models.units import MEV_PER_ANGSTROM
from openmmkstep.analysis.ensemble.kinetic import Equipartition
from openmmkstep.provenance import machine_info

from .analysis import ANGSTROM, AnalysedRun, Kinetics, Molecule, Structure
from .check import EnsembleResults


def to_json(results: EnsembleResults) -> dict[str, Any]:
    """Everything but the trajectories and what is drawn of them."""
    section = results.config.ensemble
    modes = results.molecule.modes
    return {
        "schema": "kstep-ensemble",
        "version": 1,
        "atoms": len(results.molecule.numbers),
        "temperature_k": results.config.temperature,
        "inner_step_fs": 1000 * results.config.inner_step,
        "friction_per_ps": section.friction,
        "method": results.config.qm.method,
        "verdicts": [row.to_json() for row in results.rows],
        "runs": {name: _run(run, results.molecule) for name, run in results.runs.items()},
        "two_temperatures": {
            name: {**asdict(slope), "deviation": slope.deviation} for name, slope in results.slopes.items()
        },
        "normal_modes_cm": None if modes is None else [round(float(value), 1) for value in modes.wave_numbers],
        "machine": machine_info(),
    }


def _run(analysed: AnalysedRun, molecule: Molecule) -> dict[str, Any]:
    run, facts = analysed.run, analysed.recording.facts
    correction = facts.get("mean_correction_rms")
    return {
        "label": run.label,
        "kind": str(run.kind),
        "k": run.levels.k,
        "temperature_k": run.temperature,
        "time_ps": round(analysed.time, 6),
        "finished": not facts.get("error"),
        "error": facts.get("error"),
        "wall_time_s": facts.get("wall_time_s"),
        "qm_calls": facts.get("qm_calls"),
        "fallbacks": facts.get("fallbacks"),
        "mean_correction_rms_mev_a": None if correction is None else MEV_PER_ANGSTROM * correction,
        "kinetic": None if analysed.kinetics is None else _kinetic(analysed.kinetics, run.temperature),
        "structure": None if analysed.structure is None else _structure(analysed.structure, molecule),
        "peaks_cm": [asdict(shift) for shift in analysed.shifts],
    }


def _kinetic(kinetics: Kinetics, temperature: float) -> dict[str, Any]:
    def in_kelvin(values: dict[str, Equipartition]) -> dict[str, Any]:
        return {
            name: {
                "freedom": int(value.freedom),
                "mean_k": round(temperature * value.ratio, 3),
                "error_k": round(temperature * value.error, 3),
            }
            for name, value in values.items()
        }

    return {
        "elements": in_kelvin(kinetics.elements),
        "bands": in_kelvin(kinetics.bands),
        "modes_k": [
            [round(temperature * mode.ratio, 2), round(temperature * mode.error, 2)] for mode in kinetics.modes
        ],
        "distribution": asdict(kinetics.distribution),
    }


def _structure(structure: Structure, molecule: Molecule) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, unit, scale in (("bonds", "a", ANGSTROM), ("angles", "degrees", 1.0)):
        errors = getattr(structure, name)
        if errors is not None:
            found[name] = {
                f"rmse_{unit}": scale * errors.rmse,
                f"expected_rmse_{unit}": scale * errors.expected_rmse,
                f"worst_{unit}": scale * float(np.abs(errors.shifts).max()),
                "jensen_shannon_bits": errors.divergence,
            }
    found["torsions"] = {
        name: {
            "jensen_shannon_bits": float(divergence),
            "most_visited": asdict(here),
            "most_visited_reference": asdict(there),
        }
        for name, divergence, (here, there) in zip(
            molecule.coordinates.names, structure.torsions, structure.states, strict=True
        )
    }
    found["radial"] = {element: asdict(error) for element, error in structure.radial.items()}
    return found
