"""Free energies of torsions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kstep_models.units import BOLTZMANN
from openmmkstep.analysis.averages import block_average

KJ_PER_KCAL = 4.184


@dataclass(frozen=True)
class StateFreeEnergy:
    """Free energy of a state of a torsion over that of the rest of the circle.

    Attributes:
        population: of the state.
        transitions: between the state and the rest, in both directions.
        free_energy: -kT ln(population / rest), kcal/mol; None if one of the two was never visited.
        error: its standard error by block averaging of the population; None likewise.
    """

    population: float
    transitions: int
    free_energy: float | None
    error: float | None


def state_free_energy(
    torsion: ArrayLike, centre: float, temperature: float, half_width: float = 60.0
) -> StateFreeEnergy:
    """Free energy of the part of the circle around an angle.

    Args:
        torsion: angles over time [T], degrees.
        centre: of the state, degrees.
        temperature: K.
        half_width: of the state, degrees.

    Raises:
        ValueError: fewer than two values.
    """
    away = (np.asarray(torsion, dtype=np.float64) - centre + 180) % 360 - 180
    inside = np.abs(away) <= half_width
    average = block_average(inside)
    transitions = int(np.count_nonzero(np.diff(inside)))
    population = average.mean
    if population in (0.0, 1.0):
        return StateFreeEnergy(population, transitions, None, None)
    kt = BOLTZMANN * temperature / KJ_PER_KCAL
    error = kt * average.error / (population * (1 - population))
    return StateFreeEnergy(population, transitions, -kt * math.log(population / (1 - population)), error)


def most_visited(torsion: ArrayLike, width: float = 30.0) -> float:
    """The angle, degrees, around which a window of this width has most values [T] of a torsion."""
    values = np.asarray(torsion, dtype=np.float64)
    counts: NDArray[np.float64] = np.histogram((values + 180) % 360 - 180, np.linspace(-180, 180, 73))[0].astype(float)
    half = max(1, round(width / 10))
    padded = np.concatenate([counts[-half:], counts, counts[:half]])
    smooth = np.convolve(padded, np.ones(2 * half + 1), mode="valid")
    return float(-177.5 + 5 * np.argmax(smooth))
