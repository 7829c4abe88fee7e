"""Energies and forces of systems by plain OpenMM, on the Reference platform."""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray


def energy_and_forces(
    system: openmm.System, positions: Any, groups: set[int] | None = None
) -> tuple[float, NDArray[np.float64]]:
    """Potential energy (kJ/mol) and forces [N,3] (kJ/mol/nm) of some force groups, or of all."""
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(positions)
    options: dict[str, Any] = {} if groups is None else {"groups": groups}
    state = context.getState(energy=True, forces=True, **options)
    return state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value.copy()


def with_forces(system: openmm.System, forces: list[openmm.Force]) -> openmm.System:
    """A copy of the system with more forces."""
    result: openmm.System = openmm.XmlSerializer.clone(system)
    for force in forces:
        result.addForce(openmm.XmlSerializer.clone(force))
    return result
