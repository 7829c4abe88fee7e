"""The stub through which mypy sees the bindings is the one that the bindings have."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

STUB = Path(__file__).parents[2] / "python" / "openmmkstep" / "_openmmkstep.pyi"


def test_the_stub_is_up_to_date(tmp_path: Path) -> None:
    if importlib.util.find_spec("pybind11_stubgen") is None:
        pytest.skip("pybind11-stubgen is not installed: pip install '.[dev]'")
    subprocess.run(
        [sys.executable, "-m", "pybind11_stubgen", "openmmkstep._openmmkstep", "-o", tmp_path],
        check=True,
        capture_output=True,
    )
    generated = (tmp_path / "openmmkstep" / "_openmmkstep.pyi").read_text()
    # Whatever the formatter makes of it.
    assert ast.dump(ast.parse(generated)) == ast.dump(ast.parse(STUB.read_text())), (
        "the bindings have changed: pybind11-stubgen openmmkstep._openmmkstep -o python && ruff format python"
    )
