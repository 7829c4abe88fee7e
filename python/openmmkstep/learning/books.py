"""The books of learning: its folder with the record and the labels that belong to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openmm
from openmm import app

from kstep_models.frames import Frame, FrameWriter
from openmmkstep.io.frames import count_frames, keep_frames
from openmmkstep.io.labels import LabelSource

from .levels import digest_of_levels
from .record import Record
from .settings import LearningError


class Books:
    """What was done, kept so that an interruption at any point loses nothing.

    Args:
        folder: Where everything is.
        log: Called with what is being done.
        progress: Called with how far it is, often.
    """

    def __init__(self, folder: Path, log: Callable[[str], None], progress: Callable[[str], None]) -> None:
        self.folder = folder
        self.labels = folder / "labels.h5"
        self.production_labels = folder / "production.h5"
        self.production_steps = folder / "production.csv"
        self.record = Record({})
        self.log = log
        self.beside: Callable[[], str] = lambda: ""
        """What is being done beside what progress tells of; empty for nothing."""
        self._progress = progress

    def progress(self, message: str) -> None:
        """Tell how far it is, and what is being done beside it."""
        beside = self.beside()
        self._progress(f"{message}; {beside}" if beside else message)

    def open(self, settings: Mapping[str, Any], budget: int) -> None:
        """Read the record, if there is one, and cut off what an interruption left half done.

        Args:
            settings: What the folder must be for, as JSON values.
            budget: QM calls that may be taken; more of them than there were take learning up again.

        Raises:
            LearningError: The folder holds learning with other settings, or a damaged record.
        """
        path = self.folder / "learning.json"
        if not path.exists():
            self.record = Record(dict(settings))
            return
        self.record = Record.read(path)
        names = sorted(name for name in settings if self.record.settings.get(name) != settings[name])
        if names:
            raise LearningError(
                f"{self.folder} holds learning with other settings ({', '.join(names)}): choose another folder, or "
                "remove it"
            )
        self.record.count_lost_calls()
        if self.labels.exists() and count_frames(self.labels) > self.record.labels:
            keep_frames(self.labels, self.record.labels)
        held = self.record.held
        # Not once production has begun with what was held.
        if held is not None and held["max_calls"] < budget and not self.record.blocks:
            self.record.held = None

    def refuse_other_levels(self, system: openmm.System) -> None:
        """Make sure that the levels are those with which learning began. Raises LearningError."""
        levels = digest_of_levels(system)
        # Those of a folder that was begun by a version that did not record them cannot be told.
        if self.record.levels not in ("", levels):
            raise LearningError(
                f"{self.folder} holds learning with another QM level or other levels below it: choose another folder, "
                "or remove it"
            )
        self.record.levels = levels

    def save(self) -> None:
        """Write the record."""
        self.record.write(self.folder / "learning.json")

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Note how long a kind of work takes, and save."""
        start = time.perf_counter()
        yield
        times = self.record.wall_time
        times[what] = times.get(what, 0.0) + time.perf_counter() - start
        self.save()

    def archive(self, fit: int) -> Path | None:
        """The archive of a fit; None for 0, the level that was there."""
        return self.folder / self.record.fits[fit - 1].archive if fit else None

    def block_end(self, number: int) -> Path:
        """Where a block ended; 1 for the first."""
        return self.folder / f"block-{number}.npz"

    def writer(self, source: LabelSource, topology: app.Topology) -> FrameWriter:
        """What adds labels to the file."""
        return source.open(self.labels, topology, append=self.labels.exists(), flush_every=1)

    def keep(self, writer: FrameWriter, frame: Frame) -> None:
        """Add a label to the file; that it belongs to the record is said when that is saved."""
        writer.append(frame)
        writer.flush()
        self.record.labels = len(writer)
