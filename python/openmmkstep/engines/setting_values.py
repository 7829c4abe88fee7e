"""Checks of the values that engines are given as settings."""

from __future__ import annotations

import math
from collections.abc import Collection

from .protocol import EngineError


def check_range(name: str, value: object, lowest: float, highest: float) -> None:
    """Refuse what is not a number in a range.

    Raises:
        EngineError: It is not.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not lowest <= value <= highest:  # type: ignore[operator]
        raise EngineError(f"{name} must be a number from {lowest:g} to {highest:g}, got {value!r}")


def check_integer(name: str, value: object, highest: int, lowest: int = 1) -> None:
    """Refuse what is not a whole number in a range.

    Raises:
        EngineError: It is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        kind = "positive integer of at most" if lowest == 1 else f"integer from {lowest} to"
        raise EngineError(f"{name} must be a {kind} {highest}, got {value!r}")


def check_flag(name: str, value: object) -> None:
    """Refuse what is neither true nor false.

    Raises:
        EngineError: It is not.
    """
    if not isinstance(value, bool):
        raise EngineError(f"{name} must be true or false, got {value!r}")


def check_choice(name: str, value: object, choices: Collection[str | None]) -> None:
    """Refuse what is not one of some words.

    Raises:
        EngineError: It is not.
    """
    if value not in choices:
        known = ", ".join("none (left out)" if choice is None else repr(choice) for choice in choices)
        raise EngineError(f"{name} must be one of {known}, got {value!r}")


def check_text(name: str, value: object) -> None:
    """Refuse what is not a text with something in it.

    Raises:
        EngineError: It is not.
    """
    if not isinstance(value, str) or not value.strip():
        raise EngineError(f"{name} must be a text, got {value!r}")
