"""Labels side by side are those of one process, whatever becomes of the processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import distributed
import numpy as np
import openmm
import pytest

from kstep_models.frames import FrameFile
from kstep_models.workers import LocalProcesses, RunningScheduler, WorkersError
from openmmkstep import QMMMPotential
from openmmkstep.engines import registry
from openmmkstep.engines.ase import calculators
from openmmkstep.io.labels import LabelSource
from openmmkstep.learning import Learner, LearningError, LearningSettings
from openmmkstep.learning.record import Record
from openmmkstep.learning.stages import labelling
from openmmkstep.learning.stages.labelling import PackedSystem, label, label_anywhere
from openmmkstep.learning.stages.pool import Pool
from openmmkstep.openmmapi.qmmm_force import QMResult
from tests.support.learning import PLATFORM, check_books
from tests.support.levels.methanol import METHANOL, POSITIONS, bare_methanol

# A trial of the level below, labels, and a fit for whose trial no calls are left, though a few be lost.
SETTINGS = LearningSettings(
    ks=(4, 8), max_calls=27, first_labels=14, trial_steps=8, pool_time=0.2, pool_size=40, seed=3
)
KILLED = """
import os, signal, sys
from pathlib import Path
from kstep_models.frames import FrameWriter
from tests.learning.test_labelling import learner
from tests.support.levels.methanol import POSITIONS

flush = FrameWriter.flush

def mortal(self):
    flush(self)
    if len(self) == 15:
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    FrameWriter.flush = mortal
    learner(Path(sys.argv[1]), workers=2).learn(POSITIONS)
