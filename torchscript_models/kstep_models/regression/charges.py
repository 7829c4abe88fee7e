"""Charges that are linear in the inverse distances of a region, fitted to the forces on the charges around it.

    q_i(x) = a_i + sum_p b_ip (d_p(x) - mean d_p),    d_p = 1 / r_p for every pair p of atoms

The force on a charge Q_j at R_j is Q_j sum_i q_i (R_j - x_i) / |R_j - x_i|^3 in units of Coulomb's constant, linear in
a and b. Inverse distances stay finite where a bond breaks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kstep_models.units import COULOMB

from .kernel import descriptors, pull_back
from .labels import Surroundings

Array = NDArray[np.float64]
Table = NDArray[np.int64]

_RIDGE = 1e-5  # of the diagonal, in units of each coefficient's own scale


@dataclass(frozen=True)
class LinearCharges:
    """Fitted charges.

    Attributes:
        constant: a [n], e.
        slopes: b [n,D], e nm.
        centre: Mean inverse distances [D], 1/nm.
    """

    constant: Array
    slopes: Array
    centre: Array

    def at(self, positions: Array) -> Array:
        """Charges [T,n] in e at positions [T,n,3] in nm."""
        return self.constant + (descriptors(positions) - self.centre) @ self.slopes.T

    def energies(self, positions: Array, surroundings: Sequence[Surroundings]) -> Array:
        """Energy of the charges in the potential around them [T], kJ/mol."""
        potential = np.array([place.potential for place in surroundings])
        return np.asarray(np.sum(self.at(positions) * potential, axis=1))

    def forces(self, positions: Array, surroundings: Sequence[Surroundings]) -> Array:
        """Forces on the atoms of the region [T,n,3], kJ/mol/nm, those of the change of the charges among them."""
        charges = self.at(positions)
        forces = np.zeros_like(positions)
        for frame, place in enumerate(surroundings):
            moved = pull_back(positions[frame], place.potential @ self.slopes)
            forces[frame] = -charges[frame][:, None] * place.gradient - moved
        return forces


def fit_charges(
    positions: Array, surroundings: Sequence[Surroundings], total_charge: float, group: Table, follow: bool = True
) -> LinearCharges:
    """Fit to the forces on the charges around a region.

    Args:
        positions: Of the region [T,n,3], nm.
        surroundings: Of each geometry.
        total_charge: What the charges of the region sum to, e.
        group: Permutations of like atoms [P,n].
        follow: Whether charges follow the distances; else they are constant.
    """
    n = positions.shape[1]
    # The charges sum to the total whatever the coefficients: only deviations from an even distribution are free.
    deviation = np.eye(n) - 1 / n
    centre = descriptors(np.concatenate([positions[:, order] for order in group])).mean(axis=0)
    size = 1 + len(centre) if follow else 1
    matrix, right = np.zeros((n * n, size * size)), np.zeros((n, size))
    for x, place in zip(positions, surroundings, strict=True):
        field = field_of_unit_charges(x, place)
        rest = place.forces.ravel() - field.sum(axis=1) * (total_charge / n)
        designs = [field[:, order] @ deviation for order in group]
        distances = descriptors(np.array([x[order] for order in group])) - centre
        features = np.concatenate([np.ones((len(group), 1)), distances], axis=1)[:, :size]
        squares = np.array([(design.T @ design).ravel() for design in designs])
        matrix += squares.T @ (features[:, :, None] * features[:, None]).reshape(len(group), -1)
        right += np.array([design.T @ rest for design in designs]).T @ features
    square = matrix.reshape(n, n, size, size).transpose(0, 2, 1, 3).reshape(n * size, n * size)
    scale = 1 / np.sqrt(np.diag(square) + 1e-12 * np.diag(square).max())
    square *= scale[:, None] * scale
    square[np.diag_indices_from(square)] += _RIDGE
    solution = deviation @ (scale * np.linalg.solve(square, scale * right.ravel())).reshape(n, size)
    slopes = solution[:, 1:] if follow else np.zeros((n, len(centre)))
    return LinearCharges(solution[:, 0] + total_charge / n, slopes, centre)


def field_of_unit_charges(positions: Array, place: Surroundings) -> Array:
    """Forces on the charges around a region per unit charge on each of its atoms [3m,n], kJ/mol/nm/e."""
    difference = place.positions[:, None] - positions
    distance = np.linalg.norm(difference, axis=-1)[..., None]
    field = COULOMB * place.charges[:, None, None] * difference / distance**3
    return np.asarray(field.transpose(0, 2, 1).reshape(-1, len(positions)))
