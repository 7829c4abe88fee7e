"""Constants and conversion factors; everything inside is nm, ps, kJ/mol, e, and K.

The one place for all packages but :mod:`openmmkstep.rttddft`, which computes in atomic units
(:mod:`openmmkstep.rttddft.units`). CODATA 2018, as in OpenMM. The elementary charge and the constants of Boltzmann and
Avogadro are exact in the SI, so are the factors made of them.
"""

from __future__ import annotations

BOLTZMANN = 8.31446261815324e-3
"""Boltzmann constant times Avogadro constant, kJ/mol/K."""
COULOMB = 138.93545764438198
"""1/(4 pi eps0), kJ/mol nm / e^2; to the last bit that of OpenMM (SimTKOpenMMRealType.h, ONE_4PI_EPS0), so that terms
that cancel do so exactly."""
KJ_MOL_PER_EV = 96.48533212331002
"""kJ/mol per electronvolt: elementary charge times Avogadro constant."""
MEV_PER_KJ_MOL = 1000.0 / KJ_MOL_PER_EV
"""Millielectronvolts per kJ/mol."""
MEV_PER_ANGSTROM = MEV_PER_KJ_MOL / 10.0
"""meV/A per kJ/mol/nm."""
EV_PER_HARTREE = 27.211386245988
"""Electronvolts per atomic unit of energy."""
KJ_MOL_PER_HARTREE = EV_PER_HARTREE * KJ_MOL_PER_EV
"""kJ/mol per atomic unit of energy."""
NM_PER_BOHR = 0.0529177210903
"""Nanometres per atomic unit of length."""
GRAMS_PER_CM3 = 1.66053906660e-3
"""g/cm^3 per amu/nm^3."""
