"""ASE's units in ours, and its energies: what a number in kJ/mol, nm or kJ/mol/nm is multiplied with."""

from __future__ import annotations

from ase import Atoms, units

ENERGY = units.kJ / units.mol
"""eV per kJ/mol."""
LENGTH = units.nm
"""Angstrom per nm."""
FORCE = ENERGY / LENGTH
"""eV/A per kJ/mol/nm."""


def energy_of_the_forces(atoms: Atoms, apply_constraint: bool = True) -> float:
    """The energy of which the forces are the derivative: ASE's free_energy, where a calculator has one.

    Args:
        atoms: Atoms with a calculator.
        apply_constraint: Whether constraints that have an energy count.

    Returns:
        eV.
    """
    has_free_energy = "free_energy" in getattr(atoms.calc, "implemented_properties", ())
    return float(atoms.get_potential_energy(force_consistent=has_free_energy, apply_constraint=apply_constraint))
