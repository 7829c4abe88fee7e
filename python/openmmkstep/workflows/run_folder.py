"""The files of a run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kstep_models.files import write_atomically, write_json
from openmmkstep.io.digests import DamagedFileError, digest_of
from openmmkstep.workflows.config.run import RunConfig

# A finished run may be made longer or measured again; anything else would make another run of it.
_MAY_CHANGE = ("time", "speed", "threads")


class RunFolderError(ValueError):
    """A folder that does not fit the run."""


class RunFolder:
    """Paths of everything that a run writes, and the content of what it writes at once.

    Digests of the latter lie beside them. A file whose digest is not there does not count: a program was killed between
    the two, and what belongs into the file is made again.

    Args:
        path: of the folder; it is created when the run opens it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings = path / "run.json"
        self.digests = path / "digests.json"
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
        self._made_again = (self.equilibrated, self.start, self.final, self.summary, self.speed)
        self._known: dict[str, str] = {}

    def open(self, config: RunConfig, fresh: bool) -> bool:
        """Start a run here or take up the one that is here.

        Args:
            config: of the run.
            fresh: throw away what is here.

        Returns:
            Whether there is a run to be continued.

        Raises:
            RunFolderError: the folder holds a run with other settings, or files that are not those of a run.
            DamagedFileError: a file is not as the run left it.
        """
        if fresh:
            self._clear()
        differences = self.compare(config)
        if differences is not None:
            if differences:
                raise RunFolderError(
                    f"{self.path} holds a run with other settings ({', '.join(differences)}): choose another output "
                    "folder, or pass --fresh to throw that run away"
                )
            return True
        foreign = [file.name for file in self._files() if file.exists()]
        if foreign:
            raise RunFolderError(
                f"{self.path} has files that a run would overwrite ({', '.join(foreign)}), but they belong to none: "
                "choose another output folder, or pass --fresh to throw them away"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        self._known = {}
        self.write_json(self.settings, config.written(exclude=_MAY_CHANGE))
        return False

    def compare(self, config: RunConfig) -> list[str] | None:
        """The settings in which the run that is here differs from a configuration; None where no run is.

        Raises:
            DamagedFileError: it cannot be told, because a file is not as the run left it.
        """
        if not (self.settings.exists() or self.digests.exists()):
            return None
        self._known = self._read_digests()
        return _differences(self.read_json(self.settings), config.written(exclude=_MAY_CHANGE))

    def has(self, file: Path) -> bool:
        """Whether the run has written a file.

        Raises:
            DamagedFileError: it has, and the file is gone, without which the run cannot go on.
        """
        if file.exists():
            return file.name in self._known
        if file.name in self._known and file not in self._made_again:
            raise self.damaged(file, "missing")
        return False

    def write(self, file: Path, content: bytes | str) -> None:
        """Write a file and its digest, one after the other."""
        data = content.encode() if isinstance(content, str) else content
        if self._known.pop(file.name, None) is not None:
            self._write_digests()
        write_atomically(file, data)
        self._known[file.name] = digest_of(data)
        self._write_digests()

    def write_json(self, file: Path, content: Any) -> None:
        """Write JSON values and their digest."""
        self.write(file, json.dumps(content, indent=1) + "\n")

    def read(self, file: Path) -> bytes:
        """The content of a file that the run has written.

        Raises:
            DamagedFileError: it is missing, or not what was written.
        """
        if not file.is_file():
            raise self.damaged(file, "missing")
        content = file.read_bytes()
        if self._known.get(file.name) != digest_of(content):
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

    def _read_digests(self) -> dict[str, str]:
        """Name -> digest; where the file was taken away all others are trusted."""
        if not self.digests.exists():
            written_at_once = (self.settings, self.topology, self.force_field_system, self.structure, *self._made_again)
            return {file.name: digest_of(file.read_bytes()) for file in written_at_once if file.is_file()}
        try:
            content = json.loads(self.digests.read_bytes())
            known: dict[str, str] = content["files"]
            if _digest_of_names(known) != content["sha256"]:
                raise ValueError("its own digest is another")
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedFileError(
                f"{self.digests} is damaged: restore it from a copy, or remove it to trust the other files as they are"
            ) from error
        return known

    def _write_digests(self) -> None:
        write_json(self.digests, {"files": self._known, "sha256": _digest_of_names(self._known)})

    def _files(self) -> list[Path]:
        return [value for value in vars(self).values() if isinstance(value, Path) and value != self.path]

    def _clear(self) -> None:
        for file in self._files():
            if file.is_dir():
                shutil.rmtree(file)
            else:
                file.unlink(missing_ok=True)


def _digest_of_names(digests: dict[str, str]) -> str:
    return digest_of(json.dumps(digests, sort_keys=True).encode())


def _differences(first: dict[str, Any], second: dict[str, Any], prefix: str = "") -> list[str]:
    names = []
    for key in sorted({*first, *second}):
        a, b = first.get(key), second.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            names += _differences(a, b, f"{prefix}{key}.")
        elif a != b:
            names.append(prefix + key)
    return names
