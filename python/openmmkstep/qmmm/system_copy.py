"""Copies of a mixed system that lack some of its forces."""

from __future__ import annotations

from collections.abc import Callable

import openmm

from openmmkstep.openmmapi.torchscript_force import TorchScriptForce


def copy_without(system: openmm.System, unwanted: Callable[[openmm.Force], bool]) -> openmm.System:
    """A copy without some forces.

    Unlike a copy by way of XML alone, its networks are compiled if the original's are.

    Args:
        system: A system from createMixedSystem().
        unwanted: Whether a force is left out.
    """
    copy: openmm.System = openmm.XmlSerializer.clone(system)
    for index in reversed(range(system.getNumForces())):
        original = system.getForce(index)
        if unwanted(original):
            copy.removeForce(index)
        elif TorchScriptForce.isInstance(original):
            package = TorchScriptForce.cast(original).getCompiledPackage()
            TorchScriptForce.cast(copy.getForce(index)).setCompiledPackage(package)
    return copy
