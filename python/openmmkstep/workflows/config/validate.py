"""Configuration of ``kstep validate``."""

from __future__ import annotations

from pydantic import Field, model_validator

from kstep_models.configuration import Section
from openmmkstep.qmmm.levels.settings import LevelSettings

from .ensemble import EnsembleSection
from .quantities import Duration, Rate, Seed, Temperature, Time
from .sections import QMSection, SurrogateSection, SystemSection, level_settings


class NVESection(Section):
    """Energy conservation without a thermostat.

    Attributes:
        ks: values of k.
        time: Length of each k-step run, ps.
        plain_steps: time steps of plain QM dynamics to compare with, ps.
        plain_time: Length of each plain run, ps; these are the costly ones.
        without_base_level: also run each k with the network at every inner step.
        surrogate_alone: also run the surrogate without QM.
        nonbonded_period: inner steps between nonbonded MM forces; if more than 1, plain QM dynamics with the same split
            is run too, so that what splitting costs is told apart from what the surrogate costs.
    """

    ks: tuple[int, ...] = (4, 8)
    time: Time = 20.0
    plain_steps: tuple[Time, ...] = (0.0005, 0.001)
    plain_time: Time = 20.0
    without_base_level: bool = True
    surrogate_alone: bool = True
    nonbonded_period: int = Field(default=1, ge=1)


class TemperatureSection(Section):
    """Temperature of each element of the QM region under a Langevin thermostat.

    Attributes:
        k: inner steps per QM call.
        time: Length of sampling, ps.
        friction: 1/ps.
        nonbonded_period: inner steps between nonbonded MM forces.
    """

    k: int = Field(default=8, ge=1)
    time: Time = 20.0
    friction: Rate = 5.0
    nonbonded_period: int = Field(default=1, ge=1)


class ValidateConfig(Section):
    """What ``kstep validate`` checks.

    Attributes:
        system: molecules and force field.
        qm: region and method.
        surrogate: potential and the level below it.
        inner_step: ps.
        temperature: K; of the starting velocities and of the thermostat.
        force_field_equilibration: ps.
        equilibration: k-step dynamics with a thermostat before the checks, at the smallest k, ps.
        nve: energy conservation.
        thermostat: temperatures.
        ensemble: distributions beside those of plain QM dynamics.
        platform: OpenMM platform, with one thread.
        seed: Seed of everything random.
    """

    system: SystemSection
    qm: QMSection
    surrogate: SurrogateSection
    inner_step: Time = 0.0005
    temperature: Temperature = 300.0
    force_field_equilibration: Duration = 5.0
    equilibration: Duration = 1.0
    nve: NVESection = NVESection()
    thermostat: TemperatureSection = TemperatureSection()
    ensemble: EnsembleSection = EnsembleSection()
    platform: str = "Reference"
    seed: Seed = 1

    def levels(self, k: int, nonbonded_period: int = 1) -> LevelSettings:
        """Time step and periods for a k."""
        return level_settings(k, self.inner_step, self.surrogate, nonbonded_period)

    @model_validator(mode="after")
    def _check_levels(self) -> ValidateConfig:
        # Of the checks that are asked for: the defaults of others need not fit.
        asked = {
            "nve": [(k, self.nve.nonbonded_period) for k in self.nve.ks],
            "thermostat": [(self.thermostat.k, self.thermostat.nonbonded_period)],
            "ensemble": [(k, self.ensemble.nonbonded_period) for k in self.ensemble.ks],
        }
        for section, settings in asked.items():
            if section in self.model_fields_set:
                for k, period in settings:
                    self.levels(k, period)
        return self
