"""Exchanges of like atoms at the ends of a molecule, under which its energy does not change."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .connectivity import Connectivity

Table = NDArray[np.int64]


def equivalent_ends(numbers: NDArray[np.int64], bonds: Table) -> list[list[int]]:
    """Sets of atoms of one element that are bonded to the same single atom and to nothing else, largest first.

    Args:
        numbers: Atomic numbers [n].
        bonds: Molecular graph [b,2].
    """
    neighbours: dict[int, list[int]] = {}
    for i, j in bonds.tolist():
        neighbours.setdefault(i, []).append(j)
        neighbours.setdefault(j, []).append(i)
    sets: dict[tuple[int, int], list[int]] = {}
    for atom, others in sorted(neighbours.items()):
        if len(others) == 1:
            sets.setdefault((others[0], int(numbers[atom])), []).append(atom)
    return sorted((atoms for atoms in sets.values() if len(atoms) > 1), key=lambda atoms: (-len(atoms), atoms))


def symmetries(connectivity: Connectivity, limit: int) -> Table:
    """A group of exchanges of like atoms that geometries make use of, of at most ``limit`` elements.

    Where bonds last, those of equivalent ends. Where they change, a reaction may lead to the mirror image of where it
    began (a proton that goes from one end of malonaldehyde to the other): all exchanges that take every bond that there
    is at any time to another one, if they are not too many.

    Args:
        connectivity: Bonds and what becomes of them.
        limit: How many there may be.

    Returns:
        Permutations [P,n], the identity among them.
    """
    numbers, bonds = connectivity.numbers, connectivity.everything
    if connectivity.changes:
        found = []
        for permutation in _automorphisms(numbers, bonds):
            found.append(permutation)
            if len(found) > limit:
                break
        else:
            return np.array(found, dtype=np.int64)
    return permutation_group(numbers, bonds, limit)


def permutation_group(numbers: NDArray[np.int64], bonds: Table, limit: int) -> Table:
    """A group of exchanges of equivalent ends, of at most ``limit`` elements; the first is the identity.

    Rotations of methyl groups come first, because a trajectory has them; then all other exchanges of three or fewer
    ends, which by reflection relate conformers that mirror each other. They are symmetries of any potential of nuclei,
    whether a trajectory has them or not.

    Args:
        numbers: Atomic numbers [n].
        bonds: Molecular graph [b,2]; without any there is the identity alone.
        limit: How many there may be.

    Returns:
        Permutations [P,n]: ``positions[p]`` is a geometry of the same energy.
    """
    n = len(numbers)
    group = np.arange(n)[None]
    ends = [atoms for atoms in equivalent_ends(numbers, bonds) if len(atoms) <= 3]
    rotated: set[int] = set()
    for place, atoms in enumerate(ends):
        if len(atoms) == 3 and 3 * len(group) <= limit:
            group = _product(group, atoms, [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
            rotated.add(place)
    for place, atoms in enumerate(ends):
        # A rotated set lacks the exchange of two; a set that is too large for its rotations is left alone.
        if (place in rotated or len(atoms) == 2) and 2 * len(group) <= limit:
            swap = (1, 0, 2) if len(atoms) == 3 else (1, 0)
            group = _product(group, atoms, [tuple(range(len(atoms))), swap])
    return group


def _product(group: Table, atoms: list[int], orders: list[tuple[int, ...]]) -> Table:
    rows = []
    for order in orders:
        step = np.arange(group.shape[1])
        step[atoms] = np.array(atoms)[list(order)]
        rows.append(group[:, step])
    return np.concatenate(rows)


def _automorphisms(numbers: NDArray[np.int64], bonds: Table) -> Iterator[list[int]]:
    """All exchanges of like atoms that take every bond to a bond, the identity first."""
    n = len(numbers)
    bonded = np.zeros((n, n), dtype=bool)
    bonded[tuple(bonds.T)] = bonded[tuple(bonds.T[::-1])] = True
    degree = bonded.sum(axis=1)

    def extended(begun: list[int]) -> Iterator[list[int]]:
        place = len(begun)
        if place == n:
            yield begun
            return
        for atom in range(n):
            alike = numbers[atom] == numbers[place] and degree[atom] == degree[place]
            if alike and atom not in begun and np.array_equal(bonded[atom, begun], bonded[place, :place]):
                yield from extended([*begun, atom])

    return extended([])
