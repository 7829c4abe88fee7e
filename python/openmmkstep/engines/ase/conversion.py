"""ASE's units in ours: what a number in kJ/mol, nm or kJ/mol/nm is multiplied with."""

from __future__ import annotations

from ase import units

ENERGY = units.kJ / units.mol
"""eV per kJ/mol."""
LENGTH = units.nm
"""Angstrom per nm."""
FORCE = ENERGY / LENGTH
"""eV/A per kJ/mol/nm."""
