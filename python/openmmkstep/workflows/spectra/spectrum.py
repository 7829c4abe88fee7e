"""From the configuration of ``kstep spectrum`` to its results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from openmmkstep.provenance import machine_info
from openmmkstep.rttddft.ensembles.geometries import read_frames, read_geometries, thinned
from openmmkstep.rttddft.ensembles.saved_absorptions import SavedAbsorptions
from openmmkstep.rttddft.ensembles.scan import absorptions
from openmmkstep.rttddft.ensembles.workers import (
    GeometryWorkers,
    InProcess,
    LocalProcesses,
    RunningScheduler,
    errors_of,
)
from openmmkstep.rttddft.errors import ElectronDynamicsError
from openmmkstep.rttddft.learned.initial_guess import InitialGuess
from openmmkstep.rttddft.observables.absorption import Absorption, AbsorptionSettings, Geometry
from openmmkstep.rttddft.observables.spectrum import peaks
from openmmkstep.rttddft.systems.level_of_theory import LevelOfTheory
from openmmkstep.rttddft.units import EV_PER_HARTREE
from openmmkstep.workflows.config.spectrum import SpectrumConfig

from .from_config import level_from, propagator_from, reduction_from

SCHEMA = "kstep-spectrum"
VERSION = 1


@dataclass(frozen=True)
class SpectrumRun:
    """A checked computation.

    Attributes:
        config: as read.
        geometries: all of one molecule, by their numbers in the file.
        settings: common to all.
    """

    config: SpectrumConfig
    geometries: dict[int, Geometry]
    settings: AbsorptionSettings

    @property
    def workers(self) -> GeometryWorkers:
        """As configured."""
        if self.config.scheduler is not None:
            return RunningScheduler(self.config.scheduler)
        return LocalProcesses(self.config.workers) if self.config.workers > 1 else InProcess()

    def compute(self, log: Callable[[int], None], saved: SavedAbsorptions | None = None) -> dict[str, Any]:
        """All spectra, as JSON values, see the keys below.

        Args:
            log: called with the number of finished geometries.
            saved: where finished ones are kept; None for nowhere.

        Raises:
            See :func:`.scan.absorptions`.
        """
        numbered = absorptions(self.geometries, self.settings, log, self.workers, saved)
        results = list(numbered.values())
        energy = self.settings.frequencies * EV_PER_HARTREE
        strengths = np.stack([result.strength for result in results]) / EV_PER_HARTREE
        mean = strengths.mean(axis=0)
        error = strengths.std(axis=0, ddof=1) / np.sqrt(len(results)) if len(results) > 1 else np.zeros_like(mean)
        # The factor of the frequency would move the maxima.
        lines = peaks(energy, mean / np.maximum(energy, energy[1] - energy[0]), 0.02)
        return {
            "schema": SCHEMA,
            "version": VERSION,
            "molecule": next(iter(self.geometries.values())).molecule.name,
            "label": _label(self.settings.level),
            "configuration": self.config.written(),
            "energy_ev": energy.tolist(),
            "mean_per_ev": mean.tolist(),
            "standard_error_per_ev": error.tolist(),
            "lines": [
                {"energy_ev": float(line), "strength_per_ev": float(np.interp(line, energy, mean))} for line in lines
            ],
            "geometries": [{"number": number, **_described(result)} for number, result in numbered.items()],
            "fock_builds": sum(result.fock_builds for result in results),
            "seconds": sum(result.seconds for result in results),
            "machine": machine_info(),
        }


def prepare_spectrum(config: SpectrumConfig) -> SpectrumRun:
    """Read the geometries and check everything, before any expensive work.

    Args:
        config: what to compute.

    Raises:
        ElectronDynamicsError: no such file, no geometry in it, a molecule that the level of theory does not suit.
        FrameFileError: not a file of frames.
        MissingDependencyError: PySCF or ASE is not installed.
    """
    if config.frames is not None:
        geometries = read_frames(config.frames, config.in_vacuum)
    elif config.geometries is not None:
        geometries = read_geometries(config.geometries, config.charge, config.multiplicity)
    else:
        raise ElectronDynamicsError("give either geometries or frames")
    kept = thinned(geometries, config.max_geometries)
    level = level_from(config.level)
    energy = np.arange(config.lowest, config.highest + 0.5 * config.spacing, config.spacing)
    settings = AbsorptionSettings(
        level=level,
        propagator=propagator_from(config.propagator, config.time_step, config.kick),
        steps=round(config.time / config.time_step),
        kick=config.kick,
        directions=config.directions,
        frequencies=energy / EV_PER_HARTREE,
        reduction=None if config.reduction is None else reduction_from(config.reduction),
        pade=config.transform == "pade",
        initial_guess=None if config.initial_guess is None else InitialGuess(str(config.initial_guess)),
    )
    # A geometry that the level of theory does not suit should not cost what was computed before it.
    for number, geometry in kept.items():
        with errors_of(number):
            level.check(geometry.molecule)
            if settings.reduction is not None:
                settings.reduction.check(geometry.molecule, level)
            if settings.initial_guess is not None:
                settings.initial_guess.check(geometry.molecule, level)
            if geometry.environment is not None:
                geometry.environment.check(geometry.molecule)
    return SpectrumRun(config, kept, settings)


def _label(level: LevelOfTheory) -> str:
    name = level.functional.upper() if level.is_kohn_sham else level.method.upper()
    return f"{name}/{level.basis}"


def _described(result: Absorption) -> dict[str, Any]:
    return {
        "strength_per_ev": (result.strength / EV_PER_HARTREE).tolist(),
        "lines_ev": (result.lines * EV_PER_HARTREE).tolist(),
        "ground_energy_hartree": result.ground_energy,
        "fock_builds": result.fock_builds,
        "seconds": result.seconds,
        "estimated_dipole_error": result.estimated_error,
    }
