"""200 kills of learning runs at random moments, with production in blocks: nothing is lost, nothing learned twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openmmkstep.learning.record import Record
from tests.learning.test_runs import configuration
from tests.support.killed_runs import campaign


def learning_in_blocks(folder: Path, **learn: Any) -> dict[str, Any]:
    """A run that begins with k = 4, and learns again after its first block and later."""
    content = configuration(folder)
    content["learn"] |= {"first_k": 4, "block": "40 fs", "max_calls": 10000, "relearn_calls": 10000, **learn}
    return {**content, "time": "0.12 ps", "speed": {"time": "0 fs"}}


def from_nothing_and_back(folder: Path) -> dict[str, Any]:
    """Plain QM dynamics first, then k = 16 by a trial that is lucky, then less, because blocks show it."""
    content = configuration(folder)
    del content["surrogate"]
    content["learn"] = {
        **{"k": [4, 8, 16], "acceptance": 0.97, "first_labels": 20, "trial_steps": 6, "block": "80 fs"},
        **{"max_calls": 15, "relearn_calls": 10000, "pool_time": "0.2 ps", "pool_size": 60, "pool_temperature": 1.0},
    }
    content["output"] |= {"frames": "40 fs", "statistics": "8 fs", "energies": "40 fs"}
    return {**content, "time": "0.28 ps", "speed": {"time": "0 fs"}}


@pytest.mark.slow
def test_kills_while_k_rises_and_falls(tmp_path: Path) -> None:
    runs = campaign(tmp_path, from_nothing_and_back, 40, per_run=10, seed=3, in_order=True)
    assert sum(run["kills"] for run in runs) >= 40
    blocks = Record.read(tmp_path / "whole" / "out" / "learning" / "learning.json").blocks
    assert [block.k for block in blocks][:3] == [1, 16, 4]


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "kills"), [(1, 160), (2, 40)])
def test_200_kills(tmp_path: Path, workers: int, kills: int) -> None:
    """To the last bit with one process; with two, whose labels come in any order, the books are right."""
    runs = campaign(
        tmp_path,
        lambda folder: learning_in_blocks(folder, workers=workers),
        kills,
        per_run=10,
        seed=workers,
        in_order=workers == 1,
    )
    assert sum(run["kills"] for run in runs) >= kills
