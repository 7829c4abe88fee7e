"""Numbers behind quantities, for functions that take both as OpenMM's do."""

from __future__ import annotations

from typing import Any

from openmm import unit


def value_in(quantity: Any, wanted: unit.Unit) -> float:
    """The number behind a quantity.

    Args:
        quantity: A quantity of any compatible unit, or a plain number, which is taken to be in ``wanted`` already.
        wanted: The unit of the result.

    Raises:
        TypeError: The quantity has another dimension, or is neither a quantity nor a number.
        ValueError: A text that is no number.
    """
    return float(quantity.value_in_unit(wanted) if unit.is_quantity(quantity) else quantity)
