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

from openmmkstep.io import dcd, frames
from openmmkstep.io.atomic import writeAtomically
from openmmkstep.openmmapi.kstep_integrator import KStepIntegrator
from openmmkstep.qmmm.mixed_forces import findQMForce
from openmmkstep.reporters import FrameReporter, StatisticsReporter
from openmmkstep.workflows.config.run import RunConfig
from openmmkstep.workflows.run_folder import RunFolder
from openmmkstep.workflows.setup.phase_space import PhaseSpacePoint

from .checkpoint import Checkpoint


@dataclass(frozen=True)
class Intervals:
    """Macro steps between outputs; 0 for none."""

    trajectory: int
    frames: int
    statistics: int
    checkpoint: int

    @classmethod
    def of(cls, config: RunConfig) -> Intervals:
        """From the times of a configuration, rounded to whole macro steps, at least one."""

        def steps(duration: float) -> int:
            return max(1, round(duration / config.integrator.macroStep)) if duration > 0 else 0

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
        self._steps = max(1, round(config.time / config.integrator.macroStep))
        self._frameReporter: FrameReporter | None = None
        self._wallBefore = 0.0
        self._wallStart = 0.0

    @property
    def isFinished(self) -> bool:
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
            self._takeUp(Checkpoint.read(files.checkpoint))
        else:
            self._begin(start)
        attach(simulation)
        self._wallStart = time.perf_counter()
        every = self._intervals.checkpoint or self._steps
        while simulation.currentStep < self._steps:
            simulation.step(min(every - simulation.currentStep % every, self._steps - simulation.currentStep))
            self._writeCheckpoint()
        self._finish()

    def _begin(self, start: PhaseSpacePoint) -> None:
        for path in (self._files.trajectory, self._files.frames, self._files.statistics):
            path.unlink(missing_ok=True)
        start.applyTo(self._simulation.context)
        self._addReporters(append=False)

    def _takeUp(self, checkpoint: Checkpoint) -> None:
        simulation, files = self._simulation, self._files
        simulation.context.loadCheckpoint(checkpoint.context)
        simulation.currentStep = checkpoint.step
        self._wallBefore = checkpoint.wallTime
        if checkpoint.trajectoryFrames:
            dcd.keepFrames(files.trajectory, checkpoint.trajectoryFrames, self._intervals.trajectory)
        else:
            files.trajectory.unlink(missing_ok=True)
        if checkpoint.labelledFrames:
            frames.keepFrames(files.frames, checkpoint.labelledFrames)
        else:
            files.frames.unlink(missing_ok=True)
        _keepRows(files.statistics, checkpoint.step)
        self._addReporters(append=True)
        self._forgetDensity()

    def _addReporters(self, append: bool) -> None:
        simulation, files, intervals = self._simulation, self._files, self._intervals
        if intervals.statistics:
            reporter = StatisticsReporter(files.statistics, intervals.statistics, append=append)
            simulation.reporters.append(reporter)
        if intervals.frames:
            self._frameReporter = FrameReporter(files.frames, intervals.frames, append=append, command=self._command)
            simulation.reporters.append(self._frameReporter)
        if intervals.trajectory:
            kept = append and files.trajectory.exists()
            simulation.reporters.append(app.DCDReporter(str(files.trajectory), intervals.trajectory, append=kept))

    def _writeCheckpoint(self) -> None:
        simulation, files = self._simulation, self._files
        if self._frameReporter is not None:
            self._frameReporter.flush()
        Checkpoint(
            step=simulation.currentStep,
            trajectoryFrames=dcd.countFrames(files.trajectory) if files.trajectory.exists() else 0,
            labelledFrames=frames.countFrames(files.frames) if files.frames.exists() else 0,
            wallTime=self._wallBefore + time.perf_counter() - self._wallStart,
            context=simulation.context.createCheckpoint(),
        ).write(files.checkpoint)
        self._forgetDensity()

    def _forgetDensity(self) -> None:
        findQMForce(self._simulation.system).reset(self._simulation.context)

    def _finish(self) -> None:
        simulation, files = self._simulation, self._files
        if files.trajectory.exists():
            # The header of a file that was appended to names the wrong last step until here.
            count = dcd.countFrames(files.trajectory)
            dcd.keepFrames(files.trajectory, count, self._intervals.trajectory)
        PhaseSpacePoint.of(simulation.context).write(files.final)
        summary = {
            "steps": simulation.currentStep,
            "time": simulation.currentStep * self._config.integrator.macroStep,
            "wallTime": Checkpoint.read(files.checkpoint).wallTime,
            "statistics": asdict(KStepIntegrator.cast(simulation.integrator).getStatistics()),
        }
        writeAtomically(files.summary, json.dumps(summary, indent=1).encode())


def _keepRows(path: Path, lastStep: int) -> None:
    """Drop lines of a statistics file that were written after a checkpoint."""
    if not path.exists():
        return
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    # A line that a kill cut short is shorter than the head, and later than the checkpoint anyway.
    kept = [rows[0], *(row for row in rows[1:] if len(row) == len(rows[0]) and int(row[0]) <= lastStep)]
    writeAtomically(path, "".join(",".join(row) + "\r\n" for row in kept).encode())
