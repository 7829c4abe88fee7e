"""What the levels are that learning begins with: whether they can be learned from, and a digest for the folder."""

from __future__ import annotations

import hashlib
import json

import openmm

from openmmkstep.io.labels import LabelSource
from openmmkstep.openmmapi.qmmm_force import QMMMForce
from openmmkstep.openmmapi.torchscript_force import TorchScriptForce
from openmmkstep.qmmm.levels import force_groups

from .problem import Problem
from .settings import LearningError


def refuse_what_teaches_nothing(problem: Problem, system: openmm.System) -> None:
    """Make sure that a surrogate can be learned.

    Args:
        problem: What is learned for.
        system: The mixed system with the levels that there are.

    Raises:
        LearningError: The levels are no one method to which a difference could be learned; a region of one atom.
    """
    below = [force for force in system.getForces() if force.getForceGroup() == force_groups.SURROGATE]
    if problem.has_level and not (len(below) == 1 and QMMMForce.isInstance(below[0])):
        raise LearningError(
            "what is learned is the difference to one QM method, which is all that start may name then: leave out "
            "the other parts, or set first_labels to 0 to find the k that they carry"
        )
    region = LabelSource(system, problem.has_level).region(problem.topology)
    if len(region.site_numbers) < 2:
        raise LearningError(
            "a region of one atom has no geometry to learn from: take a larger region, or set first_labels to 0 to "
            "find the k of a surrogate that is there"
        )


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
