"""Where trials stand: written after every outer step, so that one which is interrupted goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kstep_models.files import write_atomically
from openmmkstep.io.phase_space import PhaseSpacePoint

from ..record import Trial
from ..settings import LearningError


class TrialPlaces:
    """Positions and velocities in files that are numbered by the steps of all trials.

    A trial begins where the last one ended that passed, not where one ended that failed: that may have pumped up
    energy.

    Args:
        folder: Where they are; ``start.npz`` is there, too.
        trials: The trials, as they are recorded.
        acceptance: With which a trial passes.
    """

    def __init__(self, folder: Path, trials: Sequence[Trial], acceptance: float) -> None:
        self._folder = folder
        self._trials = trials
        self._acceptance = acceptance

    def sound(self) -> int:
        """Steps of all trials up to the end of the last that passed; 0 for the start."""
        steps = sound = 0
        for trial in self._trials:
            steps += len(trial.errors)
            if trial.finished and trial.passes(self._acceptance):
                sound = steps
        return sound

    def present(self) -> PhaseSpacePoint:
        """Where a trial goes on, or begins.

        Raises:
            LearningError: The file is missing or damaged.
        """
        interrupted = bool(self._trials) and not self._trials[-1].finished and bool(self._trials[-1].errors)
        steps = self._steps() if interrupted else self.sound()
        path = self._path(steps) if steps else self._folder / "start.npz"
        try:
            return PhaseSpacePoint.from_bytes(path.read_bytes())
        except (OSError, ValueError) as error:
            raise LearningError(
                f"{path} cannot be read ({error}): restore it from a copy, or remove the folder to learn anew"
            ) from error

    def write(self, point: PhaseSpacePoint) -> None:
        """Write where a step has led, before it is recorded that the step was taken."""
        write_atomically(self._path(self._steps()), point.to_bytes())

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
