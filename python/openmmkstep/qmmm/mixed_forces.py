"""Finds this plugin's forces in a system."""

from __future__ import annotations

import openmm

from openmmkstep.openmmapi.qmmm_force import QMMMForce


def find_qm_force(system: openmm.System) -> QMMMForce:
    """The QM/MM force in a system; it lives as long as the system does.

    Raises:
        ValueError: there is none.
    """
    for force in system.getForces():
        if QMMMForce.isInstance(force):
            return QMMMForce.cast(force)
    raise ValueError("the system has no QMMMForce: make it with QMMMPotential.createMixedSystem()")
