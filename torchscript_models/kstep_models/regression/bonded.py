"""Bonds and angles as polynomials, dihedrals as Fourier series, and pairs that couple them: linear in the coefficients.

    U = sum_bonds sum_n a_n (r - r0)^n + sum_angles sum_n b_n (theta - theta0)^n
      + sum_dihedrals sum_n c_n cos(n phi) + d_n sin(n phi)
      + sum_pairs sum_n e_n (r - r0)^n

Pairs are atoms two or three bonds apart (Urey-Bradley terms and the like).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .internal_coordinates import (
    Coordinates,
    angles,
    dihedrals,
    find_angles,
    find_bonds,
    find_dihedrals,
    find_pairs,
    lengths,
)

BOND_ORDER = 4
ANGLE_ORDER = 3
DIHEDRAL_ORDER = 3
PAIR_ORDER = 2

# Of the angles at both ends of a dihedral, in every configuration: on a line it does not exist, and near one its
# derivatives are without bound.
_LEAST_SINE = 0.2

Array = NDArray[np.float64]
Table = NDArray[np.int64]


@dataclass(frozen=True)
class BondedTerms:
    """The terms of a bonded potential, without coefficients.

    Attributes:
        bonds, angles, dihedrals, pairs: atoms of each term [c,2], [c,3], [c,4], [c,2].
        r0, theta0, s0: where bonds, angles and pairs are expanded, nm and radians.
    """

    bonds: Table
    angles: Table
    dihedrals: Table
    pairs: Table
    r0: Array
    theta0: Array
    s0: Array

    @classmethod
    def of(cls, graph: Table, positions: Array, symmetric: bool = False) -> BondedTerms:
        """All terms of a molecular graph, expanded about the means of configurations.

        Dihedrals of which three atoms come near a line are left out.

        Args:
            graph: Bonds [b,2].
            positions: Configurations [T,n,3], nm.
            symmetric: Whether an exchange of like atoms takes every term to one that there is too, which the one
                improper dihedral of a planar centre is not.
        """
        bonds, triples, pairs = find_bonds(graph), find_angles(graph), find_pairs(graph)
        return cls(
            bonds,
            triples,
            _off_the_line(positions, find_dihedrals(graph, all_impropers=symmetric)),
            pairs,
            lengths(positions, bonds).values.mean(axis=0),
            angles(positions, triples).values.mean(axis=0),
            lengths(positions, pairs).values.mean(axis=0),
        )

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """How many coefficients there are of bonds, angles, dihedrals and pairs."""
        return (
            BOND_ORDER * len(self.bonds),
            ANGLE_ORDER * len(self.angles),
            2 * DIHEDRAL_ORDER * len(self.dihedrals),
            PAIR_ORDER * len(self.pairs),
        )

    @property
    def size(self) -> int:
        """How many coefficients there are."""
        return sum(self.sizes)

    @property
    def even(self) -> NDArray[np.bool_]:
        """Which coefficients [size] are of terms that a reflection leaves as they are: all but those of sines."""
        kept = [np.ones(size, dtype=bool) for size in self.sizes]
        kept[2].reshape(DIHEDRAL_ORDER, 2, len(self.dihedrals))[:, 1] = False
        return np.concatenate(kept)

    def split(self, coefficients: Array) -> tuple[Array, Array, Array, Array]:
        """Coefficients of bonds, angles, dihedrals (c1, d1, c2, ..) and pairs, a row for each term."""
        tables = (self.bonds, self.angles, self.dihedrals, self.pairs)
        parts = np.split(coefficients, np.cumsum(self.sizes)[:-1])
        bond, angle, dihedral, pair = (
            part.reshape(-1, len(table)).T if len(table) else np.zeros((0, 1))
            for part, table in zip(parts, tables, strict=True)
        )
        return bond, angle, dihedral, pair

    def energies(self, positions: Array, coefficients: Array) -> Array:
        """Energies [T] in kJ/mol of a fitted potential at positions [T,n,3] in nm."""
        bond, angle, dihedral, pair = self.split(coefficients)
        phi = dihedrals(positions, self.dihedrals).values
        energies = np.zeros(len(positions))
        for table, rest, rows in (
            (lengths(positions, self.bonds), self.r0, bond),
            (angles(positions, self.angles), self.theta0, angle),
            (lengths(positions, self.pairs), self.s0, pair),
        ):
            for n, row in enumerate(rows.T, start=1):
                energies += ((table.values - rest) ** n) @ row if len(table.atoms) else 0.0
        for n in range(1, DIHEDRAL_ORDER + 1 if len(self.dihedrals) else 1):
            energies += np.cos(n * phi) @ dihedral[:, 2 * n - 2] + np.sin(n * phi) @ dihedral[:, 2 * n - 1]
        return energies

    def design(self, positions: Array) -> Array:
        """Force on every coordinate per unit of each coefficient [T*3n, coefficients], for positions [T,n,3] in nm."""
        atoms = positions.shape[1]
        bond, angle = lengths(positions, self.bonds), angles(positions, self.angles)
        dihedral, pair = dihedrals(positions, self.dihedrals), lengths(positions, self.pairs)
        x, y, z = bond.values - self.r0, angle.values - self.theta0, pair.values - self.s0
        columns = [_forces(bond, n * x ** (n - 1), atoms) for n in range(1, BOND_ORDER + 1)]
        columns += [_forces(angle, n * y ** (n - 1), atoms) for n in range(1, ANGLE_ORDER + 1)]
        for n in range(1, DIHEDRAL_ORDER + 1):
            columns.append(_forces(dihedral, -n * np.sin(n * dihedral.values), atoms))
            columns.append(_forces(dihedral, n * np.cos(n * dihedral.values), atoms))
        columns += [_forces(pair, n * z ** (n - 1), atoms) for n in range(1, PAIR_ORDER + 1)]
        stacked = np.concatenate(columns, axis=1)
        return stacked.transpose(0, 2, 1).reshape(-1, self.size)


class NormalEquations:
    """Of the least-squares fit of a bonded potential to forces; any number of batches of them.

    Args:
        terms: The terms to be fitted.
    """

    batch = 40

    def __init__(self, terms: BondedTerms) -> None:
        self.terms = terms
        self._matrix = np.zeros((terms.size, terms.size))
        self._right = np.zeros(terms.size)

    def add(self, positions: Array, forces: Array) -> None:
        """Add configurations [T,n,3] in nm with forces [T,n,3] in kJ/mol/nm."""
        for start in range(0, len(positions), self.batch):
            design = self.terms.design(positions[start : start + self.batch])
            self._matrix += design.T @ design
            self._right += design.T @ forces[start : start + self.batch].ravel()

    def solve(self, ridge: float, kept: NDArray[np.bool_] | None = None) -> Array:
        """The coefficients; those that are not kept are 0.

        Args:
            ridge: Added to the diagonal, in units of each coefficient's own scale.
            kept: Which coefficients there are; None for all.
        """
        some = np.ones(self.terms.size, dtype=bool) if kept is None else kept
        diagonal = np.diag(self._matrix)
        scale = 1 / np.sqrt(diagonal[some] + 1e-12 * diagonal.max())
        small = self._matrix[np.ix_(some, some)] * scale[:, None] * scale
        small[np.diag_indices_from(small)] += ridge
        solution = np.zeros(self.terms.size)
        solution[some] = scale * np.linalg.solve(small, scale * self._right[some])
        return solution


def predicted_forces(terms: BondedTerms, coefficients: Array, positions: Array) -> Array:
    """Forces [T,n,3] in kJ/mol/nm of a fitted potential at positions [T,n,3] in nm."""
    batches = [
        (terms.design(positions[start : start + NormalEquations.batch]) @ coefficients)
        for start in range(0, len(positions), NormalEquations.batch)
    ]
    return np.concatenate(batches).reshape(positions.shape) if batches else np.zeros_like(positions)


def _forces(coordinates: Coordinates, slope: Array, atoms: int) -> Array:
    """Forces [T,c,3n] of energies whose derivatives with respect to the coordinates are ``slope`` [T,c]."""
    frames, count = slope.shape
    forces = np.zeros((frames, count, atoms, 3))
    index = np.arange(count)
    for place in range(coordinates.atoms.shape[1]):
        forces[:, index, coordinates.atoms[:, place]] -= slope[..., None] * coordinates.gradients[:, :, place]
    return forces.reshape(frames, count, 3 * atoms)


def _off_the_line(positions: Array, found: Table) -> Table:
    """The dihedrals [c,4] that exist in all configurations, with room."""
    if not len(found):
        return found
    ends = angles(positions, np.concatenate([found[:, :3], found[:, 1:]])).values
    least = np.sin(ends).min(axis=0).reshape(2, -1).min(axis=0)
    return found[least > _LEAST_SINE]
