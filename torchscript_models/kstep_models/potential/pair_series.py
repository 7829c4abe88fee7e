"""A pair potential fitted to forces, which the network improves upon.

    U = sum_pairs sum_n c_n z^n,    z = (r - mean) / spread of the pair's class

with n up to 4 for bonded atoms, 3 for atoms two bonds apart and 2 for three bonds. It is linear in its coefficients, so
that fitting it is one least-squares problem of seconds. What is left for the network is the fifth part of the forces
(alanine dipeptide: 170 of 900 meV/A), and without the stiff part, which a network learns last and least accurately. Far
outside the data it is as wrong as any polynomial; the integrator's guard is there for that.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kstep_models.potential.topology import Topology

FloatArray = NDArray[np.float64]

ORDER = 4
# Distance in bonds -> highest power.
_POWERS = {1: 4, 2: 3, 3: 2}
_MOST_FRAMES = 2000
_BLOCK = 20
# Of the diagonal, in units of each coefficient's own scale.
_RIDGE = 1e-5


def fit_pair_series(
    topology: Topology, mean: FloatArray, spread: FloatArray, positions: FloatArray, forces: FloatArray
) -> FloatArray:
    """Coefficients c_n [ORDER,n,n] in kJ/mol, symmetric and zero where there is no term.

    Args:
        topology: the molecule, n atoms; pairs of one class share their coefficients.
        mean: of each distance [n,n], nm.
        spread: of each distance [n,n], nm.
        positions: [T,n,3] nm; thinned evenly to some 2,000 frames.
        forces: [T,n,3] kJ/mol/nm, without those of an environment.
    """
    n = len(topology.numbers)
    first, second = np.triu_indices(n, 1)
    highest = np.array([_POWERS.get(int(d), 0) for d in topology.bond_distance[first, second]])
    first, second, highest = first[highest > 0], second[highest > 0], highest[highest > 0]
    coefficients = np.zeros((ORDER, n, n))
    if len(first) == 0 or len(positions) == 0:
        return coefficients
    classes = topology.undirected_pair_class()[first, second]
    columns: dict[tuple[int, int], int] = {}
    column = np.full((ORDER, len(first)), -1)
    for power in range(1, ORDER + 1):
        for pair in np.flatnonzero(highest >= power):
            column[power - 1, pair] = columns.setdefault((power, int(classes[pair])), len(columns))
    step = max(1, -(-len(positions) // _MOST_FRAMES))
    matrix, right = np.zeros((len(columns), len(columns))), np.zeros(len(columns))
    for start in range(0, len(positions), step * _BLOCK):
        block = slice(start, start + step * _BLOCK, step)
        design = _forces_per_coefficient(positions[block], first, second, mean, spread, column, len(columns))
        matrix += design @ design.T
        right += design @ forces[block].ravel()
    scale = 1 / np.sqrt(np.diag(matrix) + 1e-12 * np.diag(matrix).max())
    matrix = matrix * scale[:, None] * scale
    matrix[np.diag_indices_from(matrix)] += _RIDGE
    solution = scale * np.linalg.solve(matrix, scale * right)
    for power in range(ORDER):
        has = column[power] >= 0
        coefficients[power, first[has], second[has]] = solution[column[power, has]]
    return coefficients + coefficients.transpose(0, 2, 1)


def pair_series_energy(
    coefficients: FloatArray, mean: FloatArray, spread: FloatArray, positions: FloatArray
) -> FloatArray:
    """U of each frame [T], kJ/mol, for positions [T,n,3] in nm."""
    energies = np.zeros(len(positions))
    for index, x in enumerate(positions):
        z = (np.linalg.norm(x[:, None] - x[None], axis=-1) - mean) / spread
        energies[index] = 0.5 * sum(float((c * z**n).sum()) for n, c in enumerate(coefficients, start=1))
    return energies


def _forces_per_coefficient(
    positions: FloatArray,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    mean: FloatArray,
    spread: FloatArray,
    column: NDArray[np.int64],
    count: int,
) -> FloatArray:
    """Forces per unit of each coefficient [count, T*n*3]."""
    difference = positions[:, first] - positions[:, second]
    r = np.linalg.norm(difference, axis=-1)
    unit = difference / r[..., None]
    width = spread[first, second]
    z = (r - mean[first, second]) / width
    design = np.zeros((count, *positions.shape))
    for power in range(1, ORDER + 1):
        pull = (power * z ** (power - 1) / width)[..., None] * unit
        for pair in np.flatnonzero(column[power - 1] >= 0):
            target = design[column[power - 1, pair]]
            target[:, first[pair]] -= pull[:, pair]
            target[:, second[pair]] += pull[:, pair]
    return design.reshape(count, -1)
