"""Files that are written at once, with a list of their digests beside them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from kstep_models.files import write_atomically, write_json


class ManifestError(ValueError):
    """The list itself is damaged."""


class Manifest:
    """Digests of files in one folder.

    A file whose digest is not listed does not count: a program was killed between writing the two.

    Args:
        path: Path of the list, a JSON file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._digests: dict[str, str] = {}

    def __contains__(self, file: Path) -> bool:
        return file.name in self._digests

    def load(self, files: Iterable[Path]) -> None:
        """Read the list.

        Args:
            files: whose present content is listed where there is no list, because it was taken away.

        Raises:
            ManifestError: it is damaged.
        """
        if not self.path.exists():
            self._digests = {file.name: _digest(file.read_bytes()) for file in files if file.is_file()}
            return
        try:
            content = json.loads(self.path.read_bytes())
            digests: dict[str, str] = content["files"]
            if _digest_of_all(digests) != content["sha256"]:
                raise ValueError("its own digest is another")
        except (ValueError, KeyError, TypeError) as error:
            raise ManifestError(
                f"{self.path} is damaged: restore it from a copy, or remove it to trust the other files as they are"
            ) from error
        self._digests = digests

    def write(self, file: Path, content: bytes | str) -> None:
        """Write a file and then its digest; it is not listed in between."""
        data = content.encode() if isinstance(content, str) else content
        if self._digests.pop(file.name, None) is not None:
            self._save()
        write_atomically(file, data)
        self._digests[file.name] = _digest(data)
        self._save()

    def matches(self, file: Path, content: bytes) -> bool:
        """Whether a file is listed with this content."""
        return self._digests.get(file.name) == _digest(content)

    def _save(self) -> None:
        write_json(self.path, {"files": self._digests, "sha256": _digest_of_all(self._digests)})


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _digest_of_all(digests: dict[str, str]) -> str:
    return _digest(json.dumps(digests, sort_keys=True).encode())
