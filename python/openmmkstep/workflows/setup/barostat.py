"""Monte Carlo barostats for systems that configurations describe."""

from __future__ import annotations

import openmm

from .complete_files import PreparationError

FREQUENCY = 25
"""Steps between two moves, as is OpenMM's default."""


def add_barostat(
    system: openmm.System, pressure: float, temperature: float, where: str, frequency: int = FREQUENCY
) -> openmm.MonteCarloBarostat:
    """Add a barostat that scales a periodic box evenly; who makes a Context gives it the seed of its moves.

    Args:
        system: System to which it is added.
        pressure: bar.
        temperature: Of the ensemble, K.
        where: name of the configuration's key, for errors.
        frequency: steps between moves.

    Raises:
        PreparationError: the system is not periodic, or has a barostat already.
    """
    if not system.usesPeriodicBoundaryConditions():
        raise PreparationError(
            f"{where}: a pressure needs a periodic system: add system.solvent or system.box, and a periodic "
            "system.nonbonded_method such as PME"
        )
    if any("Barostat" in type(force).__name__ for force in system.getForces()):
        raise PreparationError(f"{where}: the system has a barostat already")
    barostat = openmm.MonteCarloBarostat(pressure, temperature, frequency)
    system.addForce(barostat)
    return barostat
