"""``kstep`` where files may not grow, and on a full disk: one line, and taken up when there is room again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kstep_models.frames import FrameFile
from openmmkstep.cli import app
from tests.support.workflows.same_run import assert_same_trajectory
from tests.support.yaml_files import write_yaml

# ``kstep`` with files of at most so many bytes; 0 for no limit.
_LIMITED = """
import resource, sys
limit = int(sys.argv.pop(1)) or resource.RLIM_INFINITY
from openmmkstep.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
main()
"""


def failure(environment: dict[str, str], limit: int, *arguments: object) -> str:
    """What ``kstep`` says of a limit: one line on the error stream, with exit code 1."""
    command = [sys.executable, "-W", "error::ResourceWarning", "-c", _LIMITED, str(limit), *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.endswith("; make room and repeat the command\n"), done.stderr
    return done.stderr


def invoke(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def small_disk(work_folder: Path) -> Iterator[Path]:
    """An empty file system of 400 kB, where the run writes."""
    disk = work_folder / "out"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "none", str(disk)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


# The files that do not fit: frames (their journal is small), the system, lines, and frames of the trajectory.
@pytest.mark.parametrize(
    ("off", "limit", "file"),
    [
        ((), 30_000, "frames.h5"),
        ((), 12_300, "forcefield-system.xml"),
        (("frames",), 23_000, "statistics.csv"),
        (("frames", "statistics"), 23_000, "trajectory.dcd"),
    ],
)
def test_a_run_whose_files_may_not_grow(
    work_folder: Path, gas_run: dict[str, Any], environment: dict[str, str], off: tuple[str, ...], limit: int, file: str
) -> None:
    gas_run |= {"speed": {"time": "0 fs"}, "time": "0.09 ps"}
    gas_run["output"] |= {"trajectory": "1 fs"} | dict.fromkeys(off, "0 fs")
    config = write_yaml(work_folder / "run.yaml", gas_run)
    invoke("run", config)
    (work_folder / "out").rename(work_folder / "whole")
    assert f"out/{file}'" in failure(environment, limit, "run", config)
    invoke("run", config)
    assert_same_trajectory(work_folder / "whole", work_folder / "out")


def test_a_run_on_a_full_disk(
    work_folder: Path, gas_run: dict[str, Any], environment: dict[str, str], small_disk: Path
) -> None:
    gas_run["speed"] = {"time": "0 fs"}
    whole = write_yaml(work_folder / "whole.yaml", gas_run | {"output": gas_run["output"] | {"folder": "whole"}})
    invoke("run", whole)
    config = write_yaml(work_folder / "run.yaml", gas_run)
    free = os.statvfs(small_disk)
    filler = small_disk / "filler"
    filler.write_bytes(bytes(free.f_bavail * free.f_bsize - 110_000))
    for _ in range(2):
        assert "No space left on device" in failure(environment, 0, "run", config)
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    invoke("run", config)
    assert_same_trajectory(work_folder / "whole", small_disk)


def test_generating_where_files_may_not_grow(
    work_folder: Path, gas_run: dict[str, Any], environment: dict[str, str]
) -> None:
    config = write_yaml(
        work_folder / "generate.yaml",
        {
            "system": gas_run["system"],
            "qm": gas_run["qm"],
            "sampling": {
                "trajectories": 4,
                "frames_per_trajectory": 30,
                "steps_per_frame": 1,
                "equilibration": "0 fs",
                "conformers": {"time": "0 fs"},
            },
            "platform": "Reference",
            "output": str(work_folder / "whole.h5"),
        },
    )
    invoke("generate", config)
    frames = work_folder / "frames.h5"
    assert "frames.h5'" in failure(environment, 90_000, "generate", config, "--output", frames)
    assert "frames.h5'" in failure(environment, 90_000, "generate", config, "--output", frames, "--resume")
    invoke("generate", config, "--output", frames, "--resume")
    with FrameFile(frames) as file, FrameFile(work_folder / "whole.h5") as whole:
        assert len(file) == 120 and file.digest() == whole.digest()
