"""HDF5 files on full disks, with programs killed in the middle, and with wrong bits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from kstep_models import hdf5_changes, journal
from kstep_models.hdf5 import open_patiently, write_text

# What a process does in a file that may not grow beyond a limit: it appends rows until that fails, and tells.
_APPEND = """
import json, resource, sys
from pathlib import Path
import numpy as np
from kstep_models import hdf5_changes
path, limit = Path(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
failure = None
try:
    for _ in range(50):
        with hdf5_changes.changed(path, 0.0) as file:
            rows = len(file["x"])
            file["x"].resize(rows + 20, axis=0)
            file["x"][rows:] = np.arange(rows, rows + 20)[:, None]
except OSError as error:
    failure = str(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(json.dumps({"rows": rows, "failure": failure}))
"""


def create(path: Path, rows: int = 0, columns: int = 100) -> None:
    with hdf5_changes.created(path) as file:
        write_text(file.attrs, "title", "numbers")
        options: dict[str, Any] = {"maxshape": (None, columns), "chunks": (20, columns), "fletcher32": True}
        file.create_dataset("x", data=np.arange(rows)[:, None] * np.ones(columns), **options)


def rows_of(path: Path) -> list[float]:
    with open_patiently(path, "r", 0.0) as file:
        values = file["x"][:]
        assert np.all(values == values[:, :1])
        return [float(value) for value in values[:, 0]]


def append(path: Path, value: float) -> None:
    with hdf5_changes.changed(path, 0.0) as file:
        file["x"].resize(len(file["x"]) + 1, axis=0)
        file["x"][-1] = value


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.fixture
def python() -> Callable[..., dict[str, Any]]:
    """Runs a program of its own; a crash of the interpreter fails the test."""

    def run(*arguments: object) -> dict[str, Any]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        command = [sys.executable, "-c", _APPEND, *map(str, arguments)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0 and not done.stderr, done.stderr
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    return run


@pytest.mark.parametrize("limit", [60_000, 100_001])
def test_a_file_that_may_not_grow(tmp_path: Path, python: Callable[..., dict[str, Any]], limit: int) -> None:
    path = tmp_path / "x.h5"
    create(path)
    first = python(path, limit)
    assert "File too large" in first["failure"] and str(path) in first["failure"]
    assert rows_of(path) == list(range(first["rows"])) and first["rows"] > 0
    assert names(tmp_path) == ["x.h5"]
    second = python(path, 10_000_000)
    assert second["failure"] is None
    assert rows_of(path) == list(range(first["rows"] + 1000))


def test_a_full_disk(tmp_path: Path, python: Callable[..., dict[str, Any]]) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "none", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    try:
        path = disk / "x.h5"
        create(path)
        first = python(path, 10_000_000)
        assert "No space left" in first["failure"] and str(path) in first["failure"]
        assert rows_of(path) == list(range(first["rows"])) and first["rows"] > 0
        (disk / "filler").write_bytes(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize))
        with pytest.raises(OSError, match="No space left"):
            create(disk / "y.h5")
        assert names(disk) == ["filler", "x.h5"]
        (disk / "filler").unlink()
        subprocess.run(["mount", "-o", "remount,size=10m", str(disk)], check=True)
        assert python(path, 10_000_000)["failure"] is None
        assert rows_of(path) == list(range(first["rows"] + 1000))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("writes", [0, 1, 2])
def test_killed_while_the_changes_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
    """The file is torn on disk; whoever opens it next finishes it."""
    path = tmp_path / "x.h5"
    create(path, 3)
    monkeypatch.setattr(journal, "_PAGE", 64)  # for several pieces
    real, done = os.pwrite, []

    def stop(descriptor: int, data: memoryview, offset: int) -> int:
        if len(done) == writes:
            raise KeyboardInterrupt
        done.append(offset)
        return real(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", stop)
    with pytest.raises(KeyboardInterrupt):
        append(path, 3.0)
    monkeypatch.setattr(os, "pwrite", real)
    assert names(tmp_path) == ["x.h5", "x.h5.journal"]
    if writes == 1:
        append(path, 4.0)
    assert rows_of(path) == [0.0, 1.0, 2.0, 3.0, 4.0][: 5 if writes == 1 else 4]
    assert names(tmp_path) == ["x.h5"]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_killed_while_the_journal_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float) -> None:
    path = tmp_path / "x.h5"
    create(path, 3)
    monkeypatch.setattr(journal, "_carry_out", lambda *_: None)
    append(path, 3.0)
    monkeypatch.undo()
    content = journal.journal_path(path).read_bytes()
    journal.journal_path(path).write_bytes(content[: int(share * len(content))])
    assert rows_of(path) == [0.0, 1.0, 2.0]
    assert names(tmp_path) == ["x.h5"]


def test_an_error_inside_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    create(path, 3)
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError), hdf5_changes.changed(path, 0.0) as file:
        file["x"][1] = 7.0
        _ = 1 / 0
    assert path.read_bytes() == before and names(tmp_path) == ["x.h5"]
    with pytest.raises(ZeroDivisionError), hdf5_changes.created(path) as file:
        _ = 1 / 0
    assert path.read_bytes() == before and names(tmp_path) == ["x.h5"]


def test_readers_and_writers_exclude_each_other(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    create(path, 3)
    with open_patiently(path, "r", 0.0), pytest.raises(BlockingIOError), hdf5_changes.changed(path, 0.0):
        pass
    with hdf5_changes.changed(path, 0.0), pytest.raises(BlockingIOError):
        open_patiently(path, "r", 0.0)
    assert rows_of(path) == [0.0, 1.0, 2.0]


def test_a_file_is_what_hdf5_itself_would_have_written(tmp_path: Path) -> None:
    """Random changes of random places, read back with HDF5's own driver."""
    generator = np.random.default_rng(3)
    path = tmp_path / "x.h5"
    create(path, 0, 7)
    expected = np.zeros((0, 7))
    for _ in range(30):
        size = int(generator.integers(0, 200))
        grown = np.zeros((size, 7))
        grown[: len(expected)] = expected[:size]
        expected = grown
        with hdf5_changes.changed(path, 0.0) as file:
            file["x"].resize(size, axis=0)
            for row in generator.integers(0, size, 10) if size else ():
                file["x"][row] = expected[row] = generator.random(7)
        with h5py.File(path, "r") as file:
            assert np.array_equal(file["x"][:], expected)
            assert file.attrs["title"].decode() == "numbers"


def test_overlay_beyond_the_end(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(range(10)))
    with path.open("r+b") as file:
        overlay = journal.Overlay(file.fileno())
        overlay.seek(8)
        overlay.write(memoryview(b"ab"))
        overlay.seek(10_000)
        overlay.write(memoryview(b"end"))
        overlay.seek(6)
        buffer = memoryview(bytearray(8))
        overlay.readinto(buffer)
        assert bytes(buffer) == b"\x06\x07ab\0\0\0\0"
        assert overlay.seek(0, os.SEEK_END) == 10_003
        journal.commit(path, file.fileno(), overlay)
    content = path.read_bytes()
    assert content[:10] == b"\0\1\2\3\4\5\6\7ab" and content[10_000:] == b"end" and not any(content[10:10_000])
