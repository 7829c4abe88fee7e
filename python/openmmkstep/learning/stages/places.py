"""Where trials stand: written after every outer step, so that one which is interrupted goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray

from kstep_models.files import write_atomically
from openmmkstep.io.phase_space import PhaseSpacePoint

from ..record import Trial
from ..settings import LearningError

_CHECKPOINT = "checkpoint"


class TrialPlaces:
    """Positions, velocities and checkpoints in files that are numbered by the steps of all trials.

    A trial that is interrupted goes on exactly: a place holds what the QM level starts its next calculation from, as
    checkpoints of production do.

    A trial begins where the last one ended that passed, not where one ended that failed: that may have pumped up
    energy.

    Args:
        folder: Where they are; ``start.npz`` is there, too.
        trials: The trials, as they are recorded.
        acceptance: With which a trial passes.
        first: Trials before these, which have begun elsewhere.
        start: Where the first of these began; None for ``start.npz``.
    """

    def __init__(
        self, folder: Path, trials: Sequence[Trial], acceptance: float, first: int = 0, start: Path | None = None
    ) -> None:
        self._folder = folder
        self._trials = trials
        self._acceptance = acceptance
        self._first = first
        self._start = folder / "start.npz" if start is None else start

    def sound(self) -> int:
        """Steps of all trials up to the end of the last that passed; 0 for the start."""
        steps = sound = 0
        for number, trial in enumerate(self._trials):
            steps += len(trial.errors)
            if number >= self._first and trial.finished and trial.passes(self._acceptance):
                sound = steps
        return sound

    def present(self) -> PhaseSpacePoint:
        """Where a trial goes on, or begins.

        Raises:
            LearningError: The file is missing or damaged.
        """
        return self._read()[0]

    def go_to(self, context: openmm.Context) -> None:
        """Move a Context to where a trial begins; or goes on, with the noise and the stored forces that it had.

        Raises:
            LearningError: The file is missing or damaged, or another version of OpenMM or the plugin wrote it.
        """
        point, others = self._read((_CHECKPOINT,) if self._is_interrupted else ())
        if not others:
            point.apply_to(context)
            return
        try:
            context.loadCheckpoint(others[_CHECKPOINT].tobytes())
        except openmm.OpenMMException as error:
            raise LearningError(
                f"{self._path(self._steps())} cannot be loaded ({error}): use the versions of OpenMM and openmm-kstep "
                "that wrote it, or remove the folder to learn anew"
            ) from error

    @property
    def _is_interrupted(self) -> bool:
        return bool(self._trials) and not self._trials[-1].finished and bool(self._trials[-1].errors)

    def _read(self, names: Sequence[str] = ()) -> tuple[PhaseSpacePoint, dict[str, NDArray[Any]]]:
        steps = self._steps() if self._is_interrupted else self.sound()
        path = self._path(steps) if steps else self._start
        try:
            return PhaseSpacePoint.read(path.read_bytes(), names)
        except (OSError, ValueError) as error:
            raise LearningError(
                f"{path} cannot be read ({error}): restore it from a copy, or remove the folder to learn anew"
            ) from error

    def write(self, context: openmm.Context) -> None:
        """Write where a step has led, before it is recorded that the step was taken."""
        checkpoint = np.frombuffer(context.createCheckpoint(), dtype=np.uint8)
        content = PhaseSpacePoint.of(context).to_bytes(**{_CHECKPOINT: checkpoint})
        write_atomically(self._path(self._steps()), content)

    def forget_last(self) -> None:
        """Remove where the step began, once it is recorded, but for a place where another trial may begin."""
        last = self._steps() - 1
        if last != self.sound():
            self.forget(last)

    def forget(self, steps: int) -> None:
        """Remove a place."""
        self._path(steps).unlink(missing_ok=True)

    def _steps(self) -> int:
        return sum(len(trial.errors) for trial in self._trials)

    def _path(self, steps: int) -> Path:
        return self._folder / f"trial-{steps}.npz"
