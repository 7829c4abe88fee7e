"""Carries learning out: pool, labels, fits, trials, until a k is held; and takes it up where it was interrupted."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import openmm
from openmm import app, unit

from kstep_models.locks import locked
from openmmkstep.io.labels import LabelSource
from openmmkstep.io.phase_space import PhaseSpacePoint
from openmmkstep.openmmapi.qmmm_force import QMMMForce
from openmmkstep.qmmm.levels import force_groups
from openmmkstep.units import value_in

from .books import Books
from .decisions import Decision, Fit, Hold, Label, Try, decide
from .problem import Problem
from .record import Record
from .settings import LearningError, LearningSettings
from .stages.fits import fit
from .stages.labelling import workers_from
from .stages.pool_labels import label_pool
from .stages.sampling import begin
from .stages.trials import Trials, places_of


@dataclass(frozen=True)
class Learned:
    """What learning came to.

    Attributes:
        system: The mixed system with the levels that were learned.
        k: Inner steps per QM call that reached the target.
        archive: What was learned; None where the level that was there is as good, or nothing was good enough.
        point: Where the trials ended, which is a good place to go on from: it is nearer to equilibrium on the QM level
            than where learning began.
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

    def learn(self, positions: Any, box: Any = None, velocities: Any = None) -> Learned:
        """Learn, or take up what was interrupted; where learning is over its result is there at once.

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
            self._refuse_what_teaches_nothing(system)
            self._books.refuse_other_levels(system)
            record = self._books.record
            if not (self.folder / "start.npz").exists() or (self.settings.learns and record.pool_size == 0):
                begin(self._problem, self.settings, self._books, system, positions, box, velocities)
            decision = self._decide()
            while not isinstance(decision, Hold):
                self._carry_out(decision)
                decision = self._decide()
            return self._hold(decision)

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
        self._books.open(settings, settings.pop("max_calls"))

    def _refuse_what_teaches_nothing(self, system: openmm.System) -> None:
        if not self.settings.learns:
            return
        problem = self._problem
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

    def _decide(self) -> Decision:
        return decide(self._books.record, self.settings, self._problem.has_level)

    def _carry_out(self, decision: Decision) -> None:
        books = self._books
        if isinstance(decision, Label):
            with books.timed("labels"):
                label_pool(self._problem, self.settings, books, self._workers, decision.count)
        elif isinstance(decision, Fit):
            with books.timed("fits"):
                fit(self.settings, books)
        elif isinstance(decision, Try):
            with books.timed("trials"):
                Trials(self._problem, self.settings, books).carry_out(decision.k, decision.fit)

    def _hold(self, decision: Hold) -> Learned:
        books, record = self._books, self._books.record
        archive = books.archive(decision.fit)
        if record.held is None:
            record.held = {"k": decision.k, "fit": decision.fit, "reason": decision.reason}
            record.held["max_calls"] = self.settings.max_calls
            books.save()
            books.log(f"k = {decision.k} is held after {record.qm_calls} QM calls: {decision.reason}")
        point = places_of(self.settings, books).present()
        return Learned(self._problem.mixed(archive), decision.k, archive, point, record)
