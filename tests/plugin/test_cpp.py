"""The plugin's C++ unit tests, built against the installed package as other people's C++ code would be."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "plugin" / "tests"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled tests."""
    for tool in ("cmake", "ninja"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed: pip install '.[dev]'")
    build = tmp_path_factory.mktemp("cpp")
    package = importlib.util.find_spec("openmmkstep")
    assert package is not None
    assert package.submodule_search_locations is not None
    configured = subprocess.run(
        [
            *("cmake", "-S", SOURCE, "-B", build, "-G", "Ninja", f"-DPython3_EXECUTABLE={sys.executable}"),
            f"-DOPENMMKSTEP_DIR={package.submodule_search_locations[0]}",
        ],
        capture_output=True,
        text=True,
    )
    if "DOCTEST_INCLUDE_DIR" in configured.stderr:
        pytest.skip("doctest's header is not installed (Debian, Ubuntu: doctest-dev)")
    assert configured.returncode == 0, configured.stderr
    built = subprocess.run(["cmake", "--build", build, "-j", "2"], capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    assert "warning" not in built.stdout + built.stderr
    return build / "KStepTests"


def test_cpp(program: Path) -> None:
    result = subprocess.run([program, "--no-colors"], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "SUCCESS" in result.stdout
