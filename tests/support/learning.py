"""Learning of methanol by GFN2 above GFN1, and what must hold of its books at any time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import openmm

from kstep_models.frames import FrameFile
from openmmkstep.learning import Learner, LearningSettings
from openmmkstep.learning.record import Record
from tests.support.levels.methanol import METHANOL, mixed_methanol

PLATFORM = openmm.Platform.getPlatformByName("Reference")


def learner_of_methanol(folder: Path, settings: LearningSettings, **options: Any) -> Learner:
    """One that begins with GFN1."""
    arguments: dict[str, Any] = {"start": ["gfn1-xtb"], "platform": PLATFORM, **options}
    return Learner(mixed_methanol, METHANOL, folder, settings=settings, **arguments)


def check_books(folder: Path) -> Record:
    """Every label is in the file once, and the record tells where each came from."""
    record = Record.read(folder / "learning.json")
    with FrameFile(folder / "labels.h5") as file:
        trajectory, time = file.frames("trajectory"), file.frames("time")
        positions = file.frames("positions")
    assert len(trajectory) == record.labels
    assert len(record.labelled) == len(set(record.labelled))
    assert time[trajectory == 0].tolist() == record.labelled
    for number, trial in enumerate(record.trials, start=1):
        times = time[trajectory == number]
        np.testing.assert_allclose(times, 0.0005 * trial.k * np.arange(1, len(trial.errors) + 1))
    assert record.labels == len(record.labelled) + sum(len(trial.errors) for trial in record.trials)
    different = Counter(tuple(np.round(x, 9).ravel()) for x in positions)
    assert max(different.values()) == 1
    return record


def assert_same_frames(one: Path, other: Path) -> None:
    """Two files of labels are the same to the last bit."""
    names = ("trajectory", "time", "positions", "energy", "forces")
    with FrameFile(one) as first, FrameFile(other) as second:
        for name in names:
            np.testing.assert_array_equal(first.frames(name), second.frames(name))
