"""Configuration of ``kstep validate ensemble``."""

from __future__ import annotations

from pydantic import Field, model_validator

from kstep_models.configuration import Section

from .quantities import Duration, Length, Rate, Temperature, Time


class EnsembleSection(Section):
    """Ensembles of k-step dynamics beside those of plain QM dynamics and of the surrogate alone.

    All runs have the same Langevin thermostat, so that each has a canonical ensemble of its own; lengths are after what
    is discarded. They may be made longer later: what has been sampled is kept.

    Attributes:
        ks: values of k.
        time: length of each k-step run, and of the surrogate alone, ps.
        plain_time: length of each of the two plain QM runs, ps; these are the costly ones, and the noise floor.
        plain_step: time step of plain QM dynamics, ps.
        discard: thrown away at the beginning of each run, ps.
        friction: of the thermostat, 1/ps; a strong one makes kinetic energies independent sooner, a weak one leaves
            sharper peaks in spectra (they are friction / (2 pi c) wide, 27 cm-1 at 5 /ps).
        nonbonded_period: inner steps between nonbonded MM forces in k-step dynamics; plain dynamics has them at every
            step.
        surrogate_alone: also run the surrogate without QM, which says what the QM calls are needed for.
        two_temperatures: also run each k at a second temperature, for the test of Shirts.
        second_temperature: K; if none, the one at which energies differ by two standard deviations.
        normal_modes: kinetic energies of the normal modes, whose Hessian takes six QM calls per atom after a
            minimisation.
        velocity_interval: between velocities of the QM region, ps; at most 4 fs for a spectrum with X-H stretches.
        frame_interval: between configurations, ps; rounded to whole outer steps.
        segment: length of the pieces of which a spectrum is the mean, ps; it resolves 33 / segment cm-1.
        radial_distance: largest distance of solvent from atoms of the region, nm; at most half the box.
        checkpoint: sampled between checkpoints, ps; a run that was killed goes on from its last.
    """

    ks: tuple[int, ...] = Field(default=(8,), min_length=1)
    time: Time = 40.0
    plain_time: Time = 20.0
    plain_step: Time = 0.0005
    discard: Duration = 1.0
    friction: Rate = Field(default=5.0, gt=0)
    nonbonded_period: int = Field(default=1, ge=1)
    surrogate_alone: bool = True
    two_temperatures: bool = True
    second_temperature: Temperature | None = None
    normal_modes: bool = True
    velocity_interval: Time = 0.001
    frame_interval: Time = 0.01
    segment: Time = 2.0
    radial_distance: Length = 0.8
    checkpoint: Time = 0.5

    @model_validator(mode="after")
    def _each_once(self) -> EnsembleSection:
        if len(set(self.ks)) != len(self.ks):
            raise ValueError(f"ks has a value twice: {', '.join(map(str, self.ks))}")
        if self.velocity_interval > 0.004:
            raise ValueError(
                f"'velocity_interval' ({1000 * self.velocity_interval:g} fs) must be at most 4 fs, or vibrations of "
                "hydrogen are taken for slower ones"
            )
        return self
