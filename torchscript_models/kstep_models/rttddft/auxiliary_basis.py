"""Atom-centred functions that carry densities and their responses, whatever the orbital basis.

Every element has shells of contracted Gaussian functions with angular momentum l. Within a shell, functions are ordered
by m = -l ... l of the real spherical harmonics, for every l; a vector (l = 1) is therefore ordered y, z, x. In that
order a shell transforms under rotations as e3nn's irreducible representation l does if e3nn is given positions ordered
y, z, x.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


class AuxiliaryBasisError(ValueError):
    """An auxiliary basis is not what it should be, or lacks an element."""


@dataclass(frozen=True)
class Shell:
    """2l + 1 contracted functions.

    Attributes:
        l: angular momentum.
        exponents: of the primitive Gaussian functions, 1/bohr^2.
        coefficients: of the normalised primitives; the contracted function is normalised.
    """

    l: int
    exponents: tuple[float, ...]
    coefficients: tuple[float, ...]

    def __post_init__(self) -> None:
        if not 0 <= self.l <= 6:
            raise AuxiliaryBasisError(f"angular momentum must be between 0 and 6, got {self.l}")
        if not self.exponents or len(self.exponents) != len(self.coefficients):
            raise AuxiliaryBasisError("a shell needs exponents, and as many coefficients")
        if not all(math.isfinite(e) and e > 0 for e in self.exponents):
            raise AuxiliaryBasisError(f"exponents must be positive, got {self.exponents}")
        if not all(math.isfinite(c) for c in self.coefficients) or not any(self.coefficients):
            raise AuxiliaryBasisError(f"coefficients must be finite and not all zero, got {self.coefficients}")


@dataclass(frozen=True)
class AuxiliaryBasis:
    """Shells of all elements that a model covers.

    Attributes:
        name: what it was made from.
        elements: atomic number -> shells, by ascending angular momentum.

    Raises:
        AuxiliaryBasisError: an element without shells, or shells out of order.
    """

    name: str
    elements: Mapping[int, tuple[Shell, ...]]

    def __post_init__(self) -> None:
        if not self.elements:
            raise AuxiliaryBasisError("an auxiliary basis needs at least one element")
        for number, shells in self.elements.items():
            momenta = [shell.l for shell in shells]
            if not momenta or momenta != sorted(momenta):
                raise AuxiliaryBasisError(f"element {number} needs shells by ascending angular momentum, has {momenta}")

    def momenta(self, number: int) -> tuple[int, ...]:
        """Angular momenta of an element's shells.

        Raises:
            AuxiliaryBasisError: the element is not covered.
        """
        if number not in self.elements:
            raise AuxiliaryBasisError(
                f"the auxiliary basis {self.name} has no element {number}, only {sorted(self.elements)}"
            )
        return tuple(shell.l for shell in self.elements[number])

    def functions(self, number: int) -> int:
        """Number of functions of an element."""
        return sum(2 * l + 1 for l in self.momenta(number))

    def size(self, numbers: Sequence[int] | NDArray[np.int64]) -> int:
        """Number of functions of a molecule."""
        return sum(self.functions(int(number)) for number in numbers)

    def to_json(self) -> dict[str, Any]:
        """As JSON values: shells as [l, exponents, coefficients]."""
        return {
            "name": self.name,
            "elements": {
                str(number): [[shell.l, list(shell.exponents), list(shell.coefficients)] for shell in shells]
                for number, shells in sorted(self.elements.items())
            },
        }

    @classmethod
    def from_json(cls, data: Any) -> AuxiliaryBasis:
        """From :meth:`to_json`.

        Raises:
            AuxiliaryBasisError: not of this form.
        """
        try:
            elements = {
                int(number): tuple(
                    Shell(int(l), tuple(map(float, exponents)), tuple(map(float, coefficients)))
                    for l, exponents, coefficients in shells
                )
                for number, shells in data["elements"].items()
            }
            return cls(str(data["name"]), elements)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, AuxiliaryBasisError):
                raise
            raise AuxiliaryBasisError(f"this is not an auxiliary basis ({error})") from error
