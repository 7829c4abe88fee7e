"""Configuration of ``kstep bench-spectrum``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from pydantic import Field, model_validator

from kstep_models.configuration import Section

from .quantities import Time
from .spectrum import LevelSection, ReductionSection

Comparison = Literal["static_fock", "dynamic_modes", "esprit", "linear_response"]
COMPARISONS: tuple[str, ...] = get_args(Comparison)
REFERENCE = "reference"
"""The name of the full propagation in the results."""


class PulseSection(Section):
    """A pulse with a Gaussian envelope, along each of the directions in turn.

    Attributes:
        amplitude: largest field, atomic units.
        photon_energy: of the carrier, eV; zero for none.
        center: time of the maximum, ps.
        width: standard deviation of the envelope, ps.
    """

    amplitude: float = Field(gt=0.0)
    photon_energy: float = Field(default=0.0, ge=0.0)
    center: Time
    width: Time


class SpectrumBenchCase(Section):
    """One molecule in one kind of field.

    Attributes:
        geometry: file whose first geometry is taken, of any format that ASE reads.
        charge: e.
        multiplicity: 2S+1.
        level: level of theory, with a functional.
        reductions: of the reduced propagations, by the name they have in the results.
        kick: strength of the field pulse at t = 0, atomic units; leave it out for a pulse.
        pulse: instead of the kick.
        directions: of the kicks or pulses.
        reference_directions: those of them for which the reference propagation is run; null for all. Times of the
            others are taken to be the same.
        reference_steps: that the reference propagation is run for; null for all. Times are extrapolated.
        comparisons: other methods to measure; those that continue a trajectory need its beginning (80 and 100 atomic
            units) from the reference, and all but static_fock a kick.
    """

    geometry: Path
    charge: int = 0
    multiplicity: int = Field(default=1, ge=1)
    level: LevelSection = LevelSection(functional="pbe0")
    reductions: dict[str, ReductionSection] = Field(default={"reduced": ReductionSection()}, min_length=1)
    kick: float | None = Field(default=None, gt=0.0)
    pulse: PulseSection | None = None
    directions: tuple[Literal["x", "y", "z"], ...] = Field(default=("x", "y", "z"), min_length=1)
    reference_directions: tuple[Literal["x", "y", "z"], ...] | None = Field(default=None, min_length=1)
    reference_steps: int | None = Field(default=None, ge=1)
    comparisons: tuple[Comparison, ...] = ()

    @property
    def compared_directions(self) -> tuple[str, ...]:
        """Directions that the reference is run for."""
        return self.directions if self.reference_directions is None else self.reference_directions

    @model_validator(mode="after")
    def _consistent(self) -> SpectrumBenchCase:
        if (self.kick is None) == (self.pulse is None):
            raise ValueError("give either 'kick' or 'pulse'")
        if not set(self.compared_directions) <= set(self.directions):
            raise ValueError("reference_directions must be among the directions")
        for name in ("directions", "compared_directions"):
            if len(set(getattr(self, name))) != len(getattr(self, name)):
                raise ValueError("directions must differ from each other")
        if not self.level.functional:
            raise ValueError("the reduction saves evaluations of the functional: level.functional is missing")
        taken = sorted(set(self.reductions) & {REFERENCE, *COMPARISONS})
        if taken:
            raise ValueError(f"a reduction needs another name than {taken[0]}, which is that of another method")
        if self.kick is None and set(self.comparisons) - {"static_fock"}:
            raise ValueError(
                "in a pulse only static_fock can be compared: the others continue free motion after a kick"
            )
        return self


class SpectrumBenchConfig(Section):
    """What ``kstep bench-spectrum`` measures.

    Attributes:
        cases: by name.
        steps: of every trace.
        time_step: ps.
        propagator: magnus2 or cfm4.
        lowest, highest: of the spectra that are compared, eV.
        spacing: of the spectra, eV.
    """

    cases: dict[str, SpectrumBenchCase] = Field(min_length=1)
    steps: int = Field(default=1000, ge=20)
    time_step: Time = 5e-6
    propagator: Literal["magnus2", "cfm4"] = "magnus2"
    lowest: float = Field(default=0.0, ge=0.0)
    highest: float = Field(default=25.0, gt=0.0)
    spacing: float = Field(default=0.01, gt=0.0)

    @model_validator(mode="after")
    def _consistent(self) -> SpectrumBenchConfig:
        if self.highest <= self.lowest + 2 * self.spacing:
            raise ValueError(f"highest {self.highest:g} eV must exceed lowest {self.lowest:g} eV by a few spacings")
        for name, case in self.cases.items():
            if case.reference_steps is not None and case.reference_steps > self.steps:
                raise ValueError(f"cases.{name}.reference_steps {case.reference_steps} is more than steps {self.steps}")
        return self
