"""Production as learning sees it: labels and errors of its outer steps, and blocks of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openmm import app

from kstep_models.files import write_atomically
from openmmkstep.io.frames import count_frames, keep_frames
from openmmkstep.io.phase_space import PhaseSpacePoint
from openmmkstep.openmmapi.kstep_integrator import KStepIntegrator
from openmmkstep.reporters import FrameReporter, OuterStepReporter

from .blocks import Block, keep_steps, read_steps
from .books import Books
from .problem import Problem
from .settings import LearningError


def open_block(books: Books) -> Block:
    """The block that is under way, or a new one with what is held now.

    Raises:
        LearningError: Nothing has been learned yet.
    """
    record = books.record
    if record.blocks and not record.blocks[-1].finished:
        return record.blocks[-1]
    if record.present is None:
        raise LearningError("there is nothing yet to begin production with: call learn() first")
    k, fit = record.present
    start, first = (record.blocks[-1].end, _steps(books)) if record.blocks else (0, 0)
    record.blocks.append(Block(k, fit, start, first))
    books.save()
    return record.blocks[-1]


def watch(
    problem: Problem, books: Books, simulation: app.Simulation, learns: bool, every: int, taken_up: bool
) -> tuple[FrameReporter | None, list[FrameReporter | OuterStepReporter]]:
    """Add reporters that keep labels and errors of a block.

    Args:
        problem: What is learned for.
        books: Where they are kept.
        simulation: Of the system and the k that are held.
        learns: Whether labels are of use.
        every: Outer steps between labels.
        taken_up: Whether the files go on where the simulation does; else what they have of the block is cut off.

    Returns:
        What keeps the labels, and all that was added.

    Raises:
        LearningError: The simulation has another k.
    """
    block = open_block(books)
    integrator = KStepIntegrator.cast(simulation.integrator)
    if integrator.getK() != block.k:
        raise LearningError(f"k = {block.k} is held, but the simulation has k = {integrator.getK()}: use learned.k")
    if integrator.getMetropolis() == "off":
        # Errors are measured, and nothing is rejected.
        integrator.setMetropolis("monitor")
    if not taken_up:
        keep_steps(books.production_steps, block.first)
        labels = books.record.production_labels
        if books.production_labels.exists() and count_frames(books.production_labels) > labels:
            keep_frames(books.production_labels, labels)
    frames = None
    added: list[FrameReporter | OuterStepReporter] = [OuterStepReporter(books.production_steps, append=True)]
    if learns:
        frames = FrameReporter(books.production_labels, every, append=True, difference=problem.has_level)
        added.append(frames)
    simulation.reporters += added
    return frames, added


def close_block(
    problem: Problem, books: Books, simulation: app.Simulation, statistics: Mapping[str, Any] | None
) -> Block:
    """Note what the block under way was like, and where it ended.

    Args:
        problem: What is learned for.
        books: Where labels and errors are, and where it is recorded when that is saved.
        simulation: At the end of the block, with everything written.
        statistics: All statistics of production so far, if they are wanted in the record.
    """
    record = books.record
    block = record.blocks[-1]
    block.measure(read_steps(books.production_steps), problem.temperature)
    block.labels = count_frames(books.production_labels) if books.production_labels.exists() else 0
    block.statistics = statistics
    write_atomically(books.block_end(len(record.blocks)), PhaseSpacePoint.of(simulation.context).to_bytes())
    block.finished = True
    return block


def read_block_end(books: Books, number: int) -> PhaseSpacePoint:
    """Where a block ended, 1 for the first.

    Raises:
        LearningError: The file is missing or damaged.
    """
    path = books.block_end(number)
    try:
        return PhaseSpacePoint.from_bytes(path.read_bytes())
    except (OSError, ValueError) as error:
        raise LearningError(
            f"{path} cannot be read ({error}): restore it from a copy, or learn and run anew"
        ) from error


def _steps(books: Books) -> int:
    last = books.record.blocks[-1]
    return last.first + last.steps