"""
"""Learning that is killed between the seventh label of the pool and its record."""

START = [QMMMPotential("gfn1-xtb", accuracy=1e-4)]


def precise_methanol(surrogate: list[Any] | None) -> openmm.System:
    """Of which labels do not depend on the density that the calculation before left behind."""
    potential = QMMMPotential("gfn2-xtb", accuracy=1e-4)
    return potential.createMixedSystem(METHANOL, bare_methanol(), range(6), surrogate=surrogate)


def learner(folder: Path, **options: Any) -> Learner:
    return Learner(precise_methanol, METHANOL, folder, START, settings=SETTINGS, platform=PLATFORM, **options)


@pytest.fixture
def scheduler() -> Iterator[str]:
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, protocol="tcp://", dashboard_address=":0"
    ) as cluster:
        yield cluster.scheduler_address


def check_labels(folder: Path) -> None:
    """All labels of the pool are what this process says of their configurations."""
    system = precise_methanol(START)
    source = LabelSource(system, difference=True)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), PLATFORM)
    pool = Pool.read(folder / "pool.npz")
    with FrameFile(folder / "labels.h5") as file:
        of_pool = file.frames("trajectory") == 0
        places = file.frames("time")[of_pool].astype(int)
        energies, forces, positions = (file.frames(name)[of_pool] for name in ("energy", "forces", "positions"))
    assert len(places) > 0
    for number, place in enumerate(places):
        expected = label(pool.only(place), context, source)
        assert energies[number] == pytest.approx(expected.energy, rel=1e-6)
        np.testing.assert_allclose(positions[number], expected.positions, atol=1e-12)
        np.testing.assert_allclose(forces[number], expected.forces, atol=1e-6 * np.abs(expected.forces).max())


def test_two_processes_label_what_one_does(tmp_path: Path) -> None:
    one = learner(tmp_path / "one").learn(POSITIONS).record
    two = learner(tmp_path / "two", workers=2).learn(POSITIONS).record
    assert set(one.labelled) == set(two.labelled) and one.qm_calls == two.qm_calls == 23
    check_books(tmp_path / "two")
    check_labels(tmp_path / "two")


def test_killed_while_processes_are_at_work(tmp_path: Path, scheduler: str) -> None:
    """What was recorded stays, the label on its way is made again; others may go on with it."""
    script, folder = tmp_path / "script.py", tmp_path / "learning"
    script.write_text(KILLED)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, str(script), str(folder)], env=environment)
    assert done.returncode == -signal.SIGKILL
    kept = Record.read(folder / "learning.json").labelled
    assert len(kept) == 6
    record = learner(folder, scheduler=scheduler).learn(POSITIONS).record
    assert record.labelled[:6] == kept and len(record.labelled) == 14
    check_books(folder)
    check_labels(folder)


_labelled = 0


def mortal_label(configuration: Pool, packed: PackedSystem) -> QMResult:
    """Three labels from each process."""
    global _labelled
    _labelled += 1
    if _labelled > 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return label_anywhere(configuration, packed)


@pytest.mark.slow
def test_a_process_that_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lonely = learner(tmp_path)
    lonely._workers = LocalProcesses(1)
    # Dask would try three times more.
    with monkeypatch.context() as patch, dask.config.set({"distributed.scheduler.allowed-failures": 0}):
        patch.setattr("openmmkstep.learning.stages.pool_labels.label_anywhere", mortal_label)
        with pytest.raises(LearningError, match=r"configuration \d+ of the pool: its process was lost .* goes on"):
            lonely.learn(POSITIONS)
    kept = check_books(tmp_path).labelled
    assert len(kept) <= 3
    record = learner(tmp_path).learn(POSITIONS).record
    assert record.labelled[: len(kept)] == kept and len(record.labelled) == 14
    check_books(tmp_path)
    check_labels(tmp_path)


def test_a_calculation_that_fails_elsewhere(tmp_path: Path, scheduler: str) -> None:
    def mix(surrogate: list[Any] | None) -> openmm.System:
        potential = QMMMPotential("gfn2-xtb", max_iterations=1)
        bonds = openmm.HarmonicBondForce()
        for i in range(6):
            for j in range(i + 1, 6):
                bonds.addBond(i, j, float(np.linalg.norm(POSITIONS[i] - POSITIONS[j])), 100000)
        return potential.createMixedSystem(METHANOL, bare_methanol(), range(6), baseLevel=[bonds])

    failing = Learner(mix, METHANOL, tmp_path, settings=SETTINGS, platform=PLATFORM, scheduler=scheduler)
    with pytest.raises(openmm.OpenMMException, match=r"(?s)configuration \d+ of the pool: .*converge"):
        # OpenMM would ask all forces for velocities.
        failing.learn(POSITIONS, velocities=np.zeros((6, 3)))
    assert Record.read(tmp_path / "learning.json").labelled == []


def test_a_system_is_read_once() -> None:
    system = precise_methanol(START)
    pool = Pool(np.array([POSITIONS, 1.01 * POSITIONS], dtype=np.float32), np.array(2 * [3 * np.eye(3)]))
    labelling._opened.cache_clear()
    for place in range(2):
        # As of other messages to the same process.
        label_anywhere(pool.only(place), PackedSystem.of(system, difference=True))
    assert labelling._opened.cache_info().misses == 1
    label_anywhere(pool.only(0), PackedSystem.of(system, difference=False))
    assert labelling._opened.cache_info().misses == 2


@pytest.mark.parametrize(
    ("method", "settings", "what"),
    [("mine", {}, "the engine 'mine'"), ("ase", {"calculator": "lj"}, "the calculator 'lj'")],
)
def test_what_a_script_registered_is_not_known_elsewhere(
    method: str, settings: dict[str, Any], what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor may another take its place that has the same name there."""
    from ase.calculators.lj import LennardJones

    from openmmkstep.engines.ase.engine import ASEEngine

    with monkeypatch.context() as script:
        script.setattr(registry, "_registered", {"mine": lambda: ASEEngine("emt")})
        script.setattr(calculators, "_registered", {"lj": LennardJones})
        potential = QMMMPotential(method, **settings)
        packed = PackedSystem.of(potential.createMixedSystem(METHANOL, bare_methanol(), range(6)), difference=False)
        assert packed.registered == (what,) and packed.unpack().getNumParticles() == 6
    with pytest.raises(LearningError, match=rf"{what} is registered by a call .* by an entry point .* workers=1"):
        packed.unpack()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "number of workers must be at least 1, got 0"),
        ({"workers": 1.5}, "number of workers must be an integer"),
        ({"workers": 2, "scheduler": "tcp://127.0.0.1:9"}, "give either workers"),
    ],
)
def test_impossible_workers(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(LearningError, match=message):
        learner(tmp_path, **options)


def test_a_scheduler_that_does_not_answer(tmp_path: Path) -> None:
    lost = learner(tmp_path, scheduler="tcp://127.0.0.1:9")
    lost._workers = RunningScheduler("tcp://127.0.0.1:9", 0.5)
    with pytest.raises(WorkersError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        lost.learn(POSITIONS)
    assert check_books(tmp_path).labelled == []
