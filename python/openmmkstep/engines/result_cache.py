"""QM results on disk, so that no program is asked for the same geometry twice.

    with caching("qm-cache", 2_000_000_000):
        point = SinglePoint("pyscf", [8, 1, 1], xc="b3lyp", basis="6-31g*")
        point.compute(positions)  # the second time, in another process too, from the file

Engines in Python that are made while a cache is in use ask it first; the native ones are cheaper than files. One file
holds one result, under a name made of everything that the result depends on: the engine, its version and the settings
that change results, the molecule, and all positions and charges to the last bit. A result of a self-consistent
calculation also depends on the density from which it started, within its convergence; so does, then, what follows a
result from the cache, because the engine has not seen that geometry. Files are arrays only; reading them runs no code.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import json
import os
import threading
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kstep_models.files import write_atomically
from kstep_models.provenance import software_versions

from .checked import CheckedEngine
from .protocol import Orbitals, QMOutput

Array = NDArray[np.float64]

_ENDING = ".npz"
_ARRAYS = {
    "energy",
    "gradient",
    "charge_gradient",
    "potential_at_charges",
    "atomic_charges",
    "dipole",
    "iterations",
}
_ORBITAL_ARRAYS = {"orbital_energies", "occupations"}
# Of the largest size, to which a full cache is emptied, so that not every new result empties it again.
_LEFT_WHEN_FULL = 0.9


class DamagedResultWarning(UserWarning):
    """A file of the cache that is no result or cannot be read; the result is calculated again and takes its place."""


class ResultCache:
    """A folder of results; several processes may use it at once.

    What was not used for the longest time is removed where the folder grows too large.

    Args:
        folder: made if it does not exist.
        largest_size: bytes of all files together.

    Attributes:
        hits: results that were found.
        misses: results that were not.

    Raises:
        ValueError: the size is not positive.
        OSError: the folder cannot be made.
    """

    def __init__(self, folder: str | os.PathLike[str], largest_size: int) -> None:
        if not largest_size > 0:
            raise ValueError(f"the size of a cache must be positive, got {largest_size}")
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.largest_size = int(largest_size)
        self.hits = 0
        self.misses = 0
        self._size: int | None = None
        self._lock = threading.Lock()

    def find(self, key: str, atoms: int, charges: int) -> tuple[QMOutput, Orbitals | None] | None:
        """A result, or None if it is not there.

        Args:
            key: of the result, hexadecimal digits.
            atoms: n of the result.
            charges: m of the result.
        """
        path = self._path(key)
        try:
            found = _from_bytes(path.read_bytes(), atoms, charges)
        except FileNotFoundError:
            self.misses += 1
            return None
        # RuntimeError: a byte that says that the file is encrypted, or of a later version of the format.
        except (ValueError, KeyError, OSError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
            warnings.warn(f"{path} is no QM result ({error}): calculated again", DamagedResultWarning, stacklevel=2)
            self.misses += 1
            return None
        with suppress(OSError):
            os.utime(path)  # when it was used last
        self.hits += 1
        return found

    def keep(self, key: str, output: QMOutput, orbitals: Orbitals | None) -> None:
        """Put a result there. One that cannot be written, on a full disk for example, is lost with a warning only."""
        path, content = self._path(key), _to_bytes(output, orbitals)
        try:
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, content)
        except OSError as error:
            warnings.warn(f"a QM result was not kept: {error}", RuntimeWarning, stacklevel=2)
            return
        with self._lock:
            self._size = self._measured() if self._size is None else self._size + len(content)
            if self._size > self.largest_size:
                self._make_room()

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}{_ENDING}"

    def _files(self) -> list[tuple[int, int, Path]]:
        """When used last, size and path of each file, the oldest first."""
        files = []
        for path in self.folder.glob(f"??/*{_ENDING}"):
            with suppress(FileNotFoundError):  # another process may have removed it
                status = path.stat()
                files.append((status.st_mtime_ns, status.st_size, path))
        return sorted(files)

    def _measured(self) -> int:
        return sum(size for _, size, _ in self._files())

    def _make_room(self) -> None:
        # Counted anew: other processes write too.
        files = self._files()
        total = sum(size for _, size, _ in files)
        if total > self.largest_size:
            for _, size, path in files:
                if total <= _LEFT_WHEN_FULL * self.largest_size:
                    break
                path.unlink(missing_ok=True)
                total -= size
        self._size = total


_in_use: ResultCache | None = None


def cache_in_use() -> ResultCache | None:
    """The cache that engines get which are made now."""
    return _in_use


@contextmanager
def caching(folder: str | os.PathLike[str], largest_size: int) -> Iterator[ResultCache]:
    """Give a cache to all engines in Python that are made inside the block; they keep it afterwards.

    Args:
        folder: where results are; made if it does not exist.
        largest_size: bytes.

    Raises:
        ValueError: the size is not positive.
        OSError: the folder cannot be made.
    """
    global _in_use
    before, cache = _in_use, ResultCache(folder, largest_size)
    _in_use = cache
    try:
        yield cache
    finally:
        _in_use = before


class CachedEngine:
    """An engine that is asked only for what the cache has not; for one molecule, which was checked.

    The file that the engine's class is in counts as a part of its version, so that changes of a script are noticed;
    those of what it imports are noticed where it has a method ``version() -> str``, or by the version of its package.

    Args:
        name: of the engine.
        engine: the engine.
        cache: where results are.
        molecule: atomic numbers [n], charge and multiplicity.
    """

    def __init__(
        self, name: str, engine: CheckedEngine, cache: ResultCache, molecule: tuple[Sequence[int], int, int]
    ) -> None:
        self._engine = engine
        self._cache = cache
        self._orbitals: Orbitals | None = None
        program = engine.engine
        version = getattr(program, "version", None)
        about = {
            "engine": name,
            "settings": engine.describe(),
            "version": version() if callable(version) else None,
            "package": software_versions((type(program).__module__.split(".")[0],)),
            "source": _digest_of_source(type(program)),
            "molecule": [[int(number) for number in molecule[0]], int(molecule[1]), int(molecule[2])],
        }
        self._about = hashlib.sha256(json.dumps(about, sort_keys=True).encode())

    def check(self, numbers: Sequence[int], charge: int, multiplicity: int) -> None:
        """As the engine's."""
        self._engine.check(numbers, charge, multiplicity)

    def describe(self) -> dict[str, Any]:
        """As the engine's."""
        return self._engine.describe()

    def reset(self) -> None:
        """As the engine's."""
        self._orbitals = None
        self._engine.reset()

    def memory(self) -> bytes:
        """As the engine's."""
        return self._engine.memory()

    def recall(self, memory: bytes) -> None:
        """As the engine's."""
        self._orbitals = None
        self._engine.recall(memory)

    def orbitals(self) -> Orbitals | None:
        """Of the last result, from wherever it came."""
        return self._orbitals

    def compute(
        self, positions: Array, charge_positions: Array, charges: Array, needs_potential: NDArray[np.bool_]
    ) -> QMOutput:
        """The result from the cache, or else from the engine."""
        key = self._about.copy()
        for array in (positions, charge_positions, charges, needs_potential):
            # Shapes too: the same bytes may be divided otherwise between two arrays.
            key.update(f"{array.dtype.str}{array.shape}".encode())
            key.update(np.ascontiguousarray(array).tobytes())
        name = key.hexdigest()
        found = self._cache.find(name, len(positions), len(charges))
        if found is None:
            output = self._engine.compute(positions, charge_positions, charges, needs_potential)
            found = output, self._engine.orbitals()
            self._cache.keep(name, *found)
        output, self._orbitals = found
        return output


