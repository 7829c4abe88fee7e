"""One program at a time: locks that end with their process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kstep_models.locks import InUseError, lock_path, locked

# Takes a lock, tells that it has, and keeps it until it is killed.
_HOLD = """
import sys
from pathlib import Path
from kstep_models.locks import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("name", ["folder", "file.h5"])
def test_the_second_is_refused_until_the_first_ends(tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    if name == "folder":
        target.mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", _HOLD, str(target)]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "locked\n"
        refusal = rf"{target} is being written by process {holder.pid} on \S+ \(since"
        with pytest.raises(InUseError, match=refusal), locked(target):
            pass
        holder.send_signal(signal.SIGKILL)
    # What a killed process leaves behind locks nothing.
    assert lock_path(target).exists()
    with locked(target):
        assert json.loads(lock_path(target).read_text())["pid"] == os.getpid()
    assert not lock_path(target).exists()


def test_within_one_process(tmp_path: Path) -> None:
    target = tmp_path / "results.json"
    with locked(target), pytest.raises(InUseError, match=f"process {os.getpid()} on"), locked(target):
        pass
    with pytest.raises(ZeroDivisionError), locked(target):
        _ = 1 / 0
    with locked(target):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"[1]", b"{}", b"\xff\xfe"])
def test_lock_files_with_other_content(tmp_path: Path, content: bytes) -> None:
    target = tmp_path / "results.json"
    lock_path(target).write_bytes(content)
    with locked(target):
        lock_path(target).write_bytes(content)
        with pytest.raises(InUseError, match="by another process"), locked(target):
            pass


def test_a_lock_file_that_was_removed_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opened just before its holder removed it: a lock on it would be worth nothing."""
    import fcntl

    target = tmp_path / "results.json"
    real, calls = fcntl.flock, []

    def removed_first(file: object, operation: int) -> None:
        if not calls:
            lock_path(target).unlink()
        calls.append(operation)
        real(file, operation)  # type: ignore[arg-type]

    monkeypatch.setattr(fcntl, "flock", removed_first)
    with locked(target):
        assert len(calls) == 2
        with pytest.raises(InUseError), locked(target):
            pass


def test_file_systems_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import fcntl

    def unknown(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unknown)
    with pytest.warns(UserWarning, match="knows no locks"), locked(tmp_path / "results.json"):
        pass
