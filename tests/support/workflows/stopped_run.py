"""Runs a configuration and stops in the middle, at a step rather than after a time.

As a program: ``stopped_run.py run.yaml STEP kill`` ends with SIGKILL after that outer step of production;
``stopped_run.py run.yaml STEP wait`` prints "waiting" there and goes on when it can read a line.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import openmm
from openmm import app


class _Stop:
    """A reporter that acts once."""

    def __init__(self, step: int, action: str) -> None:
        self._step = step
        self._action = action

    def describeNextReport(self, simulation: app.Simulation) -> dict[str, Any]:  # noqa: N802
        left = self._step - simulation.currentStep
        return {"steps": left if left > 0 else 1_000_000_000, "periodic": None, "include": []}

    def report(self, simulation: app.Simulation, state: openmm.State) -> None:
        if self._action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        print("waiting", flush=True)
        sys.stdin.readline()


def start(config: Path, step: int, action: str, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """The program in a process of its own, with pipes."""
    command = [sys.executable, __file__, str(config), str(step), action]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=dict(environment), stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def kill_at(config: Path, step: int, environment: Mapping[str, str]) -> None:
    """Run until a step, and be killed there."""
    with start(config, step, "kill", environment) as process:
        output = process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL, output


def _main() -> None:
    from rich.console import Console

    from kstep_models.configuration import load_config
    from openmmkstep.workflows.config.run import RunConfig
    from openmmkstep.workflows.plan import RunPlan
    from openmmkstep.workflows.run.runner import Runner

    # pytest-xdist switches it off, and processes inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    path, step, action = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    console = Console(stderr=True)
    Runner(RunPlan.of(load_config(path, RunConfig)), "test", console, [_Stop(step, action)]).run()


if __name__ == "__main__":
    _main()
