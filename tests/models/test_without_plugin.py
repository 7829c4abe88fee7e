"""Blocked packages fail to import as if they were not installed, and what does not need them works."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

MODULES = (
    *("archive", "configuration", "contract", "files", "frames", "hdf5", "provenance", "quantities", "units"),
    *("potential", "potential.network", "potential.interface", "potential.export", "potential.compilation"),
    *("potential.contract", "rttddft.network", "rttddft.export", "rttddft.response_file", "rttddft.contract"),
    "experimental.mamba",
)
TRAINING = ("methods", "checkpoints", "potential.method", "rttddft.method", "experimental.residual")


def run(code: str) -> str:
    head = "from tests.support.without_plugin import block_imports\nblock_imports('openmm', 'openmmkstep')\n"
    path = os.pathsep.join([str(Path(__file__).parents[2]), *(folder for folder in sys.path if folder)])
    result = subprocess.run(
        [sys.executable, "-c", head + code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_both_packages_work_without_openmm_and_the_plugin() -> None:
    names = [f"kstep_models.{name}" for name in MODULES] + [f"kstep_training.{name}" for name in TRAINING]
    run("import importlib\n" + "".join(f"importlib.import_module({name!r})\n" for name in names))


@pytest.mark.parametrize("package", ["openmm", "openmm.app", "openmmkstep", "openmmkstep.rttddft"])
def test_blocked_packages_are_not_there(package: str) -> None:
    code = f"try:\n    import {package}\nexcept ModuleNotFoundError as error:\n    print(error.name)"
    assert run(code) == package.partition(".")[0] + "\n"


def test_blocking_too_late_is_an_error() -> None:
    code = "import numpy\ntry:\n    block_imports('numpy')\nexcept RuntimeError as error:\n    print(error)"
    assert "numpy cannot be blocked any more" in run(code)
