"""Physical quantities in configuration files, such as ``0.5 fs`` or ``2.6 nm``, and seeds."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from kstep_models.quantities import not_negative, positive, quantity_reader

_TIME = {"fs": 1e-3, "ps": 1.0, "ns": 1e3, "as": 1e-6}
_LENGTH = {"nm": 1.0, "angstrom": 0.1, "A": 0.1}
_TEMPERATURE = {"K": 1.0}
_PRESSURE = {"bar": 1.0, "atm": 1.01325, "kPa": 0.01, "MPa": 10.0}
_SIZE = {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
_RATE = {"1/ps": 1.0, "/ps": 1.0, "1/fs": 1e3}

LARGEST_SEED = 10**9
"""Seeds that are made of the given one, for parts of a run, must still be 32-bit integers."""

Time = Annotated[float, BeforeValidator(quantity_reader(_TIME, None)), AfterValidator(positive)]
"""A positive time, ps."""
Duration = Annotated[float, BeforeValidator(quantity_reader(_TIME, None)), AfterValidator(not_negative)]
"""A time that may be zero, ps."""
Length = Annotated[float, BeforeValidator(quantity_reader(_LENGTH, None)), AfterValidator(positive)]
"""A positive length, nm."""
Temperature = Annotated[float, BeforeValidator(quantity_reader(_TEMPERATURE, "K")), AfterValidator(positive)]
"""A positive temperature, K; the unit may be left out."""
Pressure = Annotated[float, BeforeValidator(quantity_reader(_PRESSURE, None))]
"""A pressure of either sign, bar."""
Rate = Annotated[float, BeforeValidator(quantity_reader(_RATE, "1/ps")), AfterValidator(not_negative)]
"""A rate that may be zero, 1/ps; the unit may be left out."""
WallTime = Annotated[
    float, BeforeValidator(quantity_reader({"s": 1.0, "min": 60.0, "h": 3600.0}, "s")), AfterValidator(positive)
]
"""A positive wall time, s; the unit may be left out."""
FileSize = Annotated[float, BeforeValidator(quantity_reader(_SIZE, None, largest=1e15)), AfterValidator(positive)]
"""A positive size of files, bytes."""
Seed = Annotated[int, Field(ge=1, le=LARGEST_SEED)]
"""Of random numbers."""
