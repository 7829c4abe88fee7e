"""The files of a run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from kstep_models.files import write_json
from openmmkstep.workflows.config.run import RunConfig

# A finished run may be made longer or measured again; anything else would make another run of it.
_MAY_CHANGE = ("time", "speed", "threads")


class RunFolderError(ValueError):
    """A folder that does not fit the run."""


class RunFolder:
    """Paths of everything that a run writes.

    Args:
        path: of the folder; it is created when the run opens it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings = path / "run.json"
        self.topology = path / "topology.json"
        self.force_field_system = path / "forcefield-system.xml"
        self.structure = path / "prepared.pdb"
        self.equilibrated = path / "equilibrated.npz"
        self.start = path / "start.npz"
        self.checkpoint = path / "checkpoint.bin"
        self.trajectory = path / "trajectory.dcd"
        self.frames = path / "frames.h5"
        self.statistics = path / "statistics.csv"
        self.final = path / "final.npz"
        self.summary = path / "production.json"
        self.speed = path / "speed.json"
        self.report = path / "report"

    def open(self, config: RunConfig, fresh: bool) -> bool:
        """Start a run here or take up the one that is here.

        Args:
            config: of the run.
            fresh: throw away what is here.

        Returns:
            Whether there is a run to be continued.

        Raises:
            RunFolderError: the folder holds a run with other settings, or files that are not those of a run.
        """
        settings = config.written(exclude=_MAY_CHANGE)
        if fresh:
            self._clear()
        if self.settings.exists():
            present = json.loads(self.settings.read_text(encoding="utf-8"))
            if present != settings:
                names = ", ".join(_differences(present, settings))
                raise RunFolderError(
                    f"{self.path} holds a run with other settings ({names}): choose another output folder, or pass "
                    "--fresh to throw that run away"
                )
            return True
        foreign = [file.name for file in self._files() if file.exists()]
        if foreign:
            raise RunFolderError(
                f"{self.path} has files that a run would overwrite ({', '.join(foreign)}), but they belong to none: "
                "choose another output folder, or pass --fresh to throw them away"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.settings, settings)
        return False

    def _files(self) -> list[Path]:
        return [value for value in vars(self).values() if isinstance(value, Path) and value != self.path]

    def _clear(self) -> None:
        for file in self._files():
            if file.is_dir():
                shutil.rmtree(file)
            else:
                file.unlink(missing_ok=True)


def _differences(first: dict[str, Any], second: dict[str, Any], prefix: str = "") -> list[str]:
    names = []
    for key in sorted({*first, *second}):
        a, b = first.get(key), second.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            names += _differences(a, b, f"{prefix}{key}.")
        elif a != b:
            names.append(prefix + key)
    return names
