"""What the levels are that learning begins with, so that a folder is not taken for that of others."""

from __future__ import annotations

import hashlib
import json

import openmm

from openmmkstep.openmmapi.qmmm_force import QMMMForce
from openmmkstep.openmmapi.torchscript_force import TorchScriptForce
from openmmkstep.qmmm.levels import force_groups


def digest_of_levels(system: openmm.System) -> str:
    """SHA-256 of everything that describes the region, with however many threads and wherever its files lie."""
    parts = sorted(
        (force.getForceGroup(), _content(force))
        for force in system.getForces()
        if force.getForceGroup() in force_groups.LEVELS
    )
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _content(force: openmm.Force) -> str:
    if QMMMForce.isInstance(force):
        method = QMMMForce.cast(force)
        settings = {name: value for name, value in method.getEngineSettings().items() if name != "threads"}
        region = (method.getParticles(), method.getCharge(), method.getMultiplicity())
        return json.dumps([method.getEngine(), settings, *region], sort_keys=True, default=str)
    if TorchScriptForce.isInstance(force):
        return hashlib.sha256(TorchScriptForce.cast(force).getArchive()).hexdigest()
    return str(openmm.XmlSerializer.serialize(force))