def _to_bytes(output: QMOutput, orbitals: Orbitals | None) -> bytes:
    """Of a checked answer, which has NaN where the engine tells nothing."""
    arrays: dict[str, Any] = {
        "energy": np.array(output.energy),
        "gradient": output.gradient,
        "charge_gradient": output.charge_gradient,
        "potential_at_charges": output.potential_at_charges,
        "atomic_charges": output.atomic_charges,
        "dipole": output.dipole,
        "iterations": np.array(output.iterations),
    }
    if orbitals is not None:
        arrays |= {"orbital_energies": orbitals.energies, "occupations": orbitals.occupations}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _digest_of_source(kind: type) -> str | None:
    try:
        file = inspect.getsourcefile(kind)
        return None if file is None else hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except (TypeError, OSError):
        return None


def _from_bytes(content: bytes, atoms: int, charges: int) -> tuple[QMOutput, Orbitals | None]:
    """Raises ValueError, KeyError, OSError, EOFError, RuntimeError or BadZipFile if it is something else."""
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        output = QMOutput(
            float(file["energy"]),
            file["gradient"],
            file["charge_gradient"],
            file["potential_at_charges"],
            file["atomic_charges"],
            file["dipole"],
            int(file["iterations"]),
        )
        shapes = output.gradient.shape, output.charge_gradient.shape, output.potential_at_charges.shape
        if shapes != ((atoms, 3), (charges, 3), (charges,)):
            raise ValueError(f"arrays of the shapes {shapes}")
        others = set(file.files) - _ARRAYS
        if not others:
            return output, None
        if others != _ORBITAL_ARRAYS:
            raise ValueError(f"arrays of the names {sorted(file.files)}")
        return output, Orbitals(file["orbital_energies"], file["occupations"])
