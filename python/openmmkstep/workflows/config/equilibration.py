"""What ``kstep run`` does before production: minimisation, and stages of dynamics with the force field.

For example, heat with the solute held, let the box find its density, and let go::

    equilibration:
      stages:
        - {time: 20 ps, start_temperature: 20 K, restraints: [{atoms: solute, force_constant: 1000 kJ/mol/nm^2}]}
        - {time: 50 ps, pressure: 1 bar, restraints: [{atoms: backbone, force_constant: 200 kJ/mol/nm^2}]}
        - {time: 50 ps, pressure: 1 bar}
      kstep: 0.4 ps
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, model_validator

from kstep_models.configuration import Section
from kstep_models.quantities import positive, quantity_reader

from .quantities import Duration, Pressure, Rate, Temperature, Time

# kcal is the thermochemical one.
_FORCE_CONSTANT = {"kJ/mol/nm^2": 1.0, "kJ/mol/A^2": 100.0, "kcal/mol/A^2": 418.4, "kcal/mol/nm^2": 4.184}

ForceConstant = Annotated[float, BeforeValidator(quantity_reader(_FORCE_CONSTANT, None)), AfterValidator(positive)]
"""A positive force constant K of K/2 r^2, kJ/mol/nm^2."""


class RestraintSection(Section):
    """Atoms held where the built system has them, by K/2 r^2.

    Attributes:
        atoms: Selection or indices, as for the QM region.
        force_constant: K, kJ/mol/nm^2. Amber and CHARMM write K r^2: theirs is half of it.
    """

    atoms: str | tuple[int | str, ...]
    force_constant: ForceConstant


class StageSection(Section):
    """Langevin dynamics with the force field.

    Attributes:
        time: ps.
        temperature: At the end, K; that of production if not given.
        start_temperature: At the beginning, K, from where it rises evenly; the same as at the end if not given.
        pressure: Of a Monte Carlo barostat, bar; constant volume if not given.
        restraints: Atoms held in place.
        time_step: ps.
        friction: Of the thermostat, 1/ps; strong by default, because it is only there to equilibrate.
    """

    time: Time
    temperature: Temperature | None = None
    start_temperature: Temperature | None = None
    pressure: Pressure | None = None
    restraints: tuple[RestraintSection, ...] = ()
    time_step: Time = 0.001
    friction: Rate = 5.0

    @model_validator(mode="after")
    def _at_least_a_step(self) -> StageSection:
        # The last digits of 2 fs may differ from those of 0.002 ps.
        if self.time < 0.999 * self.time_step:
            raise ValueError(f"'time' ({self.time:g} ps) is shorter than 'time_step' ({self.time_step:g} ps)")
        return self


class EquilibrationSection(Section):
    """Before production.

    Attributes:
        minimise: whether to minimise the force field's energy first, with the restraints of the first stage.
        force_field: Short for one stage of this time, ps, at constant volume and the temperature of production.
        stages: Dynamics with the force field, one after the other; the box and velocities of the last go on. An empty
            list is no dynamics.
        kstep: k-step dynamics with the ensemble of production, ps.
    """

    minimise: bool = True
    force_field: Duration = 5.0
    stages: tuple[StageSection, ...] | None = None
    kstep: Duration = 0.4

    @model_validator(mode="after")
    def _one_of_both(self) -> EquilibrationSection:
        if self.stages is not None and "force_field" in self.model_fields_set:
            raise ValueError("'force_field' is short for one stage: leave it out where 'stages' are given")
        return self

    @property
    def all_stages(self) -> tuple[StageSection, ...]:
        """The stages, with the short form written out."""
        if self.stages is not None:
            return self.stages
        if self.force_field == 0:
            return ()
        return (StageSection.model_construct(time=self.force_field),)
