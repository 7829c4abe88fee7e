"""Configuration of ``kstep generate``."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from kstep_models.configuration import Section
from openmmkstep.qmmm.levels.settings import LevelSettings

from .quantities import Duration, Rate, Seed, Temperature, Time
from .sections import CacheSection, QMSection, SurrogateSection, SystemSection, level_settings


class ConformerSection(Section):
    """Force-field dynamics that finds a new starting conformer for every trajectory.

    Attributes:
        temperature: high enough to cross barriers.
        time: simulated per conformer, ps; 0 starts all trajectories from the structure.
    """

    temperature: Temperature = 600.0
    time: Duration = 50.0


class SamplingSection(Section):
    """QM or QM/MM trajectories that are saved.

    Attributes:
        trajectories: how many, each from its own conformer.
        frames_per_trajectory: saved frames of each.
        steps_per_frame: outer steps (QM calls) between saved frames.
        time_step: inner step, ps; without a surrogate that of the QM dynamics.
        k: inner steps per QM call; more than one needs a surrogate.
        nonbonded_period: inner steps between evaluations of the surroundings' nonbonded forces; divides k.
        temperatures: K; the trajectories take them in turn.
        friction: Friction of the Langevin thermostat, 1/ps.
        force_field_equilibration: Time of the whole system at the force-field level and its temperature, ps.
        equilibration: Time at the QM level before the first saved frame, ps.
        conformers: where trajectories start.
    """

    trajectories: int = Field(ge=1)
    frames_per_trajectory: int = Field(ge=1)
    steps_per_frame: int = Field(default=5, ge=1)
    time_step: Time = 0.001
    k: int = Field(default=1, ge=1)
    nonbonded_period: int = Field(default=1, ge=1)
    temperatures: tuple[Temperature, ...] = (300.0,)
    friction: Rate = 2.0
    force_field_equilibration: Duration = 0.0
    equilibration: Duration = 0.2
    conformers: ConformerSection = ConformerSection()


class GenerateConfig(Section):
    """What ``kstep generate`` makes.

    Attributes:
        system: molecules and force field.
        qm: region and method.
        surrogate: an earlier surrogate that carries the dynamics between QM calls; every label is still a QM one, and
            every outer step yields one.
        sampling: trajectories and frames.
        cache: QM results on disk; none by default.
        platform: OpenMM platform.
        seed: Seed of everything random.
        output: HDF5 file; its folder is made where it does not exist.
    """

    system: SystemSection
    qm: QMSection
    surrogate: SurrogateSection | None = None
    sampling: SamplingSection
    cache: CacheSection | None = None
    platform: str = "CPU"
    seed: Seed = 1
    output: Path

    @property
    def levels(self) -> LevelSettings:
        """Time step and periods."""
        section = self.sampling
        return level_settings(section.k, section.time_step, self.surrogate, section.nonbonded_period)

    @model_validator(mode="after")
    def _check_levels(self) -> GenerateConfig:
        _ = self.levels
        return self
