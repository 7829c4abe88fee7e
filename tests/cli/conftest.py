from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.packages import install
from tests.support.workflows.gas_run import configuration, fill_folder, process_environment

__all__ = ["install"]


@pytest.fixture
def work_folder(tmp_path: Path) -> Path:
    """A folder with a structure and a surrogate."""
    fill_folder(tmp_path)
    return tmp_path


@pytest.fixture
def gas_run() -> dict[str, Any]:
    """A run of 60 outer steps with everything switched on."""
    return configuration()


@pytest.fixture
def environment() -> dict[str, str]:
    """For subprocesses."""
    return process_environment()
