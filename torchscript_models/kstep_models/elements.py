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

# Angstrom, from hydrogen to xenon; of C sp3 and of Mn, Fe and Co in low spin.
_RADII = """
.31 .28 1.28 .96 .84 .76 .71 .66 .57 .58 1.66 1.41 1.21 1.11 1.07 1.05 1.02 1.06 2.03 1.76 1.70 1.60 1.53 1.39 1.39 1.32
1.26 1.24 1.32 1.22 1.22 1.20 1.19 1.20 1.20 1.16 2.20 1.95 1.90 1.75 1.64 1.54 1.47 1.46 1.42 1.39 1.45 1.44 1.42 1.39
1.39 1.38 1.39 1.40
"""
_COVALENT_RADII = tuple(float(radius) / 10 for radius in _RADII.split())
_HEAVY_RADIUS = 0.15


def covalent_radius(number: int) -> float:
    """Half the length of a single bond between two atoms of an element, nm.

    From Cordero et al., Dalton Trans. 2832 (2008); 0.15 nm beyond xenon, where it hardly varies.

    Args:
        number: Atomic number, from 1.
    """
    return _COVALENT_RADII[number - 1] if number <= len(_COVALENT_RADII) else _HEAVY_RADIUS


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
