"""Whether potential energies at two temperatures belong to one Hamiltonian and to these temperatures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from kstep_models.units import BOLTZMANN

from .correlation import statistical_inefficiency

_MOST_ITERATIONS = 100
_LARGEST_CHANGE = 5.0


@dataclass(frozen=True)
class TwoTemperatures:
    """ln P2(U)/P1(U) as a straight line.

    Attributes:
        slope: of maximum likelihood, mol/kJ.
        error: its standard error.
        expected: 1/kT1 - 1/kT2, which every method that samples a canonical ensemble has.
        effective_samples: what the two series are worth in independent values.
    """

    slope: float
    error: float
    expected: float
    effective_samples: tuple[float, float]

    @property
    def deviation(self) -> float:
        """Of the slope from what is expected, in standard errors."""
        return (self.slope - self.expected) / self.error


def compare_temperatures(first: ArrayLike, second: ArrayLike, temperatures: tuple[float, float]) -> TwoTemperatures:
    """Fit the ratio of two distributions of potential energy (Shirts, J. Chem. Theory Comput. 9, 909 (2013)).

    Which temperature a value comes from is a logistic regression on it; its likelihood is maximised by Newton's method.
    A value of a series counts as what it is worth in independent values.

    Args:
        first: potential energies at the first temperature [T], kJ/mol.
        second: at the second [T'].
        temperatures: K.

    Raises:
        ValueError: two equal temperatures, too few values, or distributions that do not overlap.
    """
    low, high = (np.asarray(series, dtype=np.float64) for series in (first, second))
    if temperatures[0] == temperatures[1]:
        raise ValueError(f"the test needs two temperatures that differ, not {temperatures[0]:g} K twice")
    worth = [1 / statistical_inefficiency(series) for series in (low, high)]
    energies = np.concatenate([low, high])
    is_second = np.repeat([0.0, 1.0], [len(low), len(high)])
    weights = np.repeat(worth, [len(low), len(high)])
    middle, width = energies.mean(), energies.std()
    if width == 0 or (low.max() < high.min() or high.max() < low.min()):
        raise ValueError(
            "the energies at the two temperatures do not overlap: choose temperatures nearer to each other"
        )
    basis = np.stack([np.ones_like(energies), (energies - middle) / width])
    line = np.zeros(2)
    for _ in range(_MOST_ITERATIONS):
        probability = 1 / (1 + np.exp(-np.clip(line @ basis, -500, 500)))
        gradient = basis @ (weights * (is_second - probability))
        information = (basis * (weights * probability * (1 - probability))) @ basis.T
        change = np.linalg.solve(information, gradient)
        line = line + change * min(1.0, _LARGEST_CHANGE / max(np.abs(change).max(), 1e-300))
        if np.abs(change).max() < 1e-10:
            break
    error = float(np.sqrt(np.linalg.inv(information)[1, 1]))
    kt = [BOLTZMANN * temperature for temperature in temperatures]
    effective = (len(low) * worth[0], len(high) * worth[1])
    return TwoTemperatures(float(line[1] / width), error / float(width), 1 / kt[0] - 1 / kt[1], effective)


def good_second_temperature(temperature: float, freedom: float) -> float:
    """A higher temperature at which mean energies differ by two standard deviations, where the test is sharpest.

    The energy of ``freedom`` harmonic modes has a standard deviation of kT sqrt(freedom / 2) and a heat capacity of
    k freedom / 2.

    Args:
        temperature: K.
        freedom: number of vibrations.
    """
    return temperature * (1 + 2 * float(np.sqrt(2 / max(freedom, 2.0))))
