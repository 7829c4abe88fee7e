"""Absorption of randomly oriented molecules: three kicks for one geometry."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openmmkstep.rttddft.learned.initial_guess import InitialGuess
from openmmkstep.rttddft.propagation.fields import DeltaKick
from openmmkstep.rttddft.propagation.propagators import Propagator
from openmmkstep.rttddft.reduction.reduced_hamiltonian import Reduction
from openmmkstep.rttddft.simulation import ElectronDynamics
from openmmkstep.rttddft.systems.level_of_theory import LevelOfTheory
from openmmkstep.rttddft.systems.molecule import Molecule
from openmmkstep.rttddft.systems.point_charges import PointCharges

from .spectrum import dipole_strength, pade_polarizability, peaks, polarizability

RealArray = NDArray[np.float64]

AXES = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}
# Maxima below this fraction of the highest are ripples or lines that nobody would name.
_PEAK_THRESHOLD = 0.02


@dataclass(frozen=True)
class Absorption:
    """Absorption of one geometry; atomic units.

    Attributes:
        strength: dipole strength function [W]; the integral over all frequencies is the number of electrons.
        lines: places of the maxima of Im Tr alpha.
        ground_energy: hartree.
        fock_builds: of all kicks; with a reduction, evaluations of the functional.
        seconds: wall time, integrals and ground state included.
        estimated_error: with a reduction, the largest relative error that is expected of the dipole after a kick; None
            where there is none to be told.
    """

    strength: RealArray
    lines: RealArray
    ground_energy: float
    fock_builds: int
    seconds: float
    estimated_error: float | None = None


@dataclass(frozen=True)
class AbsorptionSettings:
    """What is common to all geometries; atomic units.

    Attributes:
        level: level of theory.
        propagator: scheme and time step.
        steps: of every trace.
        kick: strength.
        directions: of the kicks, names in AXES. The polarisabilities of those left out are taken to be their average.
        frequencies: of the spectrum [W], equally spaced.
        reduction: None for every Fock matrix in full.
        pade: Pade approximants instead of the Fourier sum.
        initial_guess: where the SCF begins; None for PySCF's guess.
    """

    level: LevelOfTheory
    propagator: Propagator
    steps: int
    kick: float
    directions: tuple[str, ...]
    frequencies: RealArray
    reduction: Reduction | None = None
    pade: bool = False
    initial_guess: InitialGuess | None = None


@dataclass(frozen=True)
class Geometry:
    """One geometry of a molecule.

    Attributes:
        molecule: nuclei and electrons.
        environment: charges around it; None for vacuum.
    """

    molecule: Molecule
    environment: PointCharges | None = None


def absorption(geometry: Geometry, settings: AbsorptionSettings) -> Absorption:
    """The absorption of a molecule, in vacuum or in the field of charges.

    With a reduction, each kick begins with the evaluations of the functional that those before it needed. All keep to
    the same tolerance; in which order the kicks come matters within it.

    Raises:
        ElectronDynamicsError: level of theory and molecule do not go together.
        ConvergenceError: ground state or propagation.
        MissingDependencyError: PySCF is not installed.
    """
    begin = time.perf_counter()
    quiet = ElectronDynamics(
        geometry.molecule,
        settings.level,
        settings.propagator,
        reduction=settings.reduction,
        environment=geometry.environment,
        initial_guess=None if settings.initial_guess is None else settings.initial_guess.archive,
    )
    induced, builds, errors = [], 0, []
    for name in settings.directions:
        axis = AXES[name]
        # What one kick shows of the functional, the next need not find out again.
        series = quiet.kicked(DeltaKick(settings.kick, axis), sharing=True).run(settings.steps)
        builds += int(series.fock_builds.sum())
        if series.accuracy is not None and series.accuracy.estimated is not None:
            errors.append(series.accuracy.estimated)
        induced.append(series.dipole @ np.array(axis))
    trace = _summed(settings, series.time, np.stack(induced, axis=1)) * (3.0 / len(settings.directions))
    return Absorption(
        dipole_strength(settings.frequencies, trace),
        peaks(settings.frequencies, trace.imag, _PEAK_THRESHOLD),
        quiet.ground_state.energy,
        builds,
        time.perf_counter() - begin,
        max(errors, default=None),
    )


def _summed(settings: AbsorptionSettings, time: RealArray, induced: RealArray) -> NDArray[np.complex128]:
    """Sum of the polarisabilities [W] of induced dipoles [T, directions]."""
    if not settings.pade:
        return polarizability(time, induced.sum(axis=1), settings.kick, settings.frequencies)
    # Each direction has fewer lines than the sum, which an approximant tells apart the better.
    parts = [pade_polarizability(time, column, settings.kick, settings.frequencies) for column in induced.T]
    return np.sum(parts, axis=0)
