"""QM and QM/MM trajectories through the plugin, written with all labels of their QM calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openmm

from kstep_models.frames import FrameFile, FrameWriter
from kstep_models.hdf5 import PATIENCE
from kstep_models.locks import locked
from openmmkstep.io.frames import describe_region, frame_of_result, keep_frames
from openmmkstep.qmmm.forces import find_qm_force
from openmmkstep.qmmm.integrator import integrator_for
from openmmkstep.workflows.config.generate import GenerateConfig
from openmmkstep.workflows.setup.equilibration import equilibrate
from openmmkstep.workflows.setup.mixed_system import build_mixed_system, engine_of, region_of
from openmmkstep.workflows.setup.molecular_system import SystemBuilder
from openmmkstep.workflows.setup.platforms import find_platform

from .conformers import ConformerSampler

# Seeds of different trajectories must differ in everything that they seed.
_SEED_STRIDE = 7919


@dataclass(frozen=True)
class Progress:
    """Where a generator stands.

    Attributes:
        frames: Number of frames in the file.
        total: wanted.
        trajectory: being run, from 0.
        stage: what is going on, in a few words.
    """

    frames: int
    total: int
    trajectory: int
    stage: str


@dataclass(frozen=True)
class GenerationResult:
    """What a generator wrote.

    Attributes:
        path: Path of the HDF5 file.
        frames: Number of frames in the file.
        failures: trajectory -> error of those that had to be given up.
    """

    path: Path
    frames: int
    failures: dict[int, str]


class Generator:
    """Runs the trajectories of a configuration.

    Trajectories are independent and seeded one by one. Killed at any time and resumed, the file continues with the
    trajectory that was interrupted, from its start.

    Args:
        config: what to make.
        command: Command line for the file's head.
        report: called with the progress after each frame and stage.
    """

    def __init__(self, config: GenerateConfig, command: str, report: Callable[[Progress], None]) -> None:
        self._config = config
        self._report = report
        self._builder = SystemBuilder(config.system)
        self._region = region_of(self._builder.build_in_vacuum(), config.qm)
        # The region is chosen once: distances in a selection would choose another one in every conformer.
        self._qm = config.qm.model_copy(update={"atoms": self._region.particles})
        self._engine = engine_of(config.qm)
        self._command = command

    def run(self, resume: bool) -> GenerationResult:
        """Run what is not in the file yet.

        Args:
            resume: continue the output file if it exists; without it an existing file is an error.

        Raises:
            FrameFileError: the output exists and must not be, or cannot be, continued.
            InUseError: another program is writing it.
        """
        self._config.output.parent.mkdir(parents=True, exist_ok=True)
        with locked(self._config.output):
            return self._run(resume)

    def _run(self, resume: bool) -> GenerationResult:
        config, sampling = self._config, self._config.sampling
        isolated = not self._builder.has_solvent and len(self._region.members) == len(self._builder.structure.positions)
        first = _first_missing(config.output, sampling.frames_per_trajectory) if resume else 0
        sampler = ConformerSampler(self._builder, sampling.conformers, config.platform)
        failures: dict[int, str] = {}
        description = describe_region(self._region, self._engine.describe(), self._command)
        embedded = config.qm.embedding == "electrostatic" and not isolated
        with FrameWriter(config.output, description, environment=embedded, resume=resume) as writer:
            for index in range(first, sampling.trajectories):
                try:
                    self._trajectory(index, sampler, writer)
                except openmm.OpenMMException as error:
                    # One bad trajectory must not cost the others; its frames so far are good.
                    failures[index] = str(error)
                # Frames far apart in time would otherwise wait in memory for long.
                writer.flush(PATIENCE)
            frames = len(writer)
        return GenerationResult(config.output, frames, failures)

    def _trajectory(self, index: int, sampler: ConformerSampler, writer: FrameWriter) -> None:
        config, sampling = self._config, self._config.sampling
        temperature = sampling.temperatures[index % len(sampling.temperatures)]
        seed = config.seed + _SEED_STRIDE * (index + 1)
        self._log(writer, index, "conformer")
        conformer = sampler.conformer(seed)
        self._log(writer, index, "force-field equilibration")
        molecules = self._builder.build(conformer)
        start = equilibrate(molecules, temperature, sampling.force_field_equilibration, seed, config.platform)
        mixed = build_mixed_system(molecules, self._qm, config.surrogate, split_nonbonded=sampling.nonbonded_period > 1)
        integrator = integrator_for(mixed.system, config.levels, temperature, sampling.friction)
        integrator.setRandomNumberSeed(seed)
        platform, properties = find_platform(config.platform)
        context = openmm.Context(mixed.system, integrator, platform, properties)
        start.apply_to(context)
        self._log(writer, index, "QM equilibration")
        outer_step = config.levels.outer_step
        integrator.step(round(sampling.equilibration / outer_step))
        qm_force = find_qm_force(mixed.system)
        for number in range(sampling.frames_per_trajectory):
            integrator.step(sampling.steps_per_frame)
            time = (number + 1) * sampling.steps_per_frame * outer_step
            result = qm_force.getLastResult(context)
            writer.append(frame_of_result(result, writer.environment, index, time, temperature))
            self._log(writer, index, f"{temperature:.0f} K")

    def _log(self, writer: FrameWriter, trajectory: int, stage: str) -> None:
        sampling = self._config.sampling
        total = sampling.trajectories * sampling.frames_per_trajectory
        self._report(Progress(len(writer), total, trajectory, stage))


def _first_missing(path: Path, frames_per_trajectory: int) -> int:
    """The first trajectory to run; cuts one that was interrupted off the file."""
    if not path.exists():
        return 0
    with FrameFile(path) as file:
        file.check()
        trajectories = file.frames("trajectory")
    if len(trajectories) == 0:
        return 0
    last = int(trajectories[-1])
    if int(np.sum(trajectories == last)) >= frames_per_trajectory:
        return last + 1
    keep_frames(path, int(np.sum(trajectories != last)))
    return last
