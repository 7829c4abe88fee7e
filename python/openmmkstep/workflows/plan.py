"""What a run does, translated once from its configuration into what each part of it needs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import openmm
from openmm import app

from openmmkstep.learning.settings import LearningSettings
from openmmkstep.openmmapi.kstep_integrator import KStepIntegrator
from openmmkstep.qmmm.integrator import integrator_for
from openmmkstep.qmmm.level_parts import LevelPart
from openmmkstep.qmmm.levels.settings import LevelSettings
from openmmkstep.workflows.config.equilibration import StageSection
from openmmkstep.workflows.config.learn import HOW_MUCH, WHO_LABELS, LearnSection
from openmmkstep.workflows.config.run import RunConfig
from openmmkstep.workflows.config.sections import CacheSection, QMSection, SurrogateSection, SystemSection

from .setup.barostat import add_barostat
from .setup.equilibration import ForceFieldEquilibration
from .setup.mixed_system import MixedSystem, build_mixed_system, engine_of, method_below, surrogate_parts
from .setup.molecular_system import MolecularSystem, SystemBuilder
from .setup.platforms import find_platform

# A finished run may be made longer or measured again; anything else would make another run of it.
_MAY_CHANGE = ("time", "speed", "threads", "cache")


@dataclass(frozen=True)
class SystemPlan:
    """What is simulated, and on what.

    Attributes:
        molecules: files and force field.
        qm: QM region and method.
        surrogate: potential and the level below it; none for plain QM dynamics.
        split_nonbonded: whether nonbonded MM forces are called less often than the others.
        split_reciprocal: whether the reciprocal space of PME is called at other times than they.
        platform: OpenMM platform.
        threads: Threads of the CPU platform.
    """

    molecules: SystemSection
    qm: QMSection
    surrogate: SurrogateSection | None
    split_nonbonded: bool
    split_reciprocal: bool
    platform: str
    threads: int

    def build(self) -> MolecularSystem:
        """The force-field system, with solvent placed at random. Raises PreparationError."""
        return SystemBuilder(self.molecules).build()

    def mix(self, molecules: MolecularSystem) -> MixedSystem:
        """The QM/MM system with all levels."""
        return build_mixed_system(molecules, self.qm, self.surrogate, self.split_nonbonded, self.split_reciprocal)

    def mix_plain(self, molecules: MolecularSystem) -> MixedSystem:
        """The QM/MM system without surrogates."""
        return build_mixed_system(molecules, self.qm)

    def find_platform(self) -> tuple[openmm.Platform, dict[str, str]]:
        """The platform and its properties. Raises PlatformError."""
        return find_platform(self.platform, self.threads)


@dataclass(frozen=True)
class DynamicsPlan:
    """How time passes.

    Attributes:
        levels: time step and periods.
        temperature: Temperature of the starting velocities and of the thermostat, K.
        friction: Friction of the Langevin thermostat, 1/ps; None for constant energy.
        pressure: Of the barostat, bar; None for constant volume.
        barostat_period: outer steps between its moves.
        max_energy_error: bound of the energy error of an outer step, kJ/mol, above which it is redone.
        max_correction: bound of the correction on one atom, kJ/mol/nm.
        max_consecutive_fallbacks: redone outer steps in a row before the run gives up.
        metropolis: how steps of production are accepted, see `KStepIntegrator.setMetropolis`.
        thermostat_interval: outer steps between those in which friction and noise act.
        reduced_flips: whether velocities turn round after a rejection only as often as balance needs.
    """

    levels: LevelSettings
    temperature: float
    friction: float | None
    pressure: float | None
    barostat_period: int
    max_energy_error: float
    max_correction: float
    max_consecutive_fallbacks: int
    metropolis: str
    thermostat_interval: int
    reduced_flips: bool

    @property
    def target(self) -> float | None:
        """Temperature that the thermostat holds, K; None without one."""
        return None if self.friction is None else self.temperature

    def integrator(self, mixed: MixedSystem, seed: int) -> KStepIntegrator:
        """The integrator for a system with all levels."""
        integrator = integrator_for(mixed.system, self.levels, self.target, self.friction or 0.0)
        integrator.setRandomNumberSeed(seed)
        integrator.setMaxEnergyError(self.max_energy_error)
        integrator.setMaxCorrection(self.max_correction)
        integrator.setMaxConsecutiveFallbacks(self.max_consecutive_fallbacks)
        integrator.setMetropolis(self.metropolis)
        integrator.setThermostatInterval(self.thermostat_interval)
        integrator.setReducedFlips(self.reduced_flips)
        return integrator

    def plain_integrator(self, step: float, seed: int) -> KStepIntegrator:
        """The integrator for plain QM dynamics with another step (ps)."""
        arguments = () if self.friction is None else (self.temperature, self.friction)
        integrator = KStepIntegrator(*arguments, step, 1)
        integrator.setRandomNumberSeed(seed)
        return integrator

    def steps(self, time: float) -> int:
        """A time (ps) in outer steps."""
        return round(time / self.levels.outer_step)


@dataclass(frozen=True)
class OutputPlan:
    """Outer steps between outputs; 0 for none; whether the table of energies has the polarisation."""

    folder: Path
    trajectory: int
    frames: int
    statistics: int
    energies: int
    polarisation: bool
    checkpoint: int


@dataclass(frozen=True)
class EquilibrationPlan:
    """Before production.

    Attributes:
        minimise: whether to minimise the force field's energy first.
        stages: dynamics with the force field.
        steps: outer steps of QM/MM dynamics.
    """

    minimise: bool
    stages: tuple[StageSection, ...]
    steps: int


@dataclass(frozen=True)
class SpeedPlan:
    """Measurement of the speed-up at the end.

    Attributes:
        time: simulated with each method per segment, ps; 0 for no measurement.
        segments: Number of segments of each method.
        plain_step: time step of plain QM dynamics, ps.
    """

    time: float
    segments: int
    plain_step: float


@dataclass(frozen=True)
class LearningPlan:
    """Learning before production.

    Attributes:
        settings: What is aimed at.
        start: The levels that it begins with.
        config: The configuration, of which learning makes another.
        workers: Processes that label side by side; 1 for this one.
        scheduler: Address of a Dask scheduler instead; None for none.
        block: Inner steps in a block of production; 0 for one k throughout.
        labels: Inner steps between labels of production; 0 for every outer step.
    """

    settings: LearningSettings
    start: SurrogateSection
    config: RunConfig
    workers: int = 1
    scheduler: str | None = None
    block: int = 0
    labels: int = 0

    @classmethod
    def of(cls, config: RunConfig, section: LearnSection) -> LearningPlan:
        """What a configuration with such a section means."""
        settings = section.settings(config.seed)
        step = config.integrator.inner_step
        block, labels = (round(section.fitted(time, step) / step) for time in (section.block, section.labels))
        return cls(settings, config.learning_start, config, section.workers, section.scheduler, block, labels)

    def parts(self) -> list[LevelPart]:
        """What the surrogate is the sum of before anything is learned."""
        return surrogate_parts(self.start)

    def mix(self, molecules: MolecularSystem, archive: Path | None) -> MixedSystem:
        """The QM/MM system with what has been learned, or without."""
        config = self.config
        surrogate = self.start if archive is None else self.start.model_copy(update={"archive": archive})
        section = config.integrator
        splits = section.reciprocal_period not in (None, section.nonbonded_period)
        return build_mixed_system(molecules, config.qm, surrogate, section.nonbonded_period > 1, splits)

    def periods(self) -> dict[str, Any]:
        """Arguments of createIntegrator() beside those that a trial sets."""
        section = self.config.integrator
        return {
            "surrogatePeriod": self.start.period,
            "nonbondedPeriod": section.nonbonded_period,
            "reciprocalPeriod": section.reciprocal_period,
        }


@dataclass(frozen=True)
class RunPlan:
    """A whole run.

    Attributes:
        system: what is simulated.
        dynamics: how time passes.
        equilibration: What happens before production.
        steps: outer steps of production.
        output: files.
        speed: measurement at the end.
        cache: QM results on disk; None for none.
        seed: Seed of everything random.
        settings: JSON values that a run which is taken up must have in common with this one.
        learning: What is learned before production, and changes the plan; None for nothing.
    """

    system: SystemPlan
    dynamics: DynamicsPlan
    equilibration: EquilibrationPlan
    steps: int
    output: OutputPlan
    speed: SpeedPlan
    cache: CacheSection | None
    seed: int
    settings: Mapping[str, Any]
    learning: LearningPlan | None = None

    @classmethod
    def of(cls, config: RunConfig) -> RunPlan:
        """What a configuration means; times become whole outer steps, at least one of each that is not zero.

        Raises:
            EngineError: There is no such QM method, or not with these settings.
            OSError: A file that is there cannot be read.
        """
        section, output = config.integrator, config.output
        dynamics = DynamicsPlan(
            config.levels,
            section.temperature,
            section.friction if section.ensemble == "langevin" else None,
            section.pressure,
            section.barostat_period,
            section.max_energy_error,
            section.max_correction,
            section.max_consecutive_fallbacks,
            section.metropolis,
            section.thermostat_interval,
            section.reduced_flips,
        )

        def interval(time: float) -> int:
            return max(1, dynamics.steps(time)) if time > 0 else 0

        return cls(
            SystemPlan(
                config.system,
                config.qm,
                None if config.learn is not None else config.surrogate,
                config.levels.nonbonded_period > 1,
                config.levels.splits_reciprocal,
                config.platform,
                config.threads,
            ),
            dynamics,
            EquilibrationPlan(
                config.equilibration.minimise,
                config.equilibration.all_stages,
                dynamics.steps(config.equilibration.kstep),
            ),
            max(1, dynamics.steps(config.time)),
            OutputPlan(
                output.folder,
                interval(output.trajectory),
                interval(output.frames),
                interval(output.statistics),
                interval(output.energies),
                output.polarisation,
                interval(output.checkpoint),
            ),
            SpeedPlan(config.speed.time, config.speed.segments, config.speed.plain_step),
            config.cache,
            config.seed,
            {**_what_stays(config), **what_names_stand_for(config.qm, config.surrogate)},
            None if config.learn is None else LearningPlan.of(config, config.learn),
        )

    def with_learned(self, k: int, archive: Path | None) -> RunPlan:
        """The plan of the run that learning led to: same folder, same settings for taking it up."""
        if self.learning is None:
            return self
        learned = RunPlan.of(self.learning.config.with_learned(k, archive))
        return replace(learned, settings=self.settings, learning=self.learning)

    def force_field_equilibration(self, molecules: MolecularSystem) -> ForceFieldEquilibration:
        """The stages before QM/MM dynamics. Raises PreparationError, SelectionError."""
        return ForceFieldEquilibration(
            molecules,
            self.equilibration.stages,
            self.dynamics.temperature,
            self.seed,
            self.system.platform,
            self.system.threads,
            self.equilibration.minimise,
        )

    def mix(self, molecules: MolecularSystem) -> MixedSystem:
        """The QM/MM system with all levels, and the barostat of production if there is one."""
        mixed = self.system.mix(molecules)
        dynamics = self.dynamics
        if dynamics.pressure is not None:
            where, period = "integrator.pressure", dynamics.barostat_period
            add_barostat(mixed.system, dynamics.pressure, dynamics.temperature, where, period)
        return mixed

    def simulation(self, molecules: MolecularSystem, mixed: MixedSystem, seed: int) -> app.Simulation:
        """A Simulation of the QM/MM system; the seed is that of the thermostat and the barostat."""
        for force in mixed.system.getForces():
            if isinstance(force, openmm.MonteCarloBarostat):
                force.setRandomNumberSeed(seed)
        platform, properties = self.system.find_platform()
        integrator = self.dynamics.integrator(mixed, seed)
        return app.Simulation(molecules.topology, mixed.system, integrator, platform, properties)

    def time(self, steps: int) -> float:
        """The simulated time of outer steps, ps."""
        return steps * self.dynamics.levels.outer_step


def _what_stays(config: RunConfig) -> dict[str, Any]:
    """What another configuration must have, too, to be one of the same run."""
    settings = config.written(exclude=_MAY_CHANGE)
    if config.learn is not None:
        settings["learn"] = config.learn.written(exclude=(*WHO_LABELS, *HOW_MUCH))
    return settings


def what_names_stand_for(qm: QMSection, surrogate: SurrogateSection | None) -> dict[str, Any]:
    """An engine's defaults may change with its version, and a file's content under its name: another run then."""
    level = {"level_of_theory": engine_of(qm).describe()}
    if surrogate is None:
        return level
    files = [file for file in (surrogate.archive, surrogate.base_level) if isinstance(file, Path)]
    # One that is missing is told of by whoever loads it, who knows where such a file comes from.
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()]
    method = {} if surrogate.method is None else {"surrogate_level_of_theory": method_below(surrogate).describe()}
    return {**level, **method, "surrogate_digests": digests}
