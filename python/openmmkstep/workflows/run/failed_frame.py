"""The geometry at which a QM calculation failed, saved for whoever wants to know why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openmm

from kstep_models.files import write_atomically
from openmmkstep.qmmm.forces import find_qm_force

SCHEMA = "kstep-failed-frame"
VERSION = 1


@contextmanager
def failed_frame_saved(system: openmm.System, context: openmm.Context, path: Path) -> Iterator[None]:
    """Save the QM calculation that failed, if one did, and say so in the error.

    The file is JSON: the level of theory, atomic numbers and positions of the sites (QM atoms and link atoms, nm), the
    charges that they saw (e, nm), and the message.

    Args:
        system: The mixed system.
        context: Its Context.
        path: Where to save.

    Raises:
        openmm.OpenMMException: What was raised inside, with the path where a calculation had failed.
    """
    try:
        yield
    except openmm.OpenMMException as error:
        if not _save(system, context, path):
            raise
        raise openmm.OpenMMException(
            f"{error}. The geometry at which the QM calculation failed is in {path}"
        ) from error


def _save(system: openmm.System, context: openmm.Context, path: Path) -> bool:
    force = find_qm_force(system)
    try:
        question = force.getLastQuestion(context)
    except openmm.OpenMMException:
        return False
    if not question.failure:
        return False
    content = {
        "schema": SCHEMA,
        "version": VERSION,
        "method": force.getEngine(),
        "settings": force.getEngineSettings(),
        "charge": force.getCharge(),
        "multiplicity": force.getMultiplicity(),
        "numbers": question.numbers.tolist(),
        "positions_nm": question.positions.tolist(),
        "charges_e": question.environmentCharges.tolist(),
        "charge_positions_nm": question.environmentPositions.tolist(),
        "failure": question.failure,
    }
    write_atomically(path, json.dumps(content, indent=1) + "\n")
    return True
