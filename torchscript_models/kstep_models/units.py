"""Conversions for reported figures; everything inside is kJ/mol and nm."""

from __future__ import annotations

# 1 eV = 96.48533212 kJ/mol (CODATA 2018), 1 nm = 10 A.
MEV_PER_ANGSTROM = 1000.0 / (96.48533212 * 10.0)
