"""Learning runs that are killed at random moments, again and again, beside one that is not."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from typer.testing import CliRunner

from kstep_models.frames import FrameFile
from openmmkstep.cli import app
from openmmkstep.learning.record import Record
from tests.support.learning import assert_same_frames
from tests.support.workflows.same_run import assert_same_trajectory

_FAILED = 3


def run_forked(folder: Path) -> int:
    """``kstep run`` of the configuration in a folder, in a child of this process, which has loaded all it needs."""
    child = os.fork()
    if child:
        return child
    # Its own session, so that processes which it starts can be ended with it.
    os.setsid()
    status = _FAILED
    try:
        result = CliRunner().invoke(app, ["run", str(folder / "run.yaml")])
        (folder / "output.txt").write_text(result.output)
        status = 0 if result.exit_code == 0 else _FAILED
    finally:
        os._exit(status)


def run_whole(folder: Path) -> float:
    """Run without interruption; returns the seconds that it took."""
    start = time.perf_counter()
    _, status = os.waitpid(run_forked(folder), 0)
    assert status == 0, (folder / "output.txt").read_text()
    return time.perf_counter() - start


def run_killed(folder: Path, generator: random.Random, longest: float, kills: int) -> int:
    """Run, kill -9 after a random time, and take up, until so many kills are done or the run is over.

    Returns:
        How often it was killed before it was over.
    """
    done = 0
    while True:
        child = run_forked(folder)
        delay = generator.uniform(0.05, longest) if done < kills else float("inf")
        end = time.perf_counter() + delay
        while time.perf_counter() < end:
            process, status = os.waitpid(child, os.WNOHANG)
            if process:
                assert status == 0, (folder / "output.txt").read_text()
                return done
            time.sleep(0.005)
        os.killpg(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            done += 1
            check_no_doubles(folder / "out" / "learning")


def check_no_doubles(learning: Path) -> None:
    """What the record tells of is there, and once."""
    if not (learning / "learning.json").exists():
        return
    record = Record.read(learning / "learning.json")
    assert len(record.labelled) == len(set(record.labelled))
    if record.labels:
        with FrameFile(learning / "labels.h5") as file:
            assert record.labels <= len(file) <= record.labels + 1
    if record.production_labels:
        with FrameFile(learning / "production.h5") as file:
            assert len(file) >= record.production_labels


def assert_same_learning(folder: Path, other: Path, in_order: bool = True) -> tuple[int, int]:
    """Two finished runs hold the same to the last bit, but for lost QM calls and wall times.

    Args:
        folder: Of the run that was killed.
        other: Of the run that was not.
        in_order: Whether labels came in the same order; with several processes they do not, and fits and all that
            follows differ then: books are checked instead.

    Returns:
        QM calls of learning in the two.
    """
    ours, theirs = (Record.read(path / "out" / "learning" / "learning.json") for path in (folder, other))
    assert ours.in_flight == 0 and not ours.chosen_left
    with FrameFile(folder / "out" / "learning" / "labels.h5") as file:
        positions = file.frames("positions")
        assert len(positions) == ours.labels == len(np.unique(positions, axis=0))
        trajectory, place = file.frames("trajectory"), file.frames("time")
    assert place[trajectory == 0].tolist() == ours.labelled
    with FrameFile(folder / "out" / "learning" / "production.h5") as file:
        positions = file.frames("positions")
        assert len(positions) == len(np.unique(positions, axis=0))
        steps = json.loads((folder / "out" / "production.json").read_text())["steps"]
        assert len(positions) == steps
    assert sorted(ours.labelled) == sorted(theirs.labelled)
    if in_order:
        assert _comparable(ours) == _comparable(theirs)
        for name in ("labels.h5", "production.h5"):
            assert_same_frames(folder / "out" / "learning" / name, other / "out" / "learning" / name)
        assert_same_trajectory(folder / "out", other / "out")
    return ours.qm_calls, theirs.qm_calls


def _comparable(record: Record) -> dict[str, Any]:
    content = record.to_json()
    del content["qm_calls"], content["wall_time"], content["held"]["qm_calls"]
    for block in content["blocks"]:
        for name in [name for name in block["statistics"] or {} if name.endswith("time")]:
            del block["statistics"][name]
    return content


def campaign(
    folder: Path, configuration: Callable[[Path], dict[str, Any]], kills: int, per_run: int, seed: int, in_order: bool
) -> list[dict[str, Any]]:
    """Kill runs until so many kills are done; each finished run is compared with one that was not killed.

    Args:
        folder: Where runs are.
        configuration: Makes that of a run in a folder.
        kills: In all.
        per_run: Of one run at most.
        seed: Of the moments.
        in_order: See `assert_same_learning`.

    Returns:
        Of each run, its kills and the QM calls that were lost.
    """
    generator = random.Random(seed)

    def prepare(name: str) -> Path:
        place = folder / name
        place.mkdir(parents=True)
        (place / "run.yaml").write_text(yaml.safe_dump(configuration(place)))
        return place

    whole = prepare("whole")
    seconds = run_whole(whole)
    runs: list[dict[str, Any]] = []
    while sum(run["kills"] for run in runs) < kills:
        place = prepare(f"run-{len(runs)}")
        left = min(per_run, kills - sum(run["kills"] for run in runs))
        # Such that about so many fit into a run.
        done = run_killed(place, generator, 2.2 * seconds / per_run, left)
        ours, theirs = assert_same_learning(place, whole, in_order)
        assert ours >= theirs if in_order else True
        runs.append({"kills": done, "qm_calls": ours, "qm_calls_without_kills": theirs})
        print(runs[-1], flush=True)
    return runs
