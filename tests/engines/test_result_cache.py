"""QM results on disk: what was calculated once is not calculated again, and nothing else comes from a file."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest

from openmmkstep import QMMMForce, SinglePoint
from openmmkstep.engines import registry
from openmmkstep.engines.protocol import Orbitals, QMOutput
from openmmkstep.engines.result_cache import CachedEngine, DamagedResultWarning, ResultCache, cache_in_use, caching

X = np.array([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0]])
Y = np.array([[0.0, 0.5, 0.0], [0.0, 0.0, 0.7], [0.9, 0.0, 0.0]])
Q = np.array([0.3, -0.2, 0.4])


class Counting:
    """Numbers that depend on everything; says how often it calculated."""

    calls = 0

    def __init__(self, stiffness: float = 1.0, threads: int = 1, tells: bool = True) -> None:
        self._stiffness = stiffness
        self._tells = tells

    def check(self, numbers: Any, charge: int, multiplicity: int) -> None:
        self._charge = charge

    def describe(self) -> dict[str, Any]:
        return {"stiffness": self._stiffness}

    def reset(self) -> None:
        pass

    def orbitals(self) -> Orbitals | None:
        return Orbitals(np.array([[-2.0, 1.0 / 3.0]]), np.array([[2.0, 0.0]])) if self._tells else None

    def compute(self, positions: Any, charge_positions: Any, charges: Any, needs_potential: Any) -> QMOutput:
        Counting.calls += 1
        rng = np.random.default_rng(Counting.calls)
        m = len(charges)
        return QMOutput(
            self._stiffness * rng.normal(),
            rng.normal(size=positions.shape),
            rng.normal(size=(m, 3)),
            np.where(needs_potential, rng.normal(size=m), np.nan),
            rng.normal(size=len(positions)) if self._tells else None,
            rng.normal(size=3) if self._tells else None,
            7,
        )


@pytest.fixture(autouse=True)
def counting() -> Iterator[None]:
    Counting.calls = 0
    registry.register("counting", Counting)
    yield
    del registry._registered["counting"]


def point(charge: int = 0, **settings: Any) -> SinglePoint:
    return SinglePoint("counting", [8, 8], charge, **settings)


def same(a: Any, b: Any) -> bool:
    names = [name for name, value in vars(a).items() if name != "orbitals" and value is not None]
    return all(np.array_equal(getattr(a, name), getattr(b, name), equal_nan=True) for name in names)


@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.parametrize("potential", [True, False])
def test_the_second_time_nothing_is_calculated(tmp_path: Path, tells: bool, potential: bool) -> None:
    with caching(tmp_path, 10**6) as cache:
        first = point(tells=tells).compute(X, Y, Q, potential)
        second = point(tells=tells, threads=3).compute(X.copy(), Y.copy(), Q.copy(), potential)
    assert Counting.calls == 1 and (cache.hits, cache.misses) == (1, 1)
    assert same(first, second)
    assert np.isnan(first.atomic_charges).all() != tells
    if tells:
        assert second.orbitals is not None and np.array_equal(first.orbitals.energies, second.orbitals.energies)
    else:
        assert first.orbitals is None and second.orbitals is None
    assert cache_in_use() is None
    point(tells=tells).compute(X, Y, Q, potential)
    assert Counting.calls == 2, "outside the block there is no cache"


def test_whatever_a_result_depends_on_is_in_the_key(tmp_path: Path) -> None:
    nearly = np.add(X, [[0, 1e-17, 0], [0, 0, 0]])
    assert not np.array_equal(nearly, X)
    questions: list[tuple[SinglePoint, tuple[Any, ...]]] = []
    with caching(tmp_path, 10**6) as cache:
        questions = [
            (point(), (X, Y, Q)),
            (point(), (X, Y, Q, True)),
            (point(), (nearly, Y, Q)),
            (point(), (X, Y + 1e-9, Q)),
            (point(), (X, Y, -Q)),
            (point(), (X, Y[:2], Q[:2])),
            (point(), (X,)),
            (point(stiffness=2.0), (X, Y, Q)),
            (point(charge=2), (X, Y, Q)),
            (SinglePoint("counting", [8, 16]), (X, Y, Q)),
        ]
        for engine, arguments in questions:
            engine.compute(*arguments)
    assert Counting.calls == len(questions) == cache.misses and cache.hits == 0


def test_another_version_is_another_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counting, "version", lambda self: "1", raising=False)
    with caching(tmp_path, 10**6):
        point().compute(X)
        point().compute(X)
        monkeypatch.setattr(Counting, "version", lambda self: "2", raising=False)
        point().compute(X)
    assert Counting.calls == 2


def test_contexts_use_it(tmp_path: Path, reference: openmm.Platform) -> None:
    def energies() -> list[float]:
        system = openmm.System()
        for _ in range(2):
            system.addParticle(16.0)
        system.addForce(QMMMForce([0, 1], [8, 8], "counting"))
        context = openmm.Context(system, openmm.VerletIntegrator(0.001), reference)
        found = []
        for shift in (0.0, 0.01, 0.02):
            context.setPositions(np.add(X, [[0, 0, 0], [shift, 0, 0]]))
            found.append(context.getState(energy=True).getPotentialEnergy()._value)
        return found

    with caching(tmp_path, 10**6):
        first, second = energies(), energies()
    assert first == second and Counting.calls == 3
    assert energies() != first


def _changed(content: bytes, place: int, value: int) -> bytes:
    """Of the first entry in the directory of a zip file."""
    at = content.index(b"PK\x01\x02") + place
    return content[:at] + bytes([value]) + content[at + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda c: c[:-30],
        lambda c: b"",
        lambda c: b"nothing",
        lambda c: c[:200] + c[201:],
        # In the zip file's directory: encrypted, of a version to come, another name.
        lambda c: _changed(c, 8, 1),
        lambda c: _changed(c, 6, 255),
        lambda c: c.replace(b"occupations", b"occupationx"),
    ],
)
def test_a_damaged_result_is_calculated_again(tmp_path: Path, damage: Any) -> None:
    with caching(tmp_path, 10**6) as cache:
        point().compute(X, Y, Q)
        (file,) = tmp_path.glob("??/*.npz")
        file.write_bytes(damage(file.read_bytes()))
        with pytest.warns(DamagedResultWarning, match="is no QM result"):
            again = point().compute(X, Y, Q)
        assert Counting.calls == 2
        assert same(point().compute(X, Y, Q), again) and Counting.calls == 2
    assert cache.hits == 1


def test_pickles_and_results_of_another_molecule_are_none(tmp_path: Path) -> None:
    with caching(tmp_path, 10**6):
        point().compute(X, Y, Q)
        (file,) = tmp_path.glob("??/*.npz")
        np.savez(file, energy=np.array({"an": "object"}, dtype=object))
        with pytest.warns(DamagedResultWarning, match="allow_pickle"):
            point().compute(X, Y, Q)
        other = ResultCache(tmp_path, 10**6)
        with pytest.warns(DamagedResultWarning, match="shapes"):
            assert other.find(file.stem, 3, 3) is None


def test_the_oldest_results_make_room(tmp_path: Path) -> None:
    with caching(tmp_path, 10**6):
        point().compute(X)
    size = sum(file.stat().st_size for file in tmp_path.glob("??/*.npz"))
    engine_calls = []
    with caching(tmp_path, int(10.5 * size)) as cache:
        engine = point()
        for number in range(10):
            engine.compute(X + number)
            time.sleep(0.002)
        engine.compute(X + 1)  # used again: not the oldest any more
        engine.compute(X + 50)
        left = sum(file.stat().st_size for file in tmp_path.glob("??/*.npz"))
        assert left <= 10.5 * size
        for number in (1, 9, 50):
            before = Counting.calls
            engine.compute(X + number)
            engine_calls.append(Counting.calls - before)
        before = Counting.calls
        engine.compute(X + 2)
    assert engine_calls == [0, 0, 0] and Counting.calls == before + 1
    assert cache.largest_size == int(10.5 * size)


def test_a_full_disk_costs_the_result_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("openmmkstep.engines.result_cache.write_atomically", full)
    with caching(tmp_path, 10**6), pytest.warns(RuntimeWarning, match="No space left"):
        assert np.isfinite(point().compute(X).energy)


def _compute_many(folder: str, start: int) -> None:
    registry.register("counting", Counting)
    with caching(folder, 20_000):
        engine = point()
        for number in range(60):
            engine.compute(X + (start + number) % 50, Y, Q)


def test_several_processes_share_it(tmp_path: Path) -> None:
    """None of them fails while all of them write, read and remove."""
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_compute_many, args=(str(tmp_path), start)) for start in (0, 10, 25)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    files = list(tmp_path.glob("??/*"))
    assert files and all(file.suffix == ".npz" for file in files)
    # Each may have counted without the last results of the two others.
    assert sum(file.stat().st_size for file in files) <= 20_000 + 3 * max(file.stat().st_size for file in files)


def test_sizes_and_names(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        ResultCache(tmp_path, 0)
    with caching(tmp_path / "new" / "folder", 10):
        assert isinstance(point()._engine, CachedEngine)
    assert (tmp_path / "new" / "folder").is_dir()
