"""Production in blocks: what learning has to do with it."""

from __future__ import annotations

from openmm import app

from openmmkstep.io.phase_space import PhaseSpacePoint
from openmmkstep.io.statistics import continued, statistics_from_json, statistics_to_json
from openmmkstep.learning import Learner
from openmmkstep.learning.watching import read_block_end
from openmmkstep.openmmapi.kstep_integrator import KStepIntegrator, KStepStatistics
from openmmkstep.reporters import FrameReporter
from openmmkstep.workflows.plan import LearningPlan

from .outputs import GrowingOutput, GrowingTable, LabelledFrames


class Blocks:
    """The blocks of production that have the present surrogate and k in common, and their end.

    Such a row of blocks is one simulation. Its number is that of its first block, from 0.

    Args:
        learner: Which has learned, and learns again.
        plan: What is learned.
    """

    def __init__(self, learner: Learner, plan: LearningPlan) -> None:
        self._learner = learner
        self._plan = plan
        blocks = learner.record.blocks
        finished = [block for block in blocks if block.finished]
        self.segment = len(finished)
        while self.segment and (blocks[self.segment - 1].k, blocks[self.segment - 1].fit) == learner.record.present:
            self.segment -= 1
        before = finished[self.segment - 1].statistics if self.segment else None
        self.before: KStepStatistics | None = None if before is None else statistics_from_json(before)
        """Statistics of production up to where the row begins; None at the beginning of production."""
        self.k, self.fit = learner.record.present or (1, 0)
        books = learner.books
        self.outputs: tuple[GrowingOutput, ...] = (
            LabelledFrames(books.production_labels),
            GrowingTable(books.production_steps),
        )

    @property
    def begun(self) -> bool:
        """Whether a block of production is over."""
        return any(block.finished for block in self._learner.record.blocks)

    @property
    def start(self) -> int:
        """Outer steps of the present k that the time before the row has."""
        return self.segment * self._plan.block // self.k

    def point(self) -> PhaseSpacePoint:
        """Where the row begins, which is not the beginning of production. Raises LearningError."""
        return read_block_end(self._learner.books, self.segment)

    def watch(self, simulation: app.Simulation) -> FrameReporter | None:
        """Begin a block, or take it up."""
        every = max(1, self._plan.labels // self.k)
        return self._learner.watch(simulation, every, takenUp=True)

    def end_after(self, step: int) -> int:
        """The outer step with which the block ends that is under way after one."""
        length = self._plan.block // self.k
        return (step // length + 1) * length

    def is_over(self, step: int) -> bool:
        """Whether a block that was begun ends with an outer step, which has not been told yet."""
        blocks = self._learner.record.blocks
        return bool(blocks) and not blocks[-1].finished and step * self.k >= len(blocks) * self._plan.block

    def review(self, simulation: app.Simulation) -> bool:
        """End a block, and learn again if there is a reason; false where surrogate or k are others then."""
        statistics = KStepIntegrator.cast(simulation.integrator).getStatistics()
        self._learner.review(simulation, statistics_to_json(continued(self.before, statistics)))
        return self._learner.record.present == (self.k, self.fit)

    @property
    def label(self) -> str:
        """What the progress line calls it."""
        record = self._learner.record
        fit = f"fit {self.fit} of {record.fits[self.fit - 1].labels} labels" if self.fit else "no fit"
        beside = self._learner.books.beside()
        return f"production ({fit}; {beside})" if beside else f"production ({fit})"
