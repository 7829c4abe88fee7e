"""Configuration of ``kstep spectrum``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from kstep_models.configuration import Section

from .quantities import Time


class LevelSection(Section):
    """Level of theory, by the names that PySCF knows; see :class:`openmmkstep.rttddft.LevelOfTheory`.

    Attributes:
        method: rhf, uhf, rks or uks.
        basis: Gaussian basis set.
        functional: for rks and uks.
        density_fitting: fit Coulomb and exchange integrals.
        grid_level: integration grid of the functional, 0 to 9.
    """

    method: Literal["rhf", "uhf", "rks", "uks"] = "rks"
    basis: str = "6-31g"
    functional: str = ""
    density_fitting: bool = False
    grid_level: int = Field(default=3, ge=0, le=9)


class ReductionSection(Section):
    """Where the functional is evaluated; see :class:`openmmkstep.rttddft.Reduction`.

    Attributes:
        tolerance: of the density's deviation, relative.
        nonlinearity: norm of the deviation at which the response is no longer linear.
        response: what is known beforehand: ``computed``, an archive of a response network, or null for nothing.
    """

    tolerance: float = Field(default=0.03, gt=0.0)
    nonlinearity: float = Field(default=2.0, gt=0.0)
    response: Literal["computed"] | Path | None = None


class SpectrumConfig(Section):
    """What ``kstep spectrum`` computes: the absorption of one or several geometries of a molecule.

    Attributes:
        geometries: file of one or more geometries, of any format that ASE reads (xyz, pdb, ...).
        charge: of the molecule in ``geometries``, e.
        multiplicity: of the molecule in ``geometries``.
        frames: instead, HDF5 file of frames from ``kstep generate`` or ``kstep run``; each in its own MM charges.
        in_vacuum: leave the MM charges of the frames out.
        kind: what the geometries are. Of an ensemble the mean matters, with its error; of a scan each one for itself.
        max_geometries: at most so many, evenly spread over the file.
        level: level of theory.
        kick: strength of the field pulse at t = 0, atomic units.
        directions: of the kicks; all three are needed for randomly oriented molecules.
        time: length of the traces, ps; lines are about 2.4/time wide (rad/ps).
        time_step: ps.
        propagator: magnus2 or cfm4.
        reduction: evaluate the functional only where it is new; null for every Fock matrix in full.
        initial_guess: archive of a response network, from whose density the SCF begins; null for PySCF's guess.
        transform: fourier, or pade, which resolves lines closer than the length of the trace allows.
        lowest, highest: of the spectrum, eV.
        spacing: of the spectrum, eV.
        workers: processes that compute geometries side by side, one thread each; 1 for none beside this one.
        scheduler: instead, the address of a running Dask scheduler, such as tcp://host:8786.
    """

    geometries: Path | None = None
    charge: int = 0
    multiplicity: int = Field(default=1, ge=1)
    frames: Path | None = None
    in_vacuum: bool = False
    kind: Literal["ensemble", "scan"] = "ensemble"
    max_geometries: int | None = Field(default=None, ge=1)
    level: LevelSection = LevelSection(functional="pbe0")
    kick: float = Field(default=1e-3, gt=0.0)
    directions: tuple[Literal["x", "y", "z"], ...] = Field(default=("x", "y", "z"), min_length=1)
    time: Time = 0.01
    time_step: Time = 5e-6
    propagator: Literal["magnus2", "cfm4"] = "magnus2"
    reduction: ReductionSection | None = ReductionSection()
    initial_guess: Path | None = None
    transform: Literal["fourier", "pade"] = "fourier"
    lowest: float = Field(default=0.0, ge=0.0)
    highest: float = Field(default=20.0, gt=0.0)
    spacing: float = Field(default=0.01, gt=0.0)
    workers: int = Field(default=1, ge=1)
    scheduler: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> SpectrumConfig:
        if (self.geometries is None) == (self.frames is None):
            raise ValueError("give either 'geometries' or 'frames'")
        if self.workers > 1 and self.scheduler is not None:
            raise ValueError("give either 'workers', which are started here, or the 'scheduler' of running ones")
        if self.time < 20 * self.time_step:
            raise ValueError(f"time {self.time:g} ps is less than 20 steps of {self.time_step:g} ps: no spectrum in it")
        if self.highest <= self.lowest + 2 * self.spacing:
            raise ValueError(f"highest {self.highest:g} eV must exceed lowest {self.lowest:g} eV by a few spacings")
        if len(set(self.directions)) != len(self.directions):
            raise ValueError("directions must differ from each other")
        if self.level.method.endswith("hf") and self.reduction is not None:
            raise ValueError("Hartree-Fock has no functional to save evaluations of: set 'reduction: null'")
        return self
