"""200 kills of learning runs at random moments, with production in blocks: nothing is lost, nothing learned twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.learning.test_runs import configuration
from tests.support.killed_runs import campaign


def learning_in_blocks(folder: Path, **learn: Any) -> dict[str, Any]:
    """A run that begins with k = 4, and learns again after its first block and later."""
    content = configuration(folder)
    content["learn"] |= {"first_k": 4, "block": "40 fs", "max_calls": 10000, "relearn_calls": 10000, **learn}
    return {**content, "time": "0.12 ps", "speed": {"time": "0 fs"}}


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
