"""QM and QM/MM trajectories through the plugin, written with all labels of their QM calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openmm

from kstep_models.frames import FrameFile, FrameWriter
from openmmkstep.io.frames import appendPatiently, describeRegion, flushPatiently, frameOfResult, keepFrames
from openmmkstep.qmmm.integrator import createLadderIntegrator
from openmmkstep.qmmm.mixed_forces import findQMForce
from openmmkstep.workflows.config.generate import GenerateConfig
from openmmkstep.workflows.setup.equilibration import equilibrate
from openmmkstep.workflows.setup.mixed_system import createMixedSystem, potentialOf, regionOf
from openmmkstep.workflows.setup.molecular_system import SystemBuilder
from openmmkstep.workflows.setup.platforms import findPlatform

from .conformers import ConformerSampler

# Seeds of different trajectories must differ in everything that they seed.
_SEED_STRIDE = 7919


@dataclass(frozen=True)
class Progress:
    """Where a generator stands.

    Attributes:
        frames: in the file.
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
        path: of the HDF5 file.
        frames: in the file.
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
        folder: relative paths of the structure are relative to it.
        command: for the file's head.
        report: called with the progress after each frame and stage.
    """

    def __init__(self, config: GenerateConfig, folder: Path, command: str, report: Callable[[Progress], None]) -> None:
        self._config = config
        self._folder = folder
        self._report = report
        self._builder = SystemBuilder(config.system, folder)
        self._region = regionOf(self._builder.buildInVacuum(), config.qm)
        self._potential = potentialOf(config.qm)
        self._command = command

    def run(self, resume: bool) -> GenerationResult:
        """Run what is not in the file yet.

        Args:
            resume: continue the output file if it exists; without it an existing file is an error.

        Raises:
            FrameFileError: the output exists and must not be, or cannot be, continued.
        """
        config, sampling = self._config, self._config.sampling
        isolated = not self._builder.hasSolvent and len(self._region.particles) == len(
            self._builder.structure.positions
        )
        first = _firstMissing(config.output, sampling.framesPerTrajectory) if resume else 0
        config.output.parent.mkdir(parents=True, exist_ok=True)
        sampler = ConformerSampler(self._builder, sampling.conformers, config.platform)
        failures: dict[int, str] = {}
        description = describeRegion(self._region, self._potential.engine.describe(), self._command)
        embedded = config.qm.embedding == "electrostatic" and not isolated
        with FrameWriter(config.output, description, environment=embedded, resume=resume) as writer:
            for index in range(first, sampling.trajectories):
                try:
                    self._trajectory(index, sampler, writer)
                except openmm.OpenMMException as error:
                    # One bad trajectory must not cost the others; its frames so far are good.
                    failures[index] = str(error)
                # Frames far apart in time would otherwise wait in memory for long.
                flushPatiently(writer)
            frames = len(writer)
        return GenerationResult(config.output, frames, failures)

    def _trajectory(self, index: int, sampler: ConformerSampler, writer: FrameWriter) -> None:
        config, sampling = self._config, self._config.sampling
        temperature = sampling.temperatures[index % len(sampling.temperatures)]
        seed = config.seed + _SEED_STRIDE * (index + 1)
        self._tell(writer, index, "conformer")
        conformer = sampler.conformer(seed)
        self._tell(writer, index, "force-field equilibration")
        molecules = self._builder.build(conformer)
        start = equilibrate(molecules, temperature, sampling.forceFieldEquilibration, seed, config.platform)
        mixed = createMixedSystem(
            molecules, config.qm, config.surrogate, self._folder, splitNonbonded=sampling.nonbondedPeriod > 1
        )
        integrator = createLadderIntegrator(
            mixed.system,
            sampling.timeStep,
            sampling.k,
            temperature,
            sampling.friction,
            surrogatePeriod=1 if config.surrogate is None else config.surrogate.period,
            nonbondedPeriod=sampling.nonbondedPeriod,
            correctionParticles=mixed.region.particles,
        )
        integrator.setRandomNumberSeed(seed)
        platform, properties = findPlatform(config.platform)
        context = openmm.Context(mixed.system, integrator, platform, properties)
        context.setPositions(start.positions)
        context.setVelocities(start.velocities)
        self._tell(writer, index, "QM equilibration")
        macroStep = sampling.k * sampling.timeStep
        integrator.step(round(sampling.equilibration / macroStep))
        qmForce = findQMForce(mixed.system)
        for number in range(sampling.framesPerTrajectory):
            integrator.step(sampling.stepsPerFrame)
            time = (number + 1) * sampling.stepsPerFrame * macroStep
            result = qmForce.getLastResult(context)
            appendPatiently(writer, frameOfResult(result, writer.environment, index, time, temperature))
            self._tell(writer, index, f"{temperature:.0f} K")

    def _tell(self, writer: FrameWriter, trajectory: int, stage: str) -> None:
        sampling = self._config.sampling
        total = sampling.trajectories * sampling.framesPerTrajectory
        self._report(Progress(len(writer), total, trajectory, stage))


def _firstMissing(path: Path, framesPerTrajectory: int) -> int:
    """The first trajectory to run; cuts one that was interrupted off the file."""
    if not path.exists():
        return 0
    with FrameFile(path) as file:
        trajectories = file.frames("trajectory")
    if len(trajectories) == 0:
        return 0
    last = int(trajectories[-1])
    if int(np.sum(trajectories == last)) >= framesPerTrajectory:
        return last + 1
    keepFrames(path, int(np.sum(trajectories != last)))
    return last
