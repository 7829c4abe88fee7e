"""Configuration of ``kstep run``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from kstep_models.configuration import Section
from openmmkstep.qmmm.levels.settings import LevelSettings

from .equilibration import EquilibrationSection
from .learn import LearnSection
from .quantities import Duration, Pressure, Rate, Seed, Temperature, Time
from .sections import CacheSection, QMSection, SurrogateSection, SystemSection, level_settings


class IntegratorSection(Section):
    """How time passes.

    Attributes:
        k: inner steps per QM call.
        inner_step: ps.
        ensemble: "langevin" or "nve".
        temperature: K; of the thermostat and of the starting velocities.
        friction: Friction of the Langevin thermostat, 1/ps.
        pressure: Of a Monte Carlo barostat, bar; constant volume if not given. For "langevin".
        barostat_period: outer steps between moves of the barostat, each of which costs a QM call.
        nonbonded_period: inner steps between nonbonded MM forces; with 1 they act together with all other MM forces.
        reciprocal_period: inner steps between evaluations of the reciprocal space of PME; none for nonbonded_period.
            4 to 6 fs do not make a box of rigid water drift, 8 fs do.
        max_energy_error: bound of the energy error of one outer step, kJ/mol, above which it is redone.
        max_correction: bound of the correction on one atom, kJ/mol/nm.
        max_consecutive_fallbacks: redone outer steps in a row before the run gives up.
        metropolis: "off", "monitor", "correction" or "full", see `KStepIntegrator.setMetropolis`; of production.
            Where it accepts and rejects, steps beyond the bounds are rejected.
        thermostat_interval: outer steps between those in which friction and noise act.
        reduced_flips: whether velocities turn round after a rejection only as often as balance needs.
    """

    k: int = Field(default=8, ge=1)
    inner_step: Time = 0.0005
    ensemble: Literal["langevin", "nve"] = "langevin"
    temperature: Temperature = 300.0
    friction: Rate = 1.0
    pressure: Pressure | None = None
    barostat_period: int = Field(default=25, ge=1)
    nonbonded_period: int = Field(default=1, ge=1)
    reciprocal_period: int | None = Field(default=None, ge=1)
    max_energy_error: float = Field(default=50.0, gt=0.0)
    max_correction: float = Field(default=5000.0, gt=0.0)
    max_consecutive_fallbacks: int = Field(default=10, ge=0)
    metropolis: Literal["off", "monitor", "correction", "full"] = "off"
    thermostat_interval: int = Field(default=1, ge=1)
    reduced_flips: bool = True

    @field_validator("metropolis", mode="before")
    @classmethod
    def _off_is_a_word(cls, value: Any) -> Any:
        # YAML takes it for false.
        return "off" if value is False else value

    @model_validator(mode="after")
    def _metropolis_needs_a_thermostat(self) -> IntegratorSection:
        if self.ensemble == "nve" and self.metropolis != "off":
            raise ValueError("'metropolis' needs a thermostat: leave it out, or set 'ensemble' to langevin")
        if self.ensemble == "nve" and self.thermostat_interval > 1:
            raise ValueError("'thermostat_interval' needs a thermostat: leave it out, or set 'ensemble' to langevin")
        return self

    @model_validator(mode="after")
    def _barostat_needs_a_thermostat(self) -> IntegratorSection:
        if self.pressure is not None and self.ensemble == "nve":
            raise ValueError("'pressure' needs a thermostat: leave it out, or set 'ensemble' to langevin")
        return self

    @property
    def outer_step(self) -> float:
        """Length of an outer step, ps."""
        return self.k * self.inner_step


class OutputSection(Section):
    """What is written, and how often; 0 switches an output off.

    Attributes:
        folder: where they are.
        trajectory: time between DCD frames of all atoms, ps.
        frames: time between QM-labelled frames in HDF5, ps.
        statistics: time between lines of the CSV file, ps.
        energies: time between lines of the table of what the potential energy is made of, ps; each costs two
            evaluations of the nonbonded MM forces and two of Lennard-Jones alone.
        polarisation: whether that table divides the QM energy further, for two QM calls per line.
        checkpoint: time between checkpoints, ps.
    """

    folder: Path = Path("output")
    trajectory: Duration = 0.02
    frames: Duration = 0.04
    statistics: Duration = 0.004
    energies: Duration = 0.0
    polarisation: bool = False
    checkpoint: Duration = 1.0


_INTERVALS = ("trajectory", "frames", "statistics", "energies", "checkpoint")


class SpeedSection(Section):
    """Measurement of the speed-up at the end of a run: alternating segments of plain QM dynamics and k-step dynamics.

    Attributes:
        time: simulated with each method per segment, ps; 0 for no measurement.
        segments: Number of segments of each method.
        plain_step: time step of the plain QM dynamics, ps.
    """

    time: Duration = 0.02
    segments: int = Field(default=3, ge=1)
    plain_step: Time = 0.0005


class RunConfig(Section):
    """What ``kstep run`` does.

    Attributes:
        system: molecules and force field.
        qm: region and method.
        surrogate: potential and the level below it; without one k must be 1.
        learn: Learning before production, which finds the surrogate and k; none by default.
        integrator: time stepping.
        equilibration: What happens before production.
        time: Length of production, ps.
        output: files.
        speed: measurement at the end.
        cache: QM results on disk; none by default.
        platform: OpenMM platform.
        threads: Threads of the CPU platform.
        seed: Seed of everything random.
    """

    system: SystemSection
    qm: QMSection
    surrogate: SurrogateSection | None = None
    learn: LearnSection | None = None
    integrator: IntegratorSection = IntegratorSection()
    equilibration: EquilibrationSection = EquilibrationSection()
    time: Time
    output: OutputSection = OutputSection()
    speed: SpeedSection = SpeedSection()
    cache: CacheSection | None = None
    platform: str = "CPU"
    threads: int = Field(default=1, ge=1)
    seed: Seed = 1

    @property
    def levels(self) -> LevelSettings:
        """Time step and periods; of plain QM dynamics where k is still to be found."""
        section = self.integrator
        if self.learn is not None:
            return LevelSettings(1, section.inner_step)
        return self._levels_at(section.k, self.surrogate)

    def _levels_at(self, k: int, surrogate: SurrogateSection | None) -> LevelSettings:
        section = self.integrator
        return level_settings(k, section.inner_step, surrogate, section.nonbonded_period, section.reciprocal_period)

    def with_learned(self, k: int, archive: Path | None) -> RunConfig:
        """The run that learning led to.

        Args:
            k: Inner steps per QM call; 1 if nothing was good enough.
            archive: What was learned; None for the levels that were there.
        """
        surrogate = self._learned_surrogate(archive) if k > 1 else None
        periods = {} if k > 1 else {"nonbonded_period": 1, "reciprocal_period": None}
        changes: dict[str, Any] = {"k": k, **periods}
        output = self.output
        if self.learn is not None and self.learn.block > 0:
            # Errors are measured, and labels kept, whatever k is.
            surrogate = self._learned_surrogate(archive)
            if k == 1:
                surrogate = surrogate.model_copy(update={"period": 1})
            output = self._fitted_output(self.learn)
            if self.integrator.metropolis == "off":
                changes["metropolis"] = "monitor"
        integrator = self.integrator.model_copy(update=changes)
        return self.model_copy(
            update={"learn": None, "surrogate": surrogate, "integrator": integrator, "output": output}
        )

    def _fitted_output(self, learn: LearnSection) -> OutputSection:
        """Output at times that are whole outer steps whatever k is."""
        step = self.integrator.inner_step
        times = {name: learn.fitted(getattr(self.output, name), step) for name in _INTERVALS}
        return self.output.model_copy(update=times)

    def _learned_surrogate(self, archive: Path | None) -> SurrogateSection:
        start = self.learning_start
        return start if archive is None else start.model_copy(update={"archive": archive})

    @property
    def learning_start(self) -> SurrogateSection:
        """The levels that learning begins with: the force field's terms where there is nothing better."""
        return SurrogateSection(base_level="force-field") if self.surrogate is None else self.surrogate

    @model_validator(mode="after")
    def _check_levels(self) -> RunConfig:
        _ = self.levels
        if self.learn is not None:
            self._check_learning(self.learn)
        return self

    def _check_learning(self, learn: LearnSection) -> None:
        if "k" in self.integrator.model_fields_set:
            raise ValueError("'integrator.k' and 'learn' exclude each other: learning finds k, of those in 'learn.k'")
        has_archive = self.surrogate is not None and self.surrogate.archive is not None
        if has_archive and learn.first_labels > 0:
            raise ValueError(
                "'surrogate.archive' and 'learn' exclude each other: learning makes the archive, beside the method in "
                "'surrogate.method' if there is one; to find the k of an archive that is there set "
                "'learn.first_labels' to 0"
            )
        if learn.first_labels == 0 and self.surrogate is None:
            raise ValueError("'learn.first_labels' 0 learns nothing, so that 'surrogate' must be given")
        if self.integrator.ensemble != "langevin":
            raise ValueError("'learn' needs a thermostat, by whose temperature errors are judged: use langevin")
        if learn.block > 0:
            self._check_times(learn)
        for k in learn.k:
            # With something to be evaluated every so many steps, which learning will make.
            learned = self.learning_start.model_copy(update={"archive": Path("learned.pt")})
            self._levels_at(k, learned)

    def _check_times(self, learn: LearnSection) -> None:
        """Times that were given must be whole outer steps for every k; defaults are made so."""
        step = self.integrator.inner_step
        given = [("output", self.output, name) for name in _INTERVALS] + [
            ("learn", learn, name) for name in ("block", "labels")
        ]
        for section, values, name in given:
            time = getattr(values, name)
            if name in values.model_fields_set and not learn.fits(time, step):
                raise ValueError(
                    f"'{section}.{name}' {1000 * time:g} fs is no whole number of outer steps for every k of 'learn.k' "
                    f"({', '.join(str(k) for k in learn.k)}), between which production may change: take a multiple of "
                    f"{1000 * learn.grid(step):g} fs, or other k, or set 'learn.block' to 0 fs for one k throughout"
                )
