"""Carries learning out: pool, labels, fits, trials, until a k is held; and takes it up where it was interrupted."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import openmm
from openmm import app, unit

from kstep_models.frames import FrameFileError
from kstep_models.locks import locked
from openmmkstep.io.phase_space import PhaseSpacePoint
from openmmkstep.reporters import FrameReporter, OuterStepReporter
from openmmkstep.units import value_in

from .blocks import Round
from .books import Books
from .decisions import Decision, Fit, Hold, Label, Try, Wait, decide
from .levels import refuse_what_teaches_nothing
from .networks import refuse_missing_training
from .problem import Problem
from .record import Record
from .relearning import decide_again, is_worth_a_network, why_again
from .settings import LearningError, LearningSettings
from .stages.fits import fit
from .stages.labelling import workers_from
from .stages.networks import Networks
from .stages.pool_labels import label_pool
from .stages.sampling import begin
from .stages.trials import Trials, places_of
from .watching import close_block, read_block_end, watch


@dataclass(frozen=True)
class Learned:
    """What learning came to.

    Attributes:
        system: The mixed system with the levels that were learned.
        k: Inner steps per QM call that reached the target.
        archive: What was learned; None where the level that was there is as good, or nothing was good enough.
        point: Where the trials ended, which is a good place to go on from: it is nearer to equilibrium on the QM level
            than where learning began. Once production has begun, where its last block ended.
        record: All that was done.
    """

    system: openmm.System
    k: int
    archive: Path | None
    point: PhaseSpacePoint
    record: Record


class Learner:
    """Learns a surrogate from QM labels and finds the k that it carries, with every QM call counted.

    First a pool of configurations is made by dynamics on the levels that are there, which costs no QM call. Some of
    them, as different as possible, are labelled and fitted; short trials then measure at which k outer steps would be
    accepted by a Metropolis test on the correction. Every outer step of a trial is another label. Where no k is left
    that passes, more labels of the pool are added, until the calls are used up. What is done next follows from the
    record in the folder alone, so that learning that was interrupted goes on.

    Production may be watched in blocks, each with one surrogate and one k: every outer step of it is another label, and
    where a block shows that the surrogate is not good enough any more, or that there are enough labels for a larger k,
    more is learned::

        for _ in range(blocks):
            integrator = createIntegrator(learned.system, 300, 1.0, 0.0005, learned.k)
            simulation = app.Simulation(topology, learned.system, integrator)
            learned.point.apply_to(simulation.context)
            learner.watch(simulation)
            simulation.step(round(2000 / learned.k))
            learned = learner.review(simulation)

    Args:
        mix: Makes the mixed system for a list of parts of the surrogate, or None for none, as the argument
            ``surrogate`` of `QMMMPotential.createMixedSystem` takes it. Where it is called with None there must be a
            base level, ``baseLevel="force-field"`` say.
        topology: Topology of the system.
        folder: Where everything is kept.
        start: Parts of the surrogate to begin with: the name of a QM method, to which a difference is learned; none to
            learn the QM level whole. Anything where nothing is learned but k (``first_labels=0``).
        temperature: Of the run that is to follow, a temperature or a number in K.
        friction: Of its thermostat, an inverse time or a number in 1/ps.
        innerStep: Its inner step, a time or a number in ps.
        settings: What is aimed at, and with what effort.
        integratorOptions: Further arguments of `createIntegrator`, such as ``nonbondedPeriod``.
        platform: OpenMM platform; None for the fastest.
        properties: Its properties.
        log: Called with what is being done.
        progress: Called with how far it is, often.
        workers: Processes that label configurations of the pool side by side, one thread each; 1 for this one alone. A
            script must keep its own work under ``if __name__ == "__main__":`` then. Labels are recorded as they come,
            in any order, and fits hold out others of them for it.
        scheduler: Instead, the address of a running Dask scheduler, such as tcp://host:8786, whose workers have this
            package, too. Each labels one configuration at a time, with however many threads.

    Raises:
        LearningError: Settings that make no sense.
    """

    def __init__(
        self,
        mix: Callable[[list[Any] | None], openmm.System],
        topology: app.Topology,
        folder: str | os.PathLike[str],
        start: Sequence[Any] = (),
        temperature: float | unit.Quantity = 300.0,
        friction: float | unit.Quantity = 1.0,
        innerStep: float | unit.Quantity = 0.0005,  # noqa: N803 (beside createIntegrator)
        settings: LearningSettings | None = None,
        integratorOptions: Mapping[str, Any] | None = None,  # noqa: N803
        platform: openmm.Platform | None = None,
        properties: Mapping[str, str] | None = None,
        log: Callable[[str], None] = lambda _: None,
        progress: Callable[[str], None] = lambda _: None,
        workers: int = 1,
        scheduler: str | None = None,
    ) -> None:
        self.settings = settings or LearningSettings()
        self.folder = Path(folder)
        self._problem = Problem(
            mix,
            topology,
            list(start),
            value_in(temperature, unit.kelvin),
            value_in(friction, unit.picosecond**-1),
            value_in(innerStep, unit.picosecond),
            dict(integratorOptions or {}),
            platform,
            dict(properties or {}),
        )
        if not self._problem.temperature > 0:
            raise LearningError("learning needs a temperature, by which the acceptance is measured: give one above 0 K")
        self._workers = workers_from(workers, scheduler)
        self._books = Books(self.folder, log, progress)
        refuse_missing_training(self.settings)
        self._networks = Networks(self.settings, self._books)
        self._watching: list[FrameReporter | OuterStepReporter] = []

    def learn(self, positions: Any, box: Any = None, velocities: Any = None) -> Learned:
        """Learn, or take up what was interrupted; where learning is over its result is there at once.

        Learning again after a block of production, too: what `review` would have returned is returned.

        Args:
            positions: Where to begin, equilibrated [N,3], nm or a Quantity.
            box: Box vectors [3,3], nm or a Quantity; None for those of the system.
            velocities: [N,3], nm/ps or a Quantity; None to draw them.

        Raises:
            LearningError: The folder holds learning with other settings, or damaged files; or a worker was lost, or
                does not know the engine.
            InUseError: Another program is learning there.
            WorkersError, NoDaskError: The scheduler does not answer, processes cannot be started, or there is no Dask.
            openmm.OpenMMException: A calculation fails.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder):
            self._open()
            system = self._problem.mixed()
            if self.settings.learns:
                refuse_what_teaches_nothing(self._problem, system)
                self._networks.refuse_what_fails()
            self._books.refuse_other_levels(system)
            record = self._books.record
            if not (self.folder / "start.npz").exists() or (self.settings.learns and record.pool_size == 0):
                begin(self._problem, self.settings, self._books, system, positions, box, velocities)
            self._networks.go_on()
            self._go_on()
            return self._learned()

    def watch(self, simulation: app.Simulation, every: int = 1, takenUp: bool = False) -> FrameReporter | None:  # noqa: N803
        """Keep labels and errors of a block of production, by reporters that are added to the simulation.

        Where its Metropolis mode is off it is set to "monitor", which measures and rejects nothing. A script that is
        killed loses the labels of the block under way, unless it goes on exactly by itself.

        Args:
            simulation: Of ``learned.system`` with ``learned.k``.
            every: Outer steps between labels.
            takenUp: Whether files and simulation go on together in the middle of a block, from a checkpoint of both.

        Returns:
            What keeps the labels; None where nothing is learned but k.

        Raises:
            LearningError: Nothing has been learned yet, or the simulation has another k.
        """
        frames, self._watching = watch(self._problem, self._books, simulation, self.settings.learns, every, takenUp)
        return frames

    def review(self, simulation: app.Simulation, statistics: Mapping[str, Any] | None = None) -> Learned:
        """End a block, and learn again if there is a reason to and QM calls are left for it.

        Reasons are an acceptance that is below what is aimed at, by more than chance explains; steps that the guard
        redid; and, where k is not the largest, twice as many labels as the last fit had.

        Args:
            simulation: Which was watched; its reporters are removed.
            statistics: Of production, for the record.

        Returns:
            What is to be used from now on. The simulation can go on where k and archive are the same.

        Raises:
            LearningError: Files are damaged.
            FrameFileError: The labels cannot be written while another program reads them.
            InUseError: Another program is learning there.
            openmm.OpenMMException: A calculation fails.
        """
        for reporter in self._watching:
            if isinstance(reporter, FrameReporter) and not reporter.flush():
                raise FrameFileError(
                    f"{self._books.production_labels} is kept open by another program: close it and call review() again"
                )
            simulation.reporters.remove(reporter)
        self._watching = []
        with locked(self.folder):
            books, record = self._books, self._books.record
            close_block(self._problem, books, simulation, statistics)
            reason = why_again(record, self.settings)
            number, fits = len(record.blocks), len(record.fits)
            # Where there is another reason the network is one more candidate, after the fit to all labels.
            if not reason and is_worth_a_network(record, self.settings) and self._networks.collect():
                reason = "a network has been trained" if len(record.fits) > fits else ""
            if reason:
                record.rounds.append(Round(number, reason, len(record.trials), fits))
                books.log(f"learning again after block {number}: {reason}")
            books.save()
            books.block_end(number - 1).unlink(missing_ok=True)
            self._go_on()
            return self._learned()

    def close(self) -> None:
        """End the training of a network that is under way; `learn` takes it up again. Nothing else needs to be ended.

        It ends with this object and with this program, too.
        """
        self._networks.stop()

    @property
    def books(self) -> Books:
        """The folder, and what is recorded there."""
        return self._books

    @property
    def record(self) -> Record:
        """All that was done."""
        return self._books.record

    def _go_on(self) -> None:
        decision = self._decide()
        while not isinstance(decision, Hold):
            self._carry_out(decision)
            # Learning again fits to all labels first.
            if not (isinstance(decision, Label) and self._books.record.is_learning_again) and self._networks.collect():
                self._books.save()
            decision = self._decide()
        self._hold(decision)

    def _open(self) -> None:
        problem = self._problem
        settings = {
            **asdict(self.settings),
            "ks": list(self.settings.ks),
            "temperature": problem.temperature,
            "friction": problem.friction,
            "inner_step": problem.inner_step,
        }
        # How much may be spent is not what it is spent on: a larger budget takes learning up again.
        del settings["relearn_calls"], settings["network"]
        self._books.open(settings, settings.pop("max_calls"))

    def _decide(self) -> Decision:
        record = self._books.record
        if record.is_learning_again:
            return decide_again(record, self.settings)
        if record.held is not None:
            k, fit = record.present or (1, 0)
            return Hold(k, fit, "")
        return decide(record, self.settings, self._problem.has_level)

    def _carry_out(self, decision: Decision) -> None:
        books = self._books
        if isinstance(decision, Label):
            with books.timed("labels"):
                label_pool(self._problem, self.settings, books, self._workers, decision.count)
        elif isinstance(decision, Fit):
            with books.timed("fits"):
                fit(self.settings, books)
            self._networks.go_on()
        elif isinstance(decision, Try):
            with books.timed("trials"):
                Trials(self._problem, self.settings, books).carry_out(decision.k, decision.fit)
        elif isinstance(decision, Wait):
            with books.timed("waiting for networks"):
                self._networks.wait()

    def _hold(self, decision: Hold) -> None:
        books, record = self._books, self._books.record
        held = {"k": decision.k, "fit": decision.fit, "reason": decision.reason}
        if record.is_learning_again:
            record.rounds[-1].held = held
        elif record.held is None:
            record.held = {**held, "max_calls": self.settings.max_calls, "qm_calls": record.qm_calls}
        else:
            return
        books.save()
        books.log(f"k = {decision.k} is held after {record.qm_calls} QM calls: {decision.reason}")

    def _learned(self) -> Learned:
        books, record = self._books, self._books.record
        k, fit_number = record.present or (1, 0)
        archive = books.archive(fit_number)
        finished = sum(block.finished for block in record.blocks)
        point = read_block_end(books, finished) if finished else places_of(self.settings, books).present()
        return Learned(self._problem.mixed(archive), k, archive, point, record)
