"""Trajectory files of runs that ended early: taken up again as if nothing had happened."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from kstep_models import journal
from kstep_models.hdf5 import open_patiently
from openmmkstep.rttddft import (
    CFM4,
    ConvergenceError,
    LevelOfTheory,
    TrajectoryFile,
)
from openmmkstep.rttddft.propagation.propagators import State
from tests.support.electrons.dynamics import HF, dynamics

PROGRAM = """
import os, signal, sys
path, steps, killed, root = sys.argv[1:]
sys.path.insert(0, root)
from tests.support.electrons.dynamics import dynamics

def kill_at(state):
    if state.step == int(killed):
        os.kill(os.getpid(), signal.SIGKILL)

dynamics("cfm4").run(int(steps), path, resume=True, flush_interval=3, progress=kill_at)
"""
"""A run that is killed at a step, between two flushes."""
NEVER = -1


def run_program(path: Path, steps: int, killed: int = NEVER) -> int:
    """The run's return code. One thread: sums over several have another order in another program."""
    arguments = [str(path), str(steps), str(killed), str(Path(__file__).resolve().parents[3])]
    command = [sys.executable, "-c", PROGRAM, *arguments]
    return subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}).returncode


def series(path: Path) -> dict[str, np.ndarray]:
    with TrajectoryFile(path) as file:
        return {
            "time": file.time,
            "field": file.field,
            "energy": file.energy,
            "dipole": file.dipole,
            "builds": file.fock_builds,
            "steps": file.density_steps,
            "deviation": file.deviation(),
        }


def assert_equal(first: Path, second: Path) -> None:
    a, b = series(first), series(second)
    for name in a:
        assert np.array_equal(a[name], b[name]), name


@pytest.mark.parametrize("scheme", ["cfm4", "magnus2"])
@pytest.mark.parametrize("level", [HF, LevelOfTheory("uks", "sto-3g", "pbe", grid_level=0)])
def test_continued_run_is_the_uninterrupted_one(tmp_path: Path, scheme: str, level: LevelOfTheory) -> None:
    dynamics(scheme, level).run(25, tmp_path / "whole.h5", density_interval=3)

    class Interruption(Exception):
        pass

    def interrupt(state: State) -> None:
        if state.step in (1, 11):
            raise Interruption

    parts = tmp_path / "parts.h5"
    for steps in (1, 11):
        with pytest.raises(Interruption):
            dynamics(scheme, level).run(
                25, parts, resume=True, density_interval=3, flush_interval=4, progress=interrupt
            )
        with TrajectoryFile(parts) as file:
            assert len(file) == steps + 1 and not file.is_complete
    dynamics(scheme, level).run(25, parts, resume=True, density_interval=3)
    assert_equal(tmp_path / "whole.h5", parts)


@pytest.mark.parametrize("allowed", [0, 1, 3])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: int) -> None:
    """No room for the file, or for changes of it: an error that names it, and continued when there is room."""
    whole, path = tmp_path / "whole.h5", tmp_path / "parts.h5"
    dynamics().run(12, whole, density_interval=3)
    real, written = journal._write_journal, []

    def limited(file: Path, parts: list[bytes]) -> None:
        written.append(file)
        if len(written) > allowed:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(file, parts)

    monkeypatch.setattr(journal, "_write_journal", limited)
    with pytest.raises(OSError, match=r"No space left on device.*parts\.h5"):
        dynamics().run(12, path, density_interval=3, flush_interval=2)
    assert path.exists() == (allowed > 0)
    monkeypatch.undo()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["parts.h5", "whole.h5"][allowed == 0 :]
    dynamics().run(12, path, resume=True, density_interval=3)
    assert_equal(whole, path)


def test_room_for_all_steps_is_there_before_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match=r"No space left on device.*parts\.h5"):
        dynamics().run(12, tmp_path / "parts.h5", density_interval=1)
    assert list(tmp_path.iterdir()) == []


def test_run_that_was_killed_continues(tmp_path: Path) -> None:
    path, whole = tmp_path / "killed.h5", tmp_path / "whole.h5"
    assert run_program(path, 2000, killed=40) == -signal.SIGKILL
    with TrajectoryFile(path) as file:
        assert 30 <= len(file) <= 41 and not file.is_complete
        steps = len(file) + 10
    assert run_program(path, steps) == run_program(whole, steps) == 0
    with TrajectoryFile(path) as file:
        assert len(file) == steps + 1
    assert_equal(path, whole)


def test_flush_that_was_cut_off_is_undone(tmp_path: Path) -> None:
    path, broken = tmp_path / "whole.h5", tmp_path / "broken.h5"
    dynamics().run(12, path)
    dynamics().run(8, broken)
    dynamics().run(12, broken, resume=True)
    # As if killed while frames 9 to 12 were written: their numbers are garbage, and so is the other slot.
    with h5py.File(broken, "r+") as file:
        slot = int(file["progress"][1])
        file["dynamics/energy"][9:] = np.nan
        file["dynamics/density_real"][9:] = 7.0
        file["restart/orbitals"][slot] = 0.0
        file["progress"][:] = (9, 1 - slot)
    dynamics().run(12, broken, resume=True)
    assert_equal(path, broken)


def test_more_steps_than_planned(tmp_path: Path) -> None:
    dynamics().run(12, tmp_path / "whole.h5", density_interval=2)
    short = tmp_path / "short.h5"
    dynamics().run(5, short, density_interval=2)
    dynamics().run(12, short, resume=True, density_interval=2)
    assert_equal(tmp_path / "whole.h5", short)
    with TrajectoryFile(short) as file:
        assert file.is_complete and file.attributes["n_steps"] == 12
    before = short.read_bytes()
    dynamics().run(5, short, resume=True, density_interval=2)
    assert short.read_bytes() == before


def test_reader_in_the_way_puts_a_flush_off(tmp_path: Path) -> None:
    path = tmp_path / "t.h5"
    held: list[h5py.File] = []

    def hold(state: State) -> None:
        if state.step == 2:
            held.append(open_patiently(path, patience=1.0))
        if state.step == 9:
            held.pop().close()

    dynamics().run(12, path, flush_interval=2, progress=hold)
    dynamics().run(12, tmp_path / "whole.h5")
    assert_equal(path, tmp_path / "whole.h5")


def test_frames_before_a_failed_step_are_kept(tmp_path: Path) -> None:
    class Failing(CFM4):
        def advance(self, hamiltonian: Any, field: Any, state: State) -> State:
            if state.step == 6:
                raise self._failure(state)
            return super().advance(hamiltonian, field, state)

    with pytest.raises(ConvergenceError, match="step 7"):
        dynamics(propagator=Failing(0.2)).run(12, tmp_path / "t.h5")
    with TrajectoryFile(tmp_path / "t.h5") as file:
        assert len(file) == 7
