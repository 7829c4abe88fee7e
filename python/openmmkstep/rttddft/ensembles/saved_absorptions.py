"""Results of finished geometries on disk, so that a scan that was killed can be continued."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from kstep_models.files import PARTIAL, write_atomically, write_json
from openmmkstep.rttddft.errors import ElectronDynamicsError
from openmmkstep.rttddft.observables.absorption import Absorption, AbsorptionSettings, Geometry

_SCHEMA = "kstep-absorptions"
_VERSION = 1
_SETTINGS = "settings.json"


class SavedAbsorptions:
    """A folder with one file for each finished geometry, and one that says how they were computed.

    Files are named by a digest of the settings, the geometry and its charges, so that geometries may be added, left out
    or reordered. Numbers come back as they were, to the last bit.

    Args:
        folder: made by the first :meth:`save`.
        settings: of all geometries.
        resume: take the results that are there; without it there must be none.

    Raises:
        ElectronDynamicsError: there are results that may not be used, or of other settings, or something else.
    """

    def __init__(self, folder: Path, settings: AbsorptionSettings, resume: bool) -> None:
        self._folder = folder
        # Through JSON, as the stored ones went.
        self._settings = json.loads(json.dumps(_described(settings)))
        self._head = {"schema": _SCHEMA, "version": _VERSION, "settings": self._settings}
        if not folder.exists():
            return
        self._refuse_other_settings(self._stored_settings())
        if not resume and self.number:
            raise ElectronDynamicsError(
                f"{folder} holds {self.number} finished geometries of a run that did not end: continue it with "
                "--resume, delete the folder, or choose another --output"
            )

    @property
    def number(self) -> int:
        """Of results in the folder."""
        return sum(path.name != _SETTINGS for path in self._folder.glob("*.json"))

    def load(self, geometries: Mapping[int, Geometry]) -> dict[int, Absorption]:
        """The results of those geometries that are finished.

        Raises:
            ElectronDynamicsError: a file is damaged.
        """
        paths = {number: self._path(geometry) for number, geometry in geometries.items()}
        return {number: _read(path) for number, path in paths.items() if path.exists()}

    def save(self, geometry: Geometry, result: Absorption) -> None:
        """Keep a result."""
        self._folder.mkdir(exist_ok=True)
        if not (self._folder / _SETTINGS).exists():
            write_json(self._folder / _SETTINGS, self._head)
        values = {field.name: _plain(getattr(result, field.name)) for field in fields(result)}
        write_atomically(self._path(geometry), json.dumps(values))

    def discard(self) -> None:
        """Remove all results, when something else holds them."""
        if self._folder.is_dir():
            shutil.rmtree(self._folder)

    def _path(self, geometry: Geometry) -> Path:
        digest = hashlib.sha256(json.dumps(self._settings, sort_keys=True).encode())
        molecule, environment = geometry.molecule, geometry.environment
        arrays = [molecule.numbers, molecule.positions, np.array([molecule.charge, molecule.multiplicity])]
        if environment is not None:
            arrays += [environment.positions, environment.charges]
        for array in arrays:
            digest.update(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes())
        return self._folder / f"{digest.hexdigest()[:32]}.json"

    def _stored_settings(self) -> dict[str, Any]:
        try:
            head = json.loads((self._folder / _SETTINGS).read_bytes())
            if (head["schema"], head["version"]) != (_SCHEMA, _VERSION):
                raise KeyError("schema")
            return dict(head["settings"])
        except FileNotFoundError:
            # Killed between the making of the folder and its first file.
            if all(path.name.endswith(PARTIAL) for path in self._folder.iterdir()):
                return dict(self._settings)
        except (OSError, ValueError, KeyError, TypeError):
            pass
        raise ElectronDynamicsError(
            f"{self._folder} is in the way: it is no folder of finished geometries that this program can read. "
            "Remove it, or choose another --output"
        )

    def _refuse_other_settings(self, stored: dict[str, Any]) -> None:
        names = sorted(stored.keys() | self._settings.keys())
        changed = [name for name in names if stored.get(name) != self._settings.get(name)]
        if changed:
            differences = "; ".join(
                f"{name} was {json.dumps(stored.get(name))}, is {json.dumps(self._settings.get(name))}"
                for name in changed
            )
            raise ElectronDynamicsError(
                f"{self._folder} holds geometries that were computed with other settings ({differences}): restore "
                "them, delete the folder, or choose another --output"
            )


def _described(settings: AbsorptionSettings) -> dict[str, Any]:
    return {field.name: _described_one(getattr(settings, field.name)) for field in fields(settings)}


def _described_one(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        digest = hashlib.sha256(value.tobytes()).hexdigest()[:16]
        return {"first": float(value[0]), "last": float(value[-1]), "number": len(value), "digest": digest}
    return value.describe() if hasattr(value, "describe") else value


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def _read(path: Path) -> Absorption:
    try:
        values: dict[str, Any] = json.loads(path.read_bytes())
        for name, value in values.items():
            if isinstance(value, list):
                values[name] = np.array(value, dtype=np.float64)
        return Absorption(**values)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ElectronDynamicsError(f"{path} is damaged ({error}): delete it, and it will be computed again") from error
