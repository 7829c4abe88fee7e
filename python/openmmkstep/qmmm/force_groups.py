"""The force groups that createMixedSystem() fills and KStepIntegrator takes by default."""

from __future__ import annotations

COMMON = 0
"""Everything both levels share: MM force field, QM-MM Lennard-Jones, restraints."""
SURROGATE = 1
"""The learned potential of the QM region, with its Coulomb coupling to the embedding charges."""
QM = 2
"""The QM or QM/MM energy."""
BASE_LEVEL = 3
"""The region's own force-field terms in vacuum: the base level."""
SLOW_COMMON = 4
"""Nonbonded MM forces, when they are split off to be evaluated less often than the bonded ones."""
