"""What can go wrong with NWChem, by who can repair it."""

from __future__ import annotations


class NWChemInputError(ValueError):
    """What was asked for cannot be written as NWChem input, or would not mean what it seems to."""


class NWChemMissingError(RuntimeError):
    """NWChem, or the MPI launcher that it needs, is not installed."""


class NWChemRunError(RuntimeError):
    """NWChem failed, ran out of time, or did not deliver what it was asked for."""


class NWChemOutputError(ValueError):
    """A file of NWChem is incomplete or not what it should be."""


class NWChemBasisError(ValueError):
    """NWChem and PySCF do not use the same basis functions, so that no reordering connects their matrices."""
