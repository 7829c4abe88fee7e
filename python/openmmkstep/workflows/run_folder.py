"""The files of a run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from openmmkstep.io.digests import DamagedFileError
from openmmkstep.io.manifest import Manifest


class RunFolderError(ValueError):
    """A folder that does not fit the run."""


class RunFolder:
    """Paths of everything that a run writes, and the content of what it writes at once.

    Args:
        path: Path of the folder; it is created when the run opens it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings = path / "run.json"
        self.digests = path / "digests.json"
        self.topology = path / "topology.json"
        self.force_field_system = path / "forcefield-system.xml"
        self.structure = path / "prepared.pdb"
        self.equilibration = path / "equilibration.npz"
        self.equilibration_table = path / "equilibration.csv"
        self.equilibrated = path / "equilibrated.npz"
        self.learning = path / "learning"
        self.start = path / "start.npz"
        self.checkpoint = path / "checkpoint.bin"
        self.trajectory = path / "trajectory.dcd"
        self.frames = path / "frames.h5"
        self.statistics = path / "statistics.csv"
        self.energies = path / "energies.csv"
        self.final = path / "final.npz"
        self.summary = path / "production.json"
        self.speed = path / "speed.json"
        self.failed_frame = path / "failed_frame.json"
        self.report = path / "report"
        self._made_again: tuple[Path, ...] = (
            self.equilibration,
            self.equilibration_table,
            self.equilibrated,
            self.start,
            self.final,
            self.summary,
            self.speed,
        )
        self._manifest = Manifest(self.digests)

    def open(self, settings: Mapping[str, Any], fresh: bool) -> bool:
        """Start a run here or take up the one that is here.

        Args:
            settings: JSON values that a run here must have.
            fresh: throw away what is here.

        Returns:
            Whether there is a run to be continued.

        Raises:
            RunFolderError: the folder holds a run with other settings, or files that are not those of a run.
            DamagedFileError, ManifestError: a file is not as the run left it.
        """
        if fresh:
            self._clear()
        differences = self.compare(settings)
        if differences:
            raise RunFolderError(
                f"{self.path} holds a run with other settings ({', '.join(differences)}): choose another output "
                "folder, or pass --fresh to throw that run away"
            )
        if differences is not None:
            return True
        if self.settings.exists():
            self._clear()
        foreign = [file.name for file in self._files() if file.exists()]
        if foreign:
            raise RunFolderError(
                f"{self.path} has files that a run would overwrite ({', '.join(foreign)}), but they belong to none: "
                "choose another output folder, or pass --fresh to throw them away"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        self._manifest = Manifest(self.digests)
        self.write_json(self.settings, dict(settings))
        return False

    def _has_results(self) -> bool:
        """Whether there is more than a system that is ready."""
        prepared = {self.settings, self.digests, self.topology, self.force_field_system, self.structure}
        return any(file.exists() for file in self._files() if file not in prepared)

    def compare(self, settings: Mapping[str, Any]) -> list[str] | None:
        """The settings in which the run that is here has other values; None where no run is.

        One with other settings that has calculated nothing is none: it ended by an error of its settings, say.

        Raises:
            DamagedFileError, ManifestError: it cannot be told, because a file is not as the run left it.
        """
        if not (self.settings.exists() or self.digests.exists()):
            return None
        self._manifest.load((self.settings, self.topology, self.force_field_system, self.structure, *self._made_again))
        differences = _differences(self.read_json(self.settings), settings)
        return differences if self._has_results() or not differences else None

    def has(self, file: Path) -> bool:
        """Whether the run has written a file.

        Raises:
            DamagedFileError: it has, and the file is gone, without which the run cannot go on.
        """
        if file.exists():
            return file in self._manifest
        if file in self._manifest and file not in self._made_again:
            raise self.damaged(file, "missing")
        return False

    def write(self, file: Path, content: bytes | str) -> None:
        """Write a file and its digest. Raises OSError."""
        self._manifest.write(file, content)

    def write_json(self, file: Path, content: Any) -> None:
        """Write JSON values and their digest. Raises OSError."""
        self.write(file, json.dumps(content, indent=1) + "\n")

    def read(self, file: Path) -> bytes:
        """The content of a file that the run has written.

        Raises:
            DamagedFileError: it is missing, or not what was written.
        """
        if not file.is_file():
            raise self.damaged(file, "missing")
        content = file.read_bytes()
        if not self._manifest.matches(file, content):
            raise self.damaged(file, "damaged")
        return content

    @contextmanager
    def reading(self, file: Path) -> Iterator[bytes]:
        """The content of a file; what makes no sense of it inside is told with the file's name.

        Raises:
            DamagedFileError: it is missing, not what was written, or what it should be.
        """
        content = self.read(file)
        try:
            yield content
        except Exception as error:
            raise self.damaged(file, f"damaged ({error})") from error

    def read_json(self, file: Path) -> dict[str, Any]:
        """The JSON object in a file that the run has written.

        Raises:
            DamagedFileError: it is missing, not what was written, or no JSON object.
        """
        with self.reading(file) as content:
            parsed = json.loads(content)
            if not isinstance(parsed, dict):
                raise ValueError("no JSON object")
        return parsed

    def damaged(self, file: Path, what: str) -> DamagedFileError:
        """An error that says what is wrong with a file ("damaged", "missing") and what to do about it."""
        if file in self._made_again:
            return DamagedFileError(f"{file} is {what}: remove it, and it is made again")
        return DamagedFileError(f"{file} is {what}: restore it from a copy, or pass --fresh to start the run anew")

    def _files(self) -> list[Path]:
        return [value for value in vars(self).values() if isinstance(value, Path) and value != self.path]

    def _clear(self) -> None:
        for file in self._files():
            if file.is_dir():
                shutil.rmtree(file)
            else:
                file.unlink(missing_ok=True)


def _differences(first: Mapping[str, Any], second: Mapping[str, Any], prefix: str = "") -> list[str]:
    names = []
    for key in sorted({*first, *second}):
        a, b = first.get(key), second.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            names += _differences(a, b, f"{prefix}{key}.")
        elif a != b:
            names.append(prefix + key)
    return names
