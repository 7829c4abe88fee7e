"""Symbols of the chemical elements, for whoever works without OpenMM, PySCF and ASE."""

from __future__ import annotations

from collections.abc import Iterable

_TABLE = """
H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr
Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe
Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn
Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og
"""
_SYMBOLS = tuple(_TABLE.split())
_NUMBERS = {symbol: number for number, symbol in enumerate(_SYMBOLS, start=1)}


def symbol_of(number: int) -> str:
    """The symbol of an element.

    Args:
        number: Atomic number, from 1 to 118.

    Raises:
        KeyError: There is no such element.
    """
    if not 1 <= number <= len(_SYMBOLS):
        raise KeyError(f"no element has the atomic number {number}")
    return _SYMBOLS[number - 1]


def number_of(symbol: str) -> int:
    """The atomic number of an element.

    Args:
        symbol: In any case, with or without blanks around it.

    Raises:
        KeyError: There is no such element.
    """
    return _NUMBERS[symbol.strip().capitalize()]


def formula(numbers: Iterable[int]) -> str:
    """The formula of a molecule in Hill's order.

    Carbon first, then hydrogen, then the others by the alphabet; without carbon, all by the alphabet.

    Args:
        numbers: Atomic numbers.
    """
    symbols = [symbol_of(int(number)) for number in numbers]
    has_carbon = "C" in symbols
    order = sorted(set(symbols), key=lambda symbol: ("CH".find(symbol) if has_carbon and symbol in "CH" else 2, symbol))
    counts = ((symbol, symbols.count(symbol)) for symbol in order)
    return "".join(symbol + (str(count) if count > 1 else "") for symbol, count in counts)
