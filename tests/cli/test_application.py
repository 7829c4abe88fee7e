"""The application itself: what it loads, commands of other packages, errors and warnings."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from kstep_models.frames import Frame, FrameWriter, RegionDescription
from kstep_models.locks import InUseError
from openmmkstep.cli import app
from openmmkstep.cli.errors import report_errors
from openmmkstep.cli.results import results_file
from tests.support.packages import Install

ROOT = Path(__file__).resolve().parents[2]
CUSTOM = ROOT / "examples" / "custom_command"

# `kstep` with what the package's own __init__ does left out: it is no part of the command line.
_BARE = """
import sys, types
package = types.ModuleType("openmmkstep")
package.__path__ = [sys.argv.pop(1)]
sys.modules["openmmkstep"] = package
from openmmkstep.cli import main
try:
    main()
finally:
    heavy = {"openmm", "torch", "numpy", "h5py", "matplotlib", "yaml", "lightning", "pyscf", "kstep_models"}
    print("loaded:", sorted(heavy & set(sys.modules)))
"""


def call(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, " ".join(result.output.split())


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["validate", "nve", "--help"]])
def test_help_loads_nothing_heavy(environment: dict[str, str], arguments: list[str]) -> None:
    command = [sys.executable, "-c", _BARE, str(ROOT / "python" / "openmmkstep"), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "Usage:" in done.stdout
    assert done.stdout.splitlines()[-1] == "loaded: []"


def test_help_names_all_commands() -> None:
    code, output = call("--help")
    assert code == 0
    modules = [
        path.stem.replace("_", "-")
        for folder in ("dynamics", "surrogates", "electrons")
        for path in (ROOT / "python" / "openmmkstep" / "cli" / folder).glob("*.py")
        # No commands: what they share, and what learning starts by itself.
        if path.stem not in ("__init__", "extra", "unattended")
    ]
    assert len(modules) >= 13
    for name in modules:
        assert f" {name} " in output, name


def test_a_typing_error_is_guessed() -> None:
    code, output = call("rum", "x.yaml")
    assert code == 2 and "No such command 'rum'" in output and "Did you mean 'run'" in output


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    region = RegionDescription(np.array([1, 1]), np.ones(2), np.array([[0, 1]]), 0, 1, {"method": "none"})
    with FrameWriter(tmp_path / "frames.h5", region) as writer:
        for energy in (-5.0, -3.0, -1.0):
            force = np.array([[3.0, 4.0 * energy, 0.0], [0.0, 0.0, 0.0]])
            writer.append(Frame(np.zeros((2, 3)), energy, force, np.zeros(2), np.zeros(3), 0, 0.0, 0.0))
    return tmp_path / "frames.h5"


def test_the_example_of_a_command(install: Install, frames: Path) -> None:
    project = tomllib.loads((CUSTOM / "pyproject.toml").read_text())["project"]
    source = CUSTOM / "kstep_frame_summary.py"
    assert len(source.read_text().splitlines()) < 60
    install(project["name"], project["entry-points"]["openmmkstep.commands"], source.read_text())
    code, output = call("--help")
    assert code == 0 and "frame-summary From the package kstep-frame-summary." in output
    assert "kstep_frame_summary" not in sys.modules
    try:
        assert "below" in call("frame-summary", "--help")[1]
        code, output = call("frame-summary", frames)
        assert code == 0 and "│ frames.h5 │ 3 │ -5.0 │ -3.0 │ 20 │" in output
        assert "│ 2 │ -5.0 │ -4.0 │" in call("frame-summary", frames, "--below", "-2")[1]
        assert call("frame-summary", frames, "--below", "-9") == (
            1,
            f"error: {frames} has no frame with an energy below -9.0: raise --below",
        )
        code, output = call("frame-summary", frames.with_name("none.h5"))
        assert code == 1 and output.startswith("error: ") and "none.h5 does not exist" in output
    finally:
        del sys.modules["kstep_frame_summary"]


def test_packages_that_break(install: Install) -> None:
    """Neither help nor other commands mind; a command of ours cannot be taken over, which whoever calls it learns."""
    commands = {"broken": "kstep_broken:command", "run": "kstep_broken:command"}
    install("kstep-broken", commands, "raise RuntimeError('half installed')")
    code, output = call("--help")
    assert code == 0 and "broken From the package kstep-broken." in output and "warning" not in output
    code, output = call("broken")
    assert code == 1
    assert output.startswith(
        "error: the command 'broken' of the package kstep-broken (kstep_broken:command) cannot be loaded "
        "(RuntimeError: half installed): repair or uninstall"
    )
    code, output = call("run", "--help")
    assert code == 0 and "Build, equilibrate and run" in output
    assert "warning: the command 'run' is kstep's own, and not that of kstep-broken (kstep_broken:command)" in output
    assert "warning" not in call("train", "--help")[1]


def test_two_packages_with_one_command(install: Install) -> None:
    for name in ("kstep-one", "kstep-two"):
        install(name, {"same": f"{name.replace('-', '_')}:command"}, "raise RuntimeError('loaded')")
    code, output = call("--help")
    assert code == 0 and re.search("same From the packages kstep-(one and kstep-two|two and kstep-one)", output)
    code, output = call("same")
    assert code == 1 and output.startswith("error: the command 'same' is offered by several packages, kstep-")
    assert "kstep-one (kstep_one:command)" in output and "kstep-two (kstep_two:command)" in output


def test_warnings_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with report_errors():
        warnings.warn("the charge of the region\ndoes not fit", stacklevel=1)
    assert capsys.readouterr().err == "warning: the charge of the region does not fit\n"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("a\nb"), "a b"),
        (OSError("a b"), "a b"),
        (ImportError("a b"), "a b"),
        (ValueError(), "ValueError without a message"),
        (UnicodeError(" "), "UnicodeError without a message"),
    ],
)
def test_errors_are_lines(capsys: pytest.CaptureFixture[str], error: Exception, line: str) -> None:
    with pytest.raises(Exception, match="1"), report_errors():
        raise error
    assert capsys.readouterr().err == f"error: {line}\n"


def test_errors_of_the_program_keep_their_traceback() -> None:
    with pytest.raises(ZeroDivisionError), report_errors():
        _ = 1 / 0


def test_results_are_written_by_one_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "results.json"
    with results_file(path, "numbers") as results:
        results.write({"a": 1})
        with pytest.raises(InUseError, match=r"results\.json is being written by process"), results_file(path):
            pass
    assert json.loads(path.read_text()) == {"a": 1}
    assert capsys.readouterr().out == f"numbers: {path}\n"
    with pytest.raises(ValueError, match="none is not a folder: create it"), results_file(tmp_path / "none" / "x.json"):
        pass
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]


def test_an_interruption_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), report_errors():
        raise KeyboardInterrupt
    assert "interrupted: repeat the command to go on" in capsys.readouterr().err
