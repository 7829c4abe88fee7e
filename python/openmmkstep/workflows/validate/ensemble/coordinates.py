"""The internal coordinates of a region whose distributions are compared."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from openmmkstep.qmmm.region import QMRegion


@dataclass(frozen=True)
class InternalCoordinates:
    """Places in the list of the region's atoms.

    Attributes:
        bonds: pairs.
        angles: triples, with the middle atom in the middle.
        torsions: one for each bond about which something turns.
        names: of the torsions, by the names of their atoms.
        rotors: for each torsion, whether all that turns is three hydrogen atoms, whose states are all the same.
    """

    bonds: tuple[tuple[int, int], ...]
    angles: tuple[tuple[int, int, int], ...]
    torsions: tuple[tuple[int, int, int, int], ...]
    names: tuple[str, ...]
    rotors: tuple[bool, ...]

    @classmethod
    def of(cls, region: QMRegion) -> InternalCoordinates:
        """Those of a region's bonds; torsions about bonds in rings are left out, which turn together."""
        bonds = tuple((int(i), int(j)) for i, j in region.bonds)
        neighbours: dict[int, list[int]] = defaultdict(list)
        for i, j in bonds:
            neighbours[i].append(j)
            neighbours[j].append(i)
        angles = tuple(
            (a, middle, c)
            for middle in sorted(neighbours)
            for index, a in enumerate(sorted(neighbours[middle]))
            for c in sorted(neighbours[middle])[index + 1 :]
        )
        torsions, names, rotors = [], [], []
        for i, j in bonds:
            ends = [[n for n in neighbours[at] if n != other] for at, other in ((i, j), (j, i))]
            if not all(ends) or _is_in_ring(neighbours, i, j):
                continue
            # Along the main chain, so that backbone torsions are what chemists mean by them.
            first, last = (
                max(end, key=lambda n: (len(_branch(neighbours, at, n)), region.numbers[n], -n))
                for at, end in zip((i, j), ends, strict=True)
            )
            torsions.append((first, i, j, last))
            names.append("-".join(region.names[atom] for atom in torsions[-1]))
            rotors.append(any(len(end) == 3 and all(region.numbers[atom] == 1 for atom in end) for end in ends))
        return cls(bonds, angles, tuple(torsions), tuple(names), tuple(rotors))


def _branch(neighbours: dict[int, list[int]], trunk: int, first: int) -> set[int]:
    """Atoms that are reached from a bond's far end without going back over the bond."""
    reached, front = {first}, [n for n in neighbours[first] if n != trunk]
    while front:
        atom = front.pop()
        if atom not in reached:
            reached.add(atom)
            front += [n for n in neighbours[atom] if n not in reached]
    return reached


def _is_in_ring(neighbours: dict[int, list[int]], first: int, second: int) -> bool:
    """Whether there is a way from one end of a bond to the other without it."""
    return second in _branch(neighbours, second, first) or first in _branch(neighbours, first, second)
