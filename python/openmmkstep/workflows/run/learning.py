"""Learning before production: from the plan of a run that has no k yet to one that has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import openmm
from rich.console import Console

from openmmkstep.io.phase_space import PhaseSpacePoint
from openmmkstep.learning import Learner, LearningError, LearningSettings
from openmmkstep.learning.record import Record
from openmmkstep.terminal import LogLines
from openmmkstep.workflows.plan import RunPlan
from openmmkstep.workflows.run_folder import RunFolder
from openmmkstep.workflows.setup.molecular_system import MolecularSystem


def learn(
    plan: RunPlan, molecules: MolecularSystem, files: RunFolder, point: PhaseSpacePoint, console: Console
) -> tuple[RunPlan, PhaseSpacePoint, Learner]:
    """Learn, or take up what was interrupted.

    Args:
        plan: The whole run, with what is to be learned.
        molecules: Force-field system.
        files: Files of the run.
        point: Where to begin: equilibrated with the force field.
        console: For progress.

    Returns:
        The plan with the surrogate and the k that were found, where to go on from, and who learns again.

    Raises:
        LearningError: The folder holds other learning, or damaged files; or what production began with is gone.
    """
    learning = plan.learning
    if learning is None:
        raise ValueError("there is nothing to learn in this plan")
    record = files.learning / "learning.json"
    has_begun = files.has(files.start) or files.checkpoint.exists()
    if has_begun and not record.exists():
        raise LearningError(
            f"{record} is missing, but production has begun with what it tells: restore it from a copy, or pass "
            "--fresh to start the run anew"
        )
    start = learning.parts()
    lines = LogLines(console)

    def mix(parts: list[Any] | None) -> openmm.System:
        learned = (parts or [])[len(start) :]
        return learning.mix(molecules, Path(learned[0]) if learned else None).system

    dynamics = plan.dynamics
    platform, properties = plan.system.find_platform()
    learner = Learner(
        mix,
        molecules.topology,
        files.learning,
        start,
        dynamics.temperature,
        1.0 if dynamics.friction is None else dynamics.friction,
        dynamics.levels.inner_step,
        _settings(learning.settings, record) if has_begun else learning.settings,
        learning.periods(),
        platform,
        properties,
        lambda message: lines.log(message, always=True),
        lines.log,
        learning.workers,
        learning.scheduler,
    )
    learned = learner.learn(point.positions, point.box, point.velocities)
    return plan.with_learned(learned.k, learned.archive), learned.point, learner


def _settings(settings: LearningSettings, path: Path) -> LearningSettings:
    """Those of a run whose production has begun: what may be spent before it is settled."""
    held = Record.read(path).held
    return settings if held is None else replace(settings, max_calls=int(held["max_calls"]))
