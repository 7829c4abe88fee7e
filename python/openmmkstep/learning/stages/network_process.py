"""The process that trains a network: of low priority and one thread, and it ends with the one that started it."""

from __future__ import annotations

import os
import subprocess
import sys
import weakref
from pathlib import Path

from ..settings import LearningError

# Named, not imported: what stands above this package knows how networks are trained.
_COMMAND = "openmmkstep.cli.surrogates.unattended"
_TRAINING, _DONE, _OUTPUT = "train.yaml", "done.json", "output.txt"


class NetworkProcess:
    """Trains in a folder with `train.yaml`, or goes on there, until there are an archive and `done.json`.

    Args:
        folder: Of the training.
        archive: What is written at the end.
    """

    def __init__(self, folder: Path, archive: Path) -> None:
        with (folder / _OUTPUT).open("ab") as output:
            self._process = subprocess.Popen(
                [*_command(), str(folder / _TRAINING), str(archive), str(folder / _DONE)],
                # Ends with this process, however that ends, and with it what is trained.
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_environment(),
            )
        self._end = weakref.finalize(self, _end, self._process)
        self._folder = folder

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def failure(self) -> str:
        """What went wrong, of one that has ended; empty if nothing did."""
        if self._process.returncode == 0 and (self._folder / _DONE).exists():
            return ""
        if self._process.returncode < 0:
            return f"the process was ended by signal {-self._process.returncode}"
        return _last_line((self._folder / _OUTPUT).read_text(encoding="utf-8", errors="replace"))

    def stop(self) -> None:
        """End it; what was trained up to the last checkpoint stays."""
        self._end()


def check_training(training: Path) -> None:
    """Make sure that a network can be trained as a file says, once there are frames.

    Raises:
        LearningError: It cannot.
    """
    result = subprocess.run(
        [*_command(), str(training)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=_environment(),
        check=False,
    )
    if result.returncode != 0:
        raise LearningError(f"network: {_last_line(result.stdout.decode(errors='replace'))}")


def _command() -> list[str]:
    return [sys.executable, "-m", _COMMAND]


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "COLUMNS": "1000"}


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else "the process ended without a message"
