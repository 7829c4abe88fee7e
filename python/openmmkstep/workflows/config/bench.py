"""Configuration of ``kstep bench``."""

from __future__ import annotations

from pydantic import Field, model_validator

from kstep_models.configuration import Section
from openmmkstep.qmmm.levels.settings import LevelSettings

from .quantities import Duration, Rate, Seed, Temperature, Time
from .sections import QMSection, SurrogateSection, SystemSection, level_settings


class BenchCase(Section):
    """One system to measure.

    Attributes:
        system: molecules and force field.
        qm: region and method.
        equilibration: Time at the force-field level before measuring, ps.
        nonbonded_period: inner steps between nonbonded MM forces in k-step dynamics; if more than 1, plain QM dynamics
            with the same split is measured too, by OpenMM's MTSLangevinIntegrator.
        reciprocal_period: the same for the reciprocal space of PME; none for nonbonded_period.
        platform: OpenMM platform, with one thread, for all methods. Below some hundred particles Reference is the
            fastest: sharing out the work of one force call takes the CPU platform 0.2 ms.
    """

    system: SystemSection
    qm: QMSection
    equilibration: Duration = 2.0
    nonbonded_period: int = Field(default=1, ge=1)
    reciprocal_period: int | None = Field(default=None, ge=1)
    platform: str = "CPU"


class BenchConfig(Section):
    """What ``kstep bench`` measures.

    Attributes:
        cases: Systems to measure, by name.
        surrogate: potential and the level below it, the same for all cases.
        k: inner steps per QM call.
        inner_step: ps.
        plain_steps: time steps of the plain QM dynamics, ps; speed-ups refer to the first.
        temperature: K.
        friction: 1/ps, of the methods with a thermostat.
        segment: simulated with each method per repeat, ps; rounded up to whole outer steps.
        repeats: Number of segments of every method, interleaved.
        compare_stock: also measure OpenMM's MTSLangevinIntegrator with a PythonForce.
        seed: Seed of everything random.
    """

    cases: dict[str, BenchCase] = Field(min_length=1)
    surrogate: SurrogateSection
    k: int = Field(default=8, ge=2)
    inner_step: Time = 0.0005
    plain_steps: tuple[Time, ...] = Field(default=(0.0005, 0.001), min_length=1)
    temperature: Temperature = 300.0
    friction: Rate = 1.0
    segment: Time = 0.04
    repeats: int = Field(default=5, ge=1)
    compare_stock: bool = True
    seed: Seed = 1

    def levels(self, case: BenchCase) -> LevelSettings:
        """Time step and periods of a case."""
        return level_settings(self.k, self.inner_step, self.surrogate, case.nonbonded_period, case.reciprocal_period)

    @model_validator(mode="after")
    def _check_levels(self) -> BenchConfig:
        for name, case in self.cases.items():
            try:
                self.levels(case)
            except ValueError as error:
                raise ValueError(f"cases.{name}: {error}") from error
        return self
