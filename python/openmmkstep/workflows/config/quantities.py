"""Numbers with units as they are written in configuration files, such as ``0.5 fs`` or ``2.6 nm``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

_TIME = {"fs": 1e-3, "ps": 1.0, "ns": 1e3, "as": 1e-6}
_LENGTH = {"nm": 1.0, "angstrom": 0.1, "A": 0.1}
_TEMPERATURE = {"K": 1.0}
_RATE = {"1/ps": 1.0, "/ps": 1.0, "1/fs": 1e3}

_NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(.*?)\s*")


def _reader(units: Mapping[str, float], bare: str | None) -> Callable[[Any], float]:
    """A function from what YAML gives to a number in the unit whose factor is 1.

    Args:
        units: name of each unit that is understood, and its factor.
        bare: unit of a number without one; None refuses such numbers, where a wrong guess would be a disaster.
    """
    known = ", ".join(units)

    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError(f"expected a number with a unit ({known}), got {value!r}")
        match = _NUMBER.fullmatch(str(value))
        if match is None:
            raise ValueError(f"expected a number with a unit ({known}), got {value!r}")
        number, unit = float(match.group(1)), match.group(2) or bare
        if unit is None:
            raise ValueError(f"{value!r} needs a unit: write for example '{value} {next(iter(units))}' ({known})")
        if unit not in units:
            raise ValueError(f"unknown unit {unit!r} in {value!r}: use one of {known}")
        return number * units[unit]

    return read


def _positive(value: float) -> float:
    if not value > 0:
        raise ValueError(f"must be positive, got {value}")
    return value


def _not_negative(value: float) -> float:
    if not value >= 0:
        raise ValueError(f"must not be negative, got {value}")
    return value


Time = Annotated[float, BeforeValidator(_reader(_TIME, None)), AfterValidator(_positive)]
"""A positive time, ps."""
Duration = Annotated[float, BeforeValidator(_reader(_TIME, None)), AfterValidator(_not_negative)]
"""A time that may be zero, ps."""
Length = Annotated[float, BeforeValidator(_reader(_LENGTH, None)), AfterValidator(_positive)]
"""A positive length, nm."""
Temperature = Annotated[float, BeforeValidator(_reader(_TEMPERATURE, "K")), AfterValidator(_positive)]
"""A positive temperature, K; the unit may be left out."""
Rate = Annotated[float, BeforeValidator(_reader(_RATE, "1/ps")), AfterValidator(_not_negative)]
"""A rate that may be zero, 1/ps; the unit may be left out."""
