"""Production: steps with reporters, atomic checkpoints, exact continuation."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import openmm
from openmm import app

from kstep_models.frames import FrameFileError
from openmmkstep.io.phase_space import PhaseSpacePoint
from openmmkstep.io.statistics import statistics_to_json
from openmmkstep.openmmapi.kstep_integrator import KStepIntegrator
from openmmkstep.qmmm.forces import find_qm_force
from openmmkstep.reporters import EnergyReporter, FrameReporter, StatisticsReporter
from openmmkstep.workflows.plan import RunPlan
from openmmkstep.workflows.run_folder import RunFolder

from .checkpoint import Checkpoint, CheckpointError
from .failed_frame import failed_frame_saved
from .outputs import GrowingTable, LabelledFrames, Trajectory, TrajectoryReporter

# At a checkpoint, for programs that read the frames, seconds.
_PATIENCE = 60.0


class Production:
    """The production part of a run.

    After each checkpoint the QM level forgets the density from which it would start its next calculation, in a run
    that goes on as in one that is taken up: the two are then identical to the last bit wherever the platform is
    deterministic.

    Args:
        plan: The whole run.
        files: Files of the run.
        command: Command line for the head of the HDF5 file.
    """

    def __init__(self, plan: RunPlan, files: RunFolder, command: str) -> None:
        self._plan = plan
        self._files = files
        self._command = command
        self._steps = plan.steps
        self._trajectory = Trajectory(files.trajectory, plan.output.trajectory)
        tables = (GrowingTable(files.statistics), GrowingTable(files.energies))
        self._outputs = (self._trajectory, LabelledFrames(files.frames), *tables)
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
            finished = int(json.loads(content)["steps"]) >= self._steps
        if finished:
            files.read(files.final)
            checkpoint = self.checkpoint()
            if checkpoint is not None:
                self._cut_outputs(checkpoint)
        return finished

    def checkpoint(self) -> Checkpoint | None:
        """Where to go on; None for the beginning. The outputs are what belongs to it.

        Raises:
            CheckpointError: the checkpoint is damaged.
            DamagedFileError: an output is not what belongs to it.
        """
        if not self._files.checkpoint.exists():
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
    ) -> None:
        """Run to the end.

        Args:
            simulation: A Simulation of the mixed system, not moved yet.
            start: What :meth:`checkpoint` gave, or where to begin.
            attach: called with the simulation before it moves, to add more reporters.

        Raises:
            CheckpointError: the Context does not take the checkpoint.
            FrameFileError: somebody kept the file of frames from being written to its end.
            OSError: there is no room for an output.
        """
        if isinstance(start, Checkpoint):
            self._take_up(simulation, start)
        else:
            start.apply_to(simulation.context)
            self._cut_outputs(None)
        frames = self._add_reporters(simulation)
        attach(simulation)
        self._wall_start = time.perf_counter()
        every = self._plan.output.checkpoint or self._steps
        while simulation.currentStep < self._steps:
            with failed_frame_saved(simulation.system, simulation.context, self._files.failed_frame):
                simulation.step(min(every - simulation.currentStep % every, self._steps - simulation.currentStep))
            self._write_checkpoint(simulation, frames)
        self._finish(simulation)

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
            simulation.reporters.append(StatisticsReporter(files.statistics, intervals.statistics, append=True))
        if intervals.energies:
            reporter = EnergyReporter(files.energies, intervals.energies, intervals.polarisation, append=True)
            simulation.reporters.append(reporter)
        if intervals.frames:
            frames = FrameReporter(files.frames, intervals.frames, append=True, command=self._command)
            simulation.reporters.append(frames)
        if intervals.trajectory:
            simulation.reporters.append(TrajectoryReporter(files.trajectory, intervals.trajectory))
        return frames

    def _write_checkpoint(self, simulation: app.Simulation, frames: FrameReporter | None) -> None:
        # What a reader of the frames keeps from being written must not be lost: the checkpoint before stays valid.
        if frames is None or frames.flush(_PATIENCE):
            extents = {output.path.name: output.extent() for output in self._outputs}
            Checkpoint(
                step=simulation.currentStep,
                outputs={name: extent for name, extent in extents.items() if extent is not None},
                wall_time=self._wall_before + time.perf_counter() - self._wall_start,
                context=simulation.context.createCheckpoint(),
            ).write(self._files.checkpoint)
        elif simulation.currentStep >= self._steps:
            raise FrameFileError(
                f"{self._files.frames} is kept open by another program, so that the last frames cannot be written: "
                "close it and repeat the command"
            )
        else:
            # As a checkpoint would, so that the trajectory does not depend on who reads its files.
            find_qm_force(simulation.system).reset(simulation.context)

    def _finish(self, simulation: app.Simulation) -> None:
        files = self._files
        self._trajectory.complete_header()
        files.write(files.final, PhaseSpacePoint.of(simulation.context).to_bytes())
        summary = {
            "steps": simulation.currentStep,
            "time_ps": self._plan.time(simulation.currentStep),
            "wall_time_s": Checkpoint.read(files.checkpoint).wall_time,
            "statistics": statistics_to_json(KStepIntegrator.cast(simulation.integrator).getStatistics()),
        }
        files.write_json(files.summary, summary)
