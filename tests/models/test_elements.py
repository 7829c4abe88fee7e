"""Symbols and formulas."""

from __future__ import annotations

import pytest

from kstep_models.elements import formula, number_of, symbol_of


def test_symbols_and_numbers() -> None:
    known = {1: "H", 6: "C", 17: "Cl", 26: "Fe", 36: "Kr", 57: "La", 72: "Hf", 86: "Rn", 92: "U", 118: "Og"}
    assert {number: symbol_of(number) for number in known} == known
    assert all(number_of(symbol_of(number)) == number for number in range(1, 119))
    assert number_of(" cL ") == 17


@pytest.mark.parametrize("number", [0, -1, 119])
def test_unknown_numbers(number: int) -> None:
    with pytest.raises(KeyError, match=f"atomic number {number}"):
        symbol_of(number)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [([1, 8, 1], "H2O"), ([1, 6, 1, 17, 1], "CH3Cl"), ([6, 8, 8], "CO2"), ([3, 1], "HLi"), ([55, 6, 1, 27], "CHCoCs")],
)
def test_formulas(numbers: list[int], expected: str) -> None:
    assert formula(numbers) == expected
