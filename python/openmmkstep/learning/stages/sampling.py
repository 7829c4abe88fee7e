"""Where learning begins: a pool of configurations from dynamics on the level below QM, and a place for trials."""

from __future__ import annotations

from typing import Any

import openmm

from kstep_models.files import write_atomically
from openmmkstep.io.phase_space import PhaseSpacePoint

from ..books import Books
from ..problem import Problem
from ..settings import LearningSettings
from .pool import draw_velocities, groups_of_the_level_below, make_pool

# Share of the time of the pool that follows it, at the temperature of the run.
_COOLING = 0.125


def begin(
    problem: Problem,
    settings: LearningSettings,
    books: Books,
    system: openmm.System,
    positions: Any,
    box: Any,
    velocities: Any,
) -> None:
    """Remember where to begin, and sample the pool from there.

    Args:
        problem: What is learned for.
        settings: What is aimed at.
        books: Where it is recorded.
        system: The mixed system with the levels that there are.
        positions: [N,3], nm or a Quantity.
        box: Box vectors [3,3], nm or a Quantity; None for those of the system.
        velocities: [N,3], nm/ps or a Quantity; None to draw them.

    Raises:
        LearningError: There is no level below QM, or its dynamics breaks down.
    """
    integrator = openmm.LangevinMiddleIntegrator(
        problem.temperature * settings.pool_temperature, 2.0, problem.inner_step
    )
    integrator.setRandomNumberSeed(settings.seed)
    integrator.setIntegrationForceGroups(groups_of_the_level_below(system))
    context = problem.context(system, integrator)
    if box is not None:
        context.setPeriodicBoxVectors(*box)
    context.setPositions(positions)
    drawn = draw_velocities(system, problem.temperature, settings.seed)
    context.setVelocities(drawn if velocities is None else velocities)
    context.applyVelocityConstraints(integrator.getConstraintTolerance())
    start = books.folder / "start.npz"
    if not settings.learns:
        write_atomically(start, PhaseSpacePoint.of(context).to_bytes())
        books.save()
        return
    books.log(f"sampling {settings.pool_time:g} ps on the level below QM")
    with books.timed("pool"):
        pool = make_pool(
            context,
            settings.pool_time,
            settings.pool_size,
            lambda number: books.progress(f"configuration {number} of {settings.pool_size} of the pool"),
        )
        pool.write(books.folder / "pool.npz")
        # Trials begin where the level below has led: nearer to the QM level than a force field is. What was heated, to
        # find more, is cooled before: solvent would take picoseconds of the run for it.
        integrator.setTemperature(problem.temperature)
        integrator.step(round(_COOLING * settings.pool_time / problem.inner_step))
        context.setVelocities(drawn)
        context.applyVelocityConstraints(integrator.getConstraintTolerance())
        write_atomically(start, PhaseSpacePoint.of(context).to_bytes())
        books.record.pool_size = len(pool)
