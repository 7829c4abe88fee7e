"""Kinetic energies: equipartition, and the distribution that the canonical ensemble has.

What they are given matters. Velocities at the ends of BAOAB steps are too cold in fast modes, by (w d)^2 / 4 for an
inner step d, whatever the forces (Leimkuhler and Matthews, J. Chem. Phys. 138, 174102 (2013)). In the middle of the
drift, between the two half drifts, a harmonic mode has exactly its temperature.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from kstep_models.units import BOLTZMANN
from openmmkstep.analysis.averages import block_average

from .correlation import statistical_inefficiency


@dataclass(frozen=True)
class Equipartition:
    """Mean kinetic energy of some degrees of freedom over what the temperature gives them.

    Attributes:
        freedom: degrees of freedom.
        ratio: 1 where equipartition holds.
        error: its standard error by block averaging, or from the variance of the canonical ensemble and the correlation
            of the series if that is more: a mode that happened to be cold fluctuated little.
    """

    freedom: float
    ratio: float
    error: float


def equipartition(doubled_kinetic: ArrayLike, freedom: float, temperature: float) -> Equipartition:
    """The equipartition ratio.

    Args:
        doubled_kinetic: twice the kinetic energy of all these degrees of freedom over time [T], kJ/mol.
        freedom: their number.
        temperature: K.

    Raises:
        ValueError: no degrees of freedom, or fewer than two values.
    """
    if freedom <= 0:
        raise ValueError("equipartition needs degrees of freedom")
    ratios = np.asarray(doubled_kinetic, dtype=np.float64) / (freedom * BOLTZMANN * temperature)
    average = block_average(ratios)
    canonical = math.sqrt(2 / freedom * statistical_inefficiency(ratios) / len(ratios))
    return Equipartition(freedom, average.mean, max(average.error, canonical))


@dataclass(frozen=True)
class KineticDistribution:
    """How well kinetic energies follow the gamma distribution with half the degrees of freedom.

    Attributes:
        distance: largest difference of the cumulative distributions (Kolmogorov and Smirnov).
        effective_samples: what the series is worth in independent values.
        p_value: probability of a distance as large where the distribution is right.
        variance_ratio: variance over that of the canonical ensemble, freedom / 2 (kT)^2.
    """

    distance: float
    effective_samples: float
    p_value: float
    variance_ratio: float


def kinetic_distribution(kinetic: ArrayLike, freedom: float, temperature: float) -> KineticDistribution:
    """Test kinetic energies against the canonical ensemble.

    All values enter the cumulative distribution; its distance counts as one of as many values as are independent.

    Args:
        kinetic: kinetic energy of all degrees of freedom over time [T], kJ/mol.
        freedom: their number.
        temperature: K.

    Raises:
        ValueError: no degrees of freedom, or fewer than two values.
    """
    if freedom <= 0:
        raise ValueError("a distribution of kinetic energies needs degrees of freedom")
    values = np.asarray(kinetic, dtype=np.float64)
    effective = len(values) / statistical_inefficiency(values)
    expected = stats.gamma(freedom / 2, scale=BOLTZMANN * temperature)
    distance = float(stats.kstest(values, expected.cdf).statistic)
    p_value = float(stats.kstwo.sf(distance, max(1, math.floor(effective))))
    return KineticDistribution(distance, effective, p_value, float(values.var() / expected.var()))
