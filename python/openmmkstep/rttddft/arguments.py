"""Checks of numbers that users give."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import ElectronDynamicsError


def finite_number(name: str, value: Any) -> float:
    """A finite real number.

    Raises:
        ElectronDynamicsError: it is none.
    """
    if isinstance(value, bool):
        raise ElectronDynamicsError(f"{name} must be a number, got {value!r}")
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise ElectronDynamicsError(f"{name} must be a number, got {value!r}") from error
    if not np.isfinite(number):
        raise ElectronDynamicsError(f"{name} must be finite, got {value!r}")
    return number


def positive_number(name: str, value: Any) -> float:
    """A finite number above zero.

    Raises:
        ElectronDynamicsError: it is none.
    """
    number = finite_number(name, value)
    if number <= 0:
        raise ElectronDynamicsError(f"{name} must be positive, got {value!r}")
    return number


def integer_from(name: str, value: Any, least: int) -> int:
    """An integer that is not below a limit.

    Raises:
        ElectronDynamicsError: no integer, or too small.
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError as error:
        raise ElectronDynamicsError(f"{name} must be an integer, got {value!r}") from error
    if number < least:
        raise ElectronDynamicsError(f"{name} must be at least {least}, got {number}")
    return number


def unit_vector(name: str, value: ArrayLike) -> NDArray[np.float64]:
    """A direction [3], normalised.

    Raises:
        ElectronDynamicsError: not three finite numbers, or all of them zero.
    """
    try:
        vector = np.array(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ElectronDynamicsError(f"{name} must be three numbers, got {value!r}") from error
    if vector.shape != (3,) or not np.all(np.isfinite(vector)):
        raise ElectronDynamicsError(f"{name} must be three finite numbers, got {value!r}")
    length = float(np.linalg.norm(vector))
    if length == 0.0:
        raise ElectronDynamicsError(f"{name} is zero: give a direction such as (0, 0, 1)")
    return vector / length
