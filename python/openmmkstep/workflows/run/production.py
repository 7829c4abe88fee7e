"""Production: steps with reporters, atomic checkpoints, exact continuation."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence

import openmm
from openmm import app

from kstep_models.frames import FrameFileError
from openmmkstep.io.phase_space import PhaseSpacePoint
from openmmkstep.io.statistics import continued, statistics_to_json
from openmmkstep.openmmapi.kstep_integrator import KStepIntegrator
from openmmkstep.qmmm.forces import find_qm_force
from openmmkstep.reporters import EnergyReporter, FrameReporter, StatisticsReporter
from openmmkstep.workflows.plan import RunPlan
from openmmkstep.workflows.run_folder import RunFolder

from .blocks import Blocks
from .checkpoint import Checkpoint, CheckpointError
from .failed_frame import failed_frame_saved
from .outputs import GrowingOutput, GrowingTable, LabelledFrames, Trajectory, TrajectoryReporter

# Base level and surrogate.
_MOST_LEVELS = 2
# At a checkpoint, for programs that read the frames, seconds.
_PATIENCE = 60.0


class Production:
    """The production part of a run.

    After each checkpoint the QM level starts its next calculation from what the checkpoint holds of earlier ones, in a
    run that goes on as in one that is taken up: the two are then identical to the last bit wherever the platform is
    deterministic.

    Args:
        plan: The whole run.
        files: Files of the run.
        command: Command line for the head of the HDF5 file.
        blocks: Of production with the plan's surrogate and k; None where it is not cut into blocks.
    """

    def __init__(self, plan: RunPlan, files: RunFolder, command: str, blocks: Blocks | None = None) -> None:
        self._plan = plan
        self._files = files
        self._command = command
        self._steps = plan.steps
        self._blocks = blocks
        self._trajectory = Trajectory(files.trajectory)
        tables = (GrowingTable(files.statistics), GrowingTable(files.energies))
        of_blocks = () if blocks is None else blocks.outputs
        self._outputs: tuple[GrowingOutput, ...] = (
            self._trajectory,
            LabelledFrames(files.frames),
            *tables,
            *of_blocks,
        )
        self._before = None if blocks is None else blocks.before
        self._wall_before = 0.0
        self._wall_start = 0.0

    @property
    def is_finished(self) -> bool:
        """Whether the run's folder holds a production of at least this length.

        Raises:
            DamagedFileError: it does, but a file is not what was written.
        """
        files = self._files
        if not (files.has(files.summary) and files.has(files.final)):
            return False
        with files.reading(files.summary) as content:
            # Times, because outer steps may have been of another length.
            finished = float(json.loads(content)["time_ps"]) >= self._plan.time(self._steps) * (1 - 1e-9)
        if finished:
            files.read(files.final)
            checkpoint = self.checkpoint()
            if checkpoint is not None:
                self._cut_outputs(checkpoint)
        return finished

    def checkpoint(self) -> Checkpoint | None:
        """Where to go on; None for the beginning. The outputs are what belongs to it.

        Raises:
            CheckpointError: the checkpoint is damaged, or missing though blocks are over.
            DamagedFileError: an output is not what belongs to it.
        """
        if not self._files.checkpoint.exists():
            if self._blocks is not None and self._blocks.begun:
                raise CheckpointError(
                    f"{self._files.checkpoint} is missing, but blocks of production are over: restore it from a copy, "
                    "or pass --fresh to start the run anew"
                )
            return None
        checkpoint = Checkpoint.read(self._files.checkpoint)
        for output in self._outputs:
            output.check(checkpoint.outputs.get(output.path.name))
        return checkpoint

    def run(
        self,
        simulation: app.Simulation,
        start: Checkpoint | PhaseSpacePoint,
        attach: Callable[[app.Simulation], None],
    ) -> bool:
        """Run to the end, or to where learning has found another surrogate or k.

        Args:
            simulation: A Simulation of the mixed system, not moved yet.
            start: What :meth:`checkpoint` gave, or where to begin.
            attach: called with the simulation before it moves, to add more reporters.

        Returns:
            Whether it is the end.

        Raises:
            CheckpointError: the Context does not take the checkpoint.
            FrameFileError: somebody kept the file of frames from being written to its end.
            OSError: there is no room for an output.
        """
        if not isinstance(start, Checkpoint):
            start.apply_to(simulation.context)
            self._cut_outputs(None)
        elif self._belongs(start):
            self._take_up(simulation, start)
        else:
            self._begin_segment(simulation, start)
        frames = self._add_reporters(simulation)
        attach(simulation)
        self._wall_start = time.perf_counter()
        every = self._plan.output.checkpoint or self._steps
        labels: FrameReporter | None = None
        while simulation.currentStep < self._steps:
            step = simulation.currentStep
            if self._blocks is not None and self._blocks.is_over(step):
                if labels is None:
                    self._blocks.watch(simulation)
                if not self._blocks.review(simulation):
                    return False
                labels = None
            until = min(step + every - step % every, self._steps)
            if self._blocks is not None:
                if labels is None:
                    labels = self._blocks.watch(simulation)
                until = min(until, self._blocks.end_after(step))
            with failed_frame_saved(simulation.system, simulation.context, self._files.failed_frame):
                simulation.step(until - step)
            self._write_checkpoint(simulation, [keeper for keeper in (frames, labels) if keeper is not None])
        self._finish(simulation)
        return True

    def _belongs(self, checkpoint: Checkpoint) -> bool:
        """Whether a checkpoint is one of the simulation that is made here."""
        return self._blocks is None or checkpoint.segment == self._blocks.segment

    def _begin_segment(self, simulation: app.Simulation, checkpoint: Checkpoint) -> None:
        """Go on in time from where the blocks before ended, with another surrogate or k."""
        assert self._blocks is not None
        self._blocks.point().apply_to(simulation.context)
        self._cut_outputs(checkpoint)
        simulation.currentStep = self._blocks.start
        simulation.context.setTime(self._plan.time(self._blocks.start))
        self._wall_before = checkpoint.wall_time

    def _take_up(self, simulation: app.Simulation, checkpoint: Checkpoint) -> None:
        try:
            simulation.context.loadCheckpoint(checkpoint.context)
        except openmm.OpenMMException as error:
            raise CheckpointError(
                f"{self._files.checkpoint} cannot be loaded ({error}): use the versions of OpenMM and openmm-kstep "
                "that wrote it, or remove it to start production from its beginning"
            ) from error
        self._cut_outputs(checkpoint)
        simulation.currentStep = checkpoint.step
        self._wall_before = checkpoint.wall_time

    def _cut_outputs(self, checkpoint: Checkpoint | None) -> None:
        """Throw away what was written after a checkpoint, or all."""
        for output in self._outputs:
            output.cut(None if checkpoint is None else checkpoint.outputs.get(output.path.name))

    def _add_reporters(self, simulation: app.Simulation) -> FrameReporter | None:
        """Reporters that continue what is there; returns that of the frames."""
        files, intervals, frames = self._files, self._plan.output, None
        if intervals.statistics:
            simulation.reporters.append(self._statistics_reporter(intervals.statistics))
        if intervals.energies:
            change = self._blocks is not None
            reporter = EnergyReporter(files.energies, intervals.energies, intervals.polarisation, True, change)
            simulation.reporters.append(reporter)
        if intervals.frames:
            frames = FrameReporter(files.frames, intervals.frames, append=True, command=self._command)
            simulation.reporters.append(frames)
        if intervals.trajectory:
            simulation.reporters.append(TrajectoryReporter(files.trajectory, intervals.trajectory))
        return frames

    def _statistics_reporter(self, interval: int) -> StatisticsReporter:
        # The number of levels, and so of columns, may change with what is learned, k = 1 among it.
        levels = 0 if self._blocks is None else _MOST_LEVELS
        return StatisticsReporter(self._files.statistics, interval, True, self._before, levels)

    def _write_checkpoint(self, simulation: app.Simulation, keepers: Sequence[FrameReporter]) -> None:
        ends = simulation.currentStep >= self._steps
        ends |= self._blocks is not None and self._blocks.is_over(simulation.currentStep)
        # What a reader of the frames keeps from being written must not be lost: the checkpoint before stays valid.
        if all(keeper.flush(_PATIENCE) for keeper in keepers):
            extents = {output.path.name: output.extent() for output in self._outputs}
            Checkpoint(
                step=simulation.currentStep,
                outputs={name: extent for name, extent in extents.items() if extent is not None},
                wall_time=self._wall_before + time.perf_counter() - self._wall_start,
                context=simulation.context.createCheckpoint(),
                segment=0 if self._blocks is None else self._blocks.segment,
            ).write(self._files.checkpoint)
        elif ends:
            raise FrameFileError(
                f"{self._files.frames}, or the labels in {self._files.learning}, are kept open by another program, so "
                "that the last frames cannot be written: close it and repeat the command"
            )
        else:
            # As a checkpoint would, so that the trajectory does not depend on who reads its files.
            find_qm_force(simulation.system).reset(simulation.context)

    def _finish(self, simulation: app.Simulation) -> None:
        files = self._files
        self._trajectory.complete_header()
        files.write(files.final, PhaseSpacePoint.of(simulation.context).to_bytes())
        statistics = continued(self._before, KStepIntegrator.cast(simulation.integrator).getStatistics())
        summary = {
            "steps": simulation.currentStep if self._before is None else statistics.outerSteps,
            "inner_steps": simulation.currentStep * self._plan.dynamics.levels.k,
            "time_ps": self._plan.time(simulation.currentStep),
            "wall_time_s": Checkpoint.read(files.checkpoint).wall_time,
            "statistics": statistics_to_json(statistics),
        }
        files.write_json(files.summary, summary)
