"""Factors between atomic units, which everything in this package uses, and the units at its edges (CODATA 2018)."""

from __future__ import annotations

EV_PER_HARTREE = 27.211386245988
"""Electronvolts per atomic unit of energy (and of angular frequency, for photon energies)."""
NM_PER_BOHR = 0.0529177210903
"""Nanometres per atomic unit of length."""
FS_PER_TIME_UNIT = 0.024188843265857
"""Femtoseconds per atomic unit of time."""
DEBYE_PER_DIPOLE_UNIT = 2.541746473
"""Debye per atomic unit of the dipole moment."""
V_PER_NM_PER_FIELD_UNIT = 514.220674763
"""Volts per nanometre per atomic unit of the electric field."""
