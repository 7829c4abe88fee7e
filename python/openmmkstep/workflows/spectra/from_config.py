"""The objects of this package from the sections of configuration files."""

from __future__ import annotations

from openmmkstep.rttddft.propagation.propagators import CFM4, Magnus2, Propagator
from openmmkstep.rttddft.reduction.reduced_hamiltonian import Reduction
from openmmkstep.rttddft.systems.level_of_theory import LevelOfTheory
from openmmkstep.rttddft.units import FS_PER_TIME_UNIT
from openmmkstep.workflows.config.spectrum import LevelSection, ReductionSection

TIME_UNIT = 1e-3 * FS_PER_TIME_UNIT
"""Picoseconds per atomic unit of time."""
_PROPAGATORS = {"magnus2": Magnus2, "cfm4": CFM4}
# Relative to the kick. Errors of the functional's regression are far above: iterating the steps further would be waste.
_STEP_TOLERANCE = 1e-4


def level_from(section: LevelSection) -> LevelOfTheory:
    """The level of theory of a section."""
    return LevelOfTheory(
        section.method, section.basis, section.functional, section.density_fitting, grid_level=section.grid_level
    )


def reduction_from(section: ReductionSection) -> Reduction:
    """The reduction of a section."""
    response = None if section.response is None else str(section.response)
    return Reduction(section.tolerance, section.nonlinearity, response)


def propagator_from(name: str, time_step: float, strength: float) -> Propagator:
    """A propagator by its name, with a time step in ps, for motion after a kick of a strength in atomic units."""
    return _PROPAGATORS[name](time_step / TIME_UNIT, tolerance=_STEP_TOLERANCE * strength)
