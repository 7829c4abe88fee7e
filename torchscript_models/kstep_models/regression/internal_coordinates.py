"""Bond lengths, angles and dihedrals of many configurations, with their derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Table = NDArray[np.int64]


@dataclass(frozen=True)
class Coordinates:
    """Values of internal coordinates of one kind.

    Attributes:
        atoms: the atoms of each coordinate [c,m].
        values: [T,c], nm or radians.
        gradients: derivatives with respect to these atoms [T,c,m,3].
    """

    atoms: Table
    values: Array
    gradients: Array


def find_bonds(bonds: Table) -> Table:
    """Bonds [c,2] with the lower index first, sorted."""
    return _table(sorted((int(min(bond)), int(max(bond))) for bond in bonds), 2)


def find_angles(bonds: Table) -> Table:
    """All angles [c,3] between bonds, the central atom in the middle."""
    around = _neighbours(bonds)
    return _table([(i, centre, j) for centre in sorted(around) for i, j in combinations(around[centre], 2)], 3)


def find_dihedrals(bonds: Table, all_impropers: bool = False) -> Table:
    """All proper dihedrals [c,4], and one or all three impropers for each atom with three neighbours (that atom third).

    The impropers that differ by the sign of the angle count as one.
    """
    around = _neighbours(bonds)
    found = [
        (i, int(b), int(c), j)
        for b, c in find_bonds(bonds)
        for i in around[int(b)]
        for j in around[int(c)]
        if i != c and j != b and i != j
    ]
    for centre, n in sorted(around.items()):
        if len(n) == 3:
            found.append((n[0], n[1], centre, n[2]))
            if all_impropers:
                found += [(n[0], n[2], centre, n[1]), (n[1], n[0], centre, n[2])]
    return _table(found, 4)


def find_pairs(bonds: Table) -> Table:
    """All two atoms [c,2] whose shortest way to each other has two or three bonds, sorted."""
    around = _neighbours(bonds)
    found = set()
    for start in around:
        near, front = {start}, {start}
        for distance in (1, 2, 3):
            front = {j for i in front for j in around[i]} - near
            near |= front
            if distance > 1:
                found |= {(start, j) for j in front if start < j}
    return _table(sorted(found), 2)


def lengths(positions: Array, atoms: Table) -> Coordinates:
    """Distances between two atoms; positions [T,n,3] in nm."""
    difference = positions[:, atoms[:, 0]] - positions[:, atoms[:, 1]]
    value = np.linalg.norm(difference, axis=2)
    unit = difference / value[..., None]
    return Coordinates(atoms, value, np.stack([unit, -unit], axis=2))


def angles(positions: Array, atoms: Table) -> Coordinates:
    """Angles at the middle of three atoms, radians."""
    first = positions[:, atoms[:, 0]] - positions[:, atoms[:, 1]]
    second = positions[:, atoms[:, 2]] - positions[:, atoms[:, 1]]
    a, b = np.linalg.norm(first, axis=2)[..., None], np.linalg.norm(second, axis=2)[..., None]
    cosine = np.clip(np.sum(first * second, axis=2)[..., None] / (a * b), -1.0, 1.0)
    # Bounded from below: at 180 degrees the derivative of the angle does not exist.
    sine = np.sqrt(np.maximum(1 - cosine**2, 1e-12))
    left = (cosine * first / a - second / b) / (a * sine)
    right = (cosine * second / b - first / a) / (b * sine)
    return Coordinates(atoms, np.arccos(cosine[..., 0]), np.stack([left, -left - right, right], axis=2))


def dihedrals(positions: Array, atoms: Table) -> Coordinates:
    """Dihedral angles of four atoms, radians, IUPAC sign.

    Derivatives after Blondel and Karplus, J. Comput. Chem. 17, 1132 (1996).
    """
    f = positions[:, atoms[:, 0]] - positions[:, atoms[:, 1]]
    g = positions[:, atoms[:, 1]] - positions[:, atoms[:, 2]]
    h = positions[:, atoms[:, 3]] - positions[:, atoms[:, 2]]
    a, b = np.cross(f, g), np.cross(h, g)
    norm = np.linalg.norm(g, axis=2)[..., None]
    aa, bb = np.sum(a * a, axis=2)[..., None], np.sum(b * b, axis=2)[..., None]
    value = np.arctan2(np.sum(np.cross(b, a) * g, axis=2) / norm[..., 0], np.sum(a * b, axis=2))
    fg, hg = np.sum(f * g, axis=2)[..., None], np.sum(h * g, axis=2)[..., None]
    first, last = -norm / aa * a, norm / bb * b
    middle = fg / (aa * norm) * a - hg / (bb * norm) * b
    return Coordinates(atoms, value, np.stack([first, -first + middle, -last - middle, last], axis=2))


def _neighbours(bonds: Table) -> dict[int, list[int]]:
    around: dict[int, list[int]] = {}
    for i, j in bonds:
        around.setdefault(int(i), []).append(int(j))
        around.setdefault(int(j), []).append(int(i))
    return {atom: sorted(others) for atom, others in around.items()}


def _table(rows: Sequence[tuple[int, ...]], width: int) -> Table:
    return np.array(rows, dtype=np.int64).reshape(-1, width)
