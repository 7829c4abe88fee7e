"""Hartree-Fock and density functional theory by PySCF, in point charges that polarise it."""
