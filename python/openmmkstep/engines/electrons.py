"""Charge and spin of a molecule against the number of its electrons."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence

from .protocol import EngineError

HEAVIEST_ELEMENT = 118


def checked_numbers(numbers: Iterable[int]) -> list[int]:
    """Atomic numbers of a molecule.

    Raises:
        EngineError: None at all, or numbers of no element.
    """
    try:
        checked = [operator.index(number) for number in numbers]
    except TypeError as error:
        raise EngineError(f"atomic numbers must be integers: {error}") from error
    if not checked:
        raise EngineError("a molecule needs at least one atom")
    wrong = sorted({number for number in checked if not 1 <= number <= HEAVIEST_ELEMENT})
    if wrong:
        raise EngineError(f"{wrong} are no atomic numbers")
    return checked


def checked_spin(numbers: Sequence[int], charge: int, multiplicity: int) -> tuple[int, int]:
    """Charge and multiplicity as integers; those that the number of electrons does not allow are refused.

    Args:
        numbers: Atomic numbers [n].
        charge: Total charge, e.
        multiplicity: Spin multiplicity, the number of unpaired electrons plus 1.

    Raises:
        EngineError: They are no integers, or do not fit.
    """
    charge, multiplicity = _integer("charge", charge), _integer("multiplicity", multiplicity)
    electrons, unpaired = sum(numbers) - charge, multiplicity - 1
    if unpaired < 0:
        raise EngineError(f"multiplicity must be at least 1 (closed shell), got {multiplicity}")
    if electrons < unpaired:
        raise EngineError(f"charge {charge} and multiplicity {multiplicity} are impossible with {electrons} electrons")
    if (electrons - unpaired) % 2:
        raise EngineError(
            f"charge {charge} and multiplicity {multiplicity} do not fit: {electrons} electrons cannot have {unpaired} "
            f"unpaired. With this charge the multiplicity must be {'odd' if electrons % 2 == 0 else 'even'}"
        )
    return charge, multiplicity


def _integer(name: str, value: object) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError as error:
        raise EngineError(f"{name} must be an integer, got {value!r}") from error
