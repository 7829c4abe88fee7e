"""Production: steps with reporters, atomic checkpoints, exact continuation."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from openmm import app

from kstep_models.files import write_atomically, write_json
from openmmkstep.io import dcd, frames
from openmmkstep.openmmapi.kstep_integrator import KStepIntegrator
from openmmkstep.qmmm.forces import find_qm_force
from openmmkstep.reporters import FrameReporter, StatisticsReporter
from openmmkstep.workflows.config.run import RunConfig
from openmmkstep.workflows.run_folder import RunFolder
from openmmkstep.workflows.setup.phase_space import PhaseSpacePoint

from .checkpoint import Checkpoint


@dataclass(frozen=True)
class Intervals:
    """Outer steps between outputs; 0 for none."""

    trajectory: int
    frames: int
    statistics: int
    checkpoint: int

    @classmethod
    def of(cls, config: RunConfig) -> Intervals:
        """From the times of a configuration, rounded to whole outer steps, at least one."""

        def steps(duration: float) -> int:
            return max(1, round(duration / config.integrator.outer_step)) if duration > 0 else 0

        output = config.output
        return cls(steps(output.trajectory), steps(output.frames), steps(output.statistics), steps(output.checkpoint))


class Production:
    """The production part of a run.

    After each checkpoint the QM level forgets the density from which it would start its next calculation, in a run
    that goes on as in one that is taken up: the two are then identical to the last bit wherever the platform is
    deterministic.

    Args:
        config: of the run.
        simulation: with the mixed system, not moved yet.
        files: of the run.
        command: for the head of the HDF5 file.
    """

    def __init__(self, config: RunConfig, simulation: app.Simulation, files: RunFolder, command: str) -> None:
        self._config = config
        self._simulation = simulation
        self._files = files
        self._command = command
        self._intervals = Intervals.of(config)
        self._steps = max(1, round(config.time / config.integrator.outer_step))
        self._frame_reporter: FrameReporter | None = None
        self._wall_before = 0.0
        self._wall_start = 0.0

    @property
    def is_finished(self) -> bool:
        """Whether the run's folder holds a production of at least this length."""
        if not self._files.summary.exists():
            return False
        done: dict[str, Any] = json.loads(self._files.summary.read_text(encoding="utf-8"))
        return int(done["steps"]) >= self._steps

    def run(self, start: PhaseSpacePoint, attach: Callable[[app.Simulation], None]) -> None:
        """Run to the end, from the checkpoint if there is one.

        Args:
            start: where to begin without a checkpoint.
            attach: called with the simulation before it moves, to add more reporters.
        """
        simulation, files = self._simulation, self._files
        if files.checkpoint.exists():
            self._take_up(Checkpoint.read(files.checkpoint))
        else:
            self._begin(start)
        attach(simulation)
        self._wall_start = time.perf_counter()
        every = self._intervals.checkpoint or self._steps
        while simulation.currentStep < self._steps:
            simulation.step(min(every - simulation.currentStep % every, self._steps - simulation.currentStep))
            self._write_checkpoint()
        self._finish()

    def _begin(self, start: PhaseSpacePoint) -> None:
        for path in (self._files.trajectory, self._files.frames, self._files.statistics):
            path.unlink(missing_ok=True)
        start.apply_to(self._simulation.context)
        self._add_reporters(append=False)

    def _take_up(self, checkpoint: Checkpoint) -> None:
        simulation, files = self._simulation, self._files
        simulation.context.loadCheckpoint(checkpoint.context)
        simulation.currentStep = checkpoint.step
        self._wall_before = checkpoint.wall_time
        if checkpoint.trajectory_frames:
            dcd.keep_frames(files.trajectory, checkpoint.trajectory_frames, self._intervals.trajectory)
        else:
            files.trajectory.unlink(missing_ok=True)
        if checkpoint.labelled_frames:
            frames.keep_frames(files.frames, checkpoint.labelled_frames)
        else:
            files.frames.unlink(missing_ok=True)
        _keep_rows(files.statistics, checkpoint.step)
        self._add_reporters(append=True)
        self._forget_density()

    def _add_reporters(self, append: bool) -> None:
        simulation, files, intervals = self._simulation, self._files, self._intervals
        if intervals.statistics:
            reporter = StatisticsReporter(files.statistics, intervals.statistics, append=append)
            simulation.reporters.append(reporter)
        if intervals.frames:
            self._frame_reporter = FrameReporter(files.frames, intervals.frames, append=append, command=self._command)
            simulation.reporters.append(self._frame_reporter)
        if intervals.trajectory:
            kept = append and files.trajectory.exists()
            simulation.reporters.append(app.DCDReporter(str(files.trajectory), intervals.trajectory, append=kept))

    def _write_checkpoint(self) -> None:
        simulation, files = self._simulation, self._files
        if self._frame_reporter is not None:
            self._frame_reporter.flush()
        Checkpoint(
            step=simulation.currentStep,
            trajectory_frames=dcd.count_frames(files.trajectory) if files.trajectory.exists() else 0,
            labelled_frames=frames.count_frames(files.frames) if files.frames.exists() else 0,
            wall_time=self._wall_before + time.perf_counter() - self._wall_start,
            context=simulation.context.createCheckpoint(),
        ).write(files.checkpoint)
        self._forget_density()

    def _forget_density(self) -> None:
        find_qm_force(self._simulation.system).reset(self._simulation.context)

    def _finish(self) -> None:
        simulation, files = self._simulation, self._files
        if files.trajectory.exists():
            # The header of a file that was appended to names the wrong last step until here.
            count = dcd.count_frames(files.trajectory)
            dcd.keep_frames(files.trajectory, count, self._intervals.trajectory)
        PhaseSpacePoint.of(simulation.context).write(files.final)
        summary = {
            "steps": simulation.currentStep,
            "time": simulation.currentStep * self._config.integrator.outer_step,
            "wall_time": Checkpoint.read(files.checkpoint).wall_time,
            "statistics": asdict(KStepIntegrator.cast(simulation.integrator).getStatistics()),
        }
        write_json(files.summary, summary)


def _keep_rows(path: Path, last_step: int) -> None:
    """Drop lines of a statistics file that were written after a checkpoint."""
    if not path.exists():
        return
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    # A line that a kill cut short is shorter than the head, and later than the checkpoint anyway.
    kept = [rows[0], *(row for row in rows[1:] if len(row) == len(rows[0]) and int(row[0]) <= last_step)]
    write_atomically(path, "".join(",".join(row) + "\r\n" for row in kept))
