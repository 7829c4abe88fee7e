"""The files of a check of ensembles."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from openmmkstep.workflows.run_folder import RunFolder


class EnsembleFolder(RunFolder):
    """A run folder with a recording of every run in it.

    Args:
        path: Path of the folder; it is created when it is opened.
        runs: names of the runs.
    """

    def __init__(self, path: Path, runs: Iterable[str]) -> None:
        super().__init__(path)
        self.modes = path / "modes.npz"
        self.recordings = {name: path / f"{name}.npz" for name in runs}
        self._made_again = (*self._made_again, self.modes, *self.recordings.values())

    def _files(self) -> list[Path]:
        return [*super()._files(), *self.recordings.values()]
