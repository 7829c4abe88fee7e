"""Labels of the pool: of configurations that differ most from what has a label."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial

import openmm

from kstep_models.regression.connectivity import Connectivity
from kstep_models.regression.permutations import symmetries
from kstep_models.workers import InProcess, Workers
from openmmkstep.io.frames import frame_of_result
from openmmkstep.io.labels import LabelSource
from openmmkstep.openmmapi.qmmm_force import QMResult

from ..books import Books
from ..problem import Problem
from ..record import Record
from ..settings import LearningSettings
from .labelling import PackedSystem, errors_of, label, label_anywhere
from .pool import Pool
from .selection import select


def label_pool(problem: Problem, settings: LearningSettings, books: Books, workers: Workers, count: int) -> None:
    """Label some configurations, each of which is recorded when it comes; which ones is recorded before.

    Args:
        problem: What is learned for.
        settings: What is aimed at.
        books: Where it is recorded.
        workers: Who computes.
        count: How many; those of a choice that was interrupted, if there is one.

    Raises:
        LearningError: The pool cannot be read, a worker was lost or does not know the engine.
        openmm.OpenMMException: A calculation fails.
    """
    record = books.record
    pool = Pool.read(books.folder / "pool.npz")
    system = problem.mixed()
    source = LabelSource(system, problem.has_level)
    task = _task(problem, workers, system, source)
    writer = books.writer(source, problem.topology)
    if not record.chosen_left:
        record.chosen = _choose(problem, settings, record, source, pool, count)
    left = record.chosen_left[:count]
    width = workers.count_at_a_time(len(left))
    record.in_flight = width
    books.save()
    # Closed by whatever interrupts, so that no process works on.
    with closing(workers.results(task, {place: pool.only(place) for place in left}, errors_of)) as results:
        for number, (place, result) in enumerate(results, start=1):
            books.keep(writer, frame_of_result(result, source.is_embedded, 0, float(place), problem.temperature))
            record.labelled.append(place)
            record.labelled_since_fit += 1
            record.qm_calls += 1
            record.in_flight = min(width, len(left) - number)
            books.save()
            books.progress(f"label {number} of {len(left)} of the pool; {record.qm_calls} QM calls")


def _choose(
    problem: Problem, settings: LearningSettings, record: Record, source: LabelSource, pool: Pool, count: int
) -> list[int]:
    region = source.region(problem.topology)
    n = len(region.particles)
    bonds = region.site_bonds[(region.site_bonds < n).all(axis=1)]
    positions = pool.region(region.particles)
    group = symmetries(Connectivity.of(region.numbers, bonds, positions), settings.max_permutations)
    seed = settings.seed + len(record.labelled)
    chosen = select(positions, count, group, seed, record.labelled)
    if len(chosen) < count:
        # All others are the same as one that has a label, or gets one now.
        record.pool_size = len(record.labelled) + len(chosen)
    return chosen


def _task(problem: Problem, workers: Workers, system: openmm.System, source: LabelSource) -> Callable[[Pool], QMResult]:
    if isinstance(workers, InProcess):
        context = problem.context(system, openmm.VerletIntegrator(0.001))
        return partial(label, context=context, source=source)
    return partial(label_anywhere, packed=PackedSystem.of(system, problem.has_level))
