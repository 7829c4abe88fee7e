"""From NWChem's order of basis functions to PySCF's.

NWChem keeps the shells of an atom in the order of its basis set library, PySCF sorts them by angular momentum. Which
shell is which is found by comparing the functions themselves, so that neither the order nor the sign of contraction
coefficients, nor how a library splits its contractions, needs to be known. Within a shell, the real spherical functions
are

- p: x, y, z in both programs,
- d and higher: m = -l ... l in both programs, those of NWChem with the opposite sign for m = 1, 3 and so on.

Both programs normalise all spherical functions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import NWChemBasisError

_LETTERS = "SPDFGHI"
_HEAD = re.compile(r'^\s*Basis "ao basis" -> "[^"]*" \((\w+)\)')
_ELEMENT = re.compile(r"^\s*(\S+) \(([A-Za-z]+)\)\s*$")
_PRIMITIVE = re.compile(rf"^\s*(\d+) ([{_LETTERS}])\s+(\d\S+)\s+(-?\d\S*)\s*$")
# Coefficients are printed with six decimals.
_SAME = 1e-4
# Tried against PySCF's densities up to here.
_HIGHEST = 4


@dataclass(frozen=True)
class NWChemShell:
    """A contracted shell.

    Attributes:
        angular_momentum: l.
        exponents: of the primitives, bohr^-2.
        coefficients: of normalised primitives, as printed.
    """

    angular_momentum: int
    exponents: tuple[float, ...]
    coefficients: tuple[float, ...]

    def overlap(self, other: NWChemShell) -> float:
        """Of the normalised radial functions at the same place; of the same angular momentum."""
        power = self.angular_momentum + 1.5

        def product(first: NWChemShell, second: NWChemShell) -> float:
            a, b = np.array(first.exponents)[:, None], np.array(second.exponents)[None]
            primitives = (2.0 * np.sqrt(a * b) / (a + b)) ** power
            return float(np.array(first.coefficients) @ primitives @ np.array(second.coefficients))

        return product(self, other) / float(np.sqrt(product(self, self) * product(other, other)))


@dataclass(frozen=True)
class BasisOrder:
    """How to turn NWChem's matrices into PySCF's.

    Attributes:
        indices: NWChem's index of each of PySCF's functions [n].
        signs: 1 or -1 for each of PySCF's functions [n].
    """

    indices: NDArray[np.int64]
    signs: NDArray[np.float64]

    def density(self, matrix: NDArray[Any]) -> NDArray[Any]:
        """A matrix [...,n,n] in PySCF's order of basis functions.

        Raises:
            NWChemBasisError: another number of basis functions.
        """
        size = len(self.indices)
        if matrix.shape[-2:] != (size, size):
            raise NWChemBasisError(f"the matrix has shape {list(matrix.shape)}, expected [..., {size}, {size}]")
        chosen = matrix[..., self.indices, :][..., self.indices]
        return np.asarray(self.signs[:, None] * chosen * self.signs[None])


def parse_shells(text: str) -> dict[str, list[NWChemShell]]:
    """The basis set as NWChem prints it.

    Args:
        text: output of NWChem.

    Returns:
        shells by label of the atoms, in NWChem's order; empty if no basis set was printed.

    Raises:
        NWChemBasisError: the functions are Cartesian.
    """
    shells: dict[str, list[NWChemShell]] = {}
    element: str | None = None
    inside = False
    primitives: dict[tuple[str, int, int], list[tuple[float, float]]] = {}
    for line in text.splitlines():
        head = _HEAD.match(line)
        if head:
            if head.group(1) != "spherical":
                raise NWChemBasisError(
                    f"NWChem used {head.group(1)} basis functions: write 'basis spherical' in its input"
                )
            inside, primitives = True, {}
        elif inside and "Summary of" in line:
            break
        elif inside:
            name, row = _ELEMENT.match(line), _PRIMITIVE.match(line)
            if name:
                element = name.group(1)
            elif row and element is not None:
                key = (element, int(row.group(1)), _LETTERS.index(row.group(2)))
                primitives.setdefault(key, []).append((float(row.group(3)), float(row.group(4))))
    for (label, _, momentum), rows in primitives.items():
        exponents, coefficients = zip(*rows, strict=True)
        shells.setdefault(label, []).append(NWChemShell(momentum, exponents, coefficients))
    return shells


def basis_order(mol: Any, shells: Mapping[str, Sequence[NWChemShell]]) -> BasisOrder:
    """The reordering for a molecule.

    Args:
        mol: PySCF molecule with the atoms in the same order, spherical functions.
        shells: of NWChem, by element symbol (see ``parse_shells``).

    Raises:
        NWChemBasisError: the basis sets are not the same, or have angular momenta for which signs are not known.
    """
    if getattr(mol, "cart", False):
        raise NWChemBasisError("the PySCF molecule has Cartesian basis functions: build it with cart=False")
    indices: list[int] = []
    signs: list[int] = []
    first = 0
    wanted = _shells_of_pyscf(mol)
    for atom in range(mol.natm):
        symbol = mol.atom_pure_symbol(atom)
        if symbol not in shells:
            raise NWChemBasisError(
                f"NWChem printed no basis functions for {symbol}: it printed {', '.join(shells) or 'none'}"
            )
        own = list(shells[symbol])
        starts = [first + place for place in _starts(own)]
        unused = set(range(len(own)))
        for shell in (shell for owner, shell in wanted if owner == atom):
            place, sign = _match(shell, own, unused, f"{symbol} (atom {atom})")
            unused.remove(place)
            momentum = shell.angular_momentum
            indices += range(starts[place], starts[place] + 2 * momentum + 1)
            signs += [sign * each for each in _signs(momentum)]
        if unused:
            raise NWChemBasisError(f"NWChem has {len(unused)} shells on {symbol} (atom {atom}) that PySCF has not")
        first += sum(2 * shell.angular_momentum + 1 for shell in own)
    return BasisOrder(np.array(indices), np.array(signs, dtype=np.float64))


def _signs(momentum: int) -> list[int]:
    """Of NWChem's functions of a shell relative to PySCF's."""
    if momentum < 2:
        return [1] * (2 * momentum + 1)
    return [-1 if m > 0 and m % 2 else 1 for m in range(-momentum, momentum + 1)]


def _starts(shells: Sequence[NWChemShell]) -> list[int]:
    sizes = [2 * shell.angular_momentum + 1 for shell in shells]
    return [sum(sizes[:place]) for place in range(len(sizes))]


def _shells_of_pyscf(mol: Any) -> list[tuple[int, NWChemShell]]:
    """Atom and radial function of each contracted shell of PySCF, in its order."""
    result = []
    for index in range(mol.nbas):
        momentum = int(mol.bas_angular(index))
        exponents = np.asarray(mol.bas_exp(index), dtype=np.float64)
        # Coefficients of normalised primitives: PySCF's own contain the norm of each primitive, up to a factor that is
        # the same for all of them.
        norms = (2.0 * exponents) ** (0.5 * momentum + 0.75)
        for column in np.asarray(mol._libcint_ctr_coeff(index), dtype=np.float64).T:
            coefficients = column / norms
            shell = NWChemShell(momentum, tuple(exponents.tolist()), tuple(coefficients.tolist()))
            result.append((int(mol.bas_atom(index)), shell))
    return result


def _match(shell: NWChemShell, own: Sequence[NWChemShell], unused: set[int], where: str) -> tuple[int, int]:
    momentum = shell.angular_momentum
    if momentum > _HIGHEST:
        raise NWChemBasisError(
            f"{where} has functions of angular momentum {momentum}, for which the signs of NWChem are not known: "
            f"use a basis set up to {_LETTERS[_HIGHEST].lower()} functions"
        )
    overlaps = {place: shell.overlap(own[place]) for place in unused if own[place].angular_momentum == momentum}
    best = max(overlaps, key=lambda place: abs(overlaps[place]), default=None)
    if best is None or abs(abs(overlaps[best]) - 1.0) > _SAME:
        closest = f"the closest overlaps with {abs(overlaps[best]):.6f}" if best is not None else "none is left"
        raise NWChemBasisError(
            f"{where}: NWChem has no {_LETTERS[momentum].lower()} shell like PySCF's with exponents from "
            f"{max(shell.exponents):.6g} to {min(shell.exponents):.6g} ({closest}): "
            "the two programs do not use the same basis set"
        )
    return best, (1 if overlaps[best] > 0 else -1)
