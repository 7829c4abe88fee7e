from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.models import synthetic

SMALL = {
    "channels": 6,
    "cubic_channels": 4,
    "message_channels": 4,
    "vector_channels": 3,
    "hidden": 12,
    "readout": 6,
    "cutoff": 0.6,
}


@pytest.fixture
def gas(tmp_path: Path) -> Path:
    return synthetic.write(tmp_path / "gas.h5")


@pytest.fixture
def embedded(tmp_path: Path) -> Path:
    return synthetic.write(tmp_path / "embedded.h5", embedded=True, seed=1)


@pytest.fixture
def configuration(tmp_path: Path) -> Callable[..., Path]:
    """Writes a configuration file; keyword arguments replace whole sections."""

    def write(name: str = "train.yaml", **sections: Any) -> Path:
        content: dict[str, Any] = {
            "method": "potential",
            "data": {"files": ["gas.h5"]},
            "output": "run",
            "model": SMALL,
            "schedule": {"max_steps": 60, "validate_every": 30},
            # Compiling takes a minute; one test does.
            "compile": "off",
        }
        content.update(sections)
        path = tmp_path / name
        path.write_text(yaml.safe_dump(content))
        return path

    return write
