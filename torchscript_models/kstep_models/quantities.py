"""Numbers with units as they are written in configuration files, such as ``0.5 fs`` or ``30 min``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

_NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(.*?)\s*")
# Ratios of two quantities are numbers of steps, which must be countable.
_SMALLEST, _LARGEST = 1e-7, 1e9


def quantity_reader(units: Mapping[str, float], bare: str | None, largest: float = _LARGEST) -> Callable[[Any], float]:
    """A function from what YAML gives to a number in the unit whose factor is 1.

    The function raises ValueError for what is no number with a unit, and for numbers of an absurd size.

    Args:
        units: name of each unit that is understood, and its factor.
        bare: unit of a number without one; None refuses such numbers, where a wrong guess would be a disaster.
        largest: number that is not absurd yet.
    """
    known = ", ".join(units)

    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError(f"expected a number with a unit ({known}), got {value!r}")
        match = _NUMBER.fullmatch(str(value))
        if match is None:
            raise ValueError(f"expected a number with a unit ({known}), got {value!r}")
        unit = match.group(2) or bare
        if unit is None:
            raise ValueError(f"{value!r} needs a unit: write for example '{value} {next(iter(units))}' ({known})")
        if unit not in units:
            raise ValueError(f"unknown unit {unit!r} in {value!r}: use one of {known}")
        number = float(match.group(1)) * units[unit]
        if number != 0 and not _SMALLEST <= abs(number) <= largest:
            base = next(name for name, factor in units.items() if factor == 1.0)
            raise ValueError(f"{value!r} is out of range: it must be between {_SMALLEST:g} and {largest:g} {base}")
        return number

    return read


def positive(value: float) -> float:
    """The number; ValueError if it is not greater than zero."""
    if not value > 0:
        raise ValueError(f"must be positive, got {value}")
    return value


def not_negative(value: float) -> float:
    """The number; ValueError if it is less than zero."""
    if not value >= 0:
        raise ValueError(f"must not be negative, got {value}")
    return value
