"""Constant energy, alone and in a box."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kstep_models.configuration import parse_config
from openmmkstep.workflows.config.validate import ValidateConfig
from openmmkstep.workflows.validate.nve import validate_nve

SPLIT = "plain QM, 0.5 fs, nonbonded MM every 1 fs"


def check(settings: dict[str, Any], **nve: Any) -> dict[str, Any]:
    del settings["ensemble"]
    section = {"ks": [2], "time": "20 fs", "plain_steps": ["0.5 fs"], "plain_time": "20 fs", "nonbonded_period": 2}
    return validate_nve(
        parse_config({**settings, "nve": {**section, **nve}}, ValidateConfig, "test"), lambda text: None
    )


def test_where_nothing_is_split_the_split_run_is_the_plain_one(water: dict[str, Any]) -> None:
    """QM among the common forces is QM dynamics."""
    results = check(water)
    plain, split = (results["runs"][label] for label in ("plain QM, 0.5 fs", SPLIT))
    assert split["qm_calls"] == plain["qm_calls"] == 41
    energies = np.array(plain["trace"]["energy_mev"])[1::2]
    assert np.array(split["trace"]["energy_mev"]) == pytest.approx(energies - energies[0], abs=1e-6)
    assert results["box"] == {}


def test_a_box_beside_plain_dynamics_with_the_same_steps(water: dict[str, Any], tmp_path: Path) -> None:
    water["system"] |= {"solvent": {"box_size": "1.9 nm"}, "nonbonded_cutoff": "0.7 nm"}
    water["qm"] |= {"cutoff": "0.7 nm", "switch_distance": "0.6 nm"}
    results = check({**water, "platform": "CPU"}, surrogate_alone=False)
    part = results["box"]["k = 2, network only"]
    drifts = {label: run["drift_kj_mol_ps"] for label, run in results["runs"].items()}
    assert part["beside"] == SPLIT and part["verdict"] in ("inside", "outside", "too short to tell")
    assert part["due_to_correction_kj_mol_ps"] == pytest.approx(drifts["k = 2, network only"] - drifts[SPLIT])
    assert part["due_to_mm_steps_kj_mol_ps"] == pytest.approx(drifts[SPLIT] - drifts["plain QM, 0.5 fs"])
