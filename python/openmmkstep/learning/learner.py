"""Carries learning out: pool, labels, fits, trials, until a k is held; and takes it up where it was interrupted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app, unit

from kstep_models.files import write_atomically
from kstep_models.frames import FrameWriter
from kstep_models.locks import locked
from kstep_models.regression.exporting import fit_and_export
from kstep_models.regression.labels import Labels
from kstep_models.regression.permutations import permutation_group
from kstep_models.units import BOLTZMANN
from kstep_models.workers import InProcess
from openmmkstep.io.frames import count_frames, frame_of_result, keep_frames
from openmmkstep.io.labels import LabelSource
from openmmkstep.io.phase_space import PhaseSpacePoint
from openmmkstep.openmmapi.kstep_integrator import KStepIntegrator
from openmmkstep.openmmapi.qmmm_force import QMMMForce, QMResult
from openmmkstep.qmmm.integrator import createIntegrator
from openmmkstep.qmmm.levels import force_groups
from openmmkstep.units import value_in

from .decisions import Decision, Fit, Hold, Label, Try, decide
from .labelling import PackedSystem, errors_of, label, label_anywhere, workers_from
from .levels import digest_of_levels
from .places import TrialPlaces
from .pool import Pool, draw_velocities, groups_of_the_level_below, make_pool
from .record import FitRecord, Record, Trial
from .selection import select
from .settings import LearningError, LearningSettings

# A trial measures; the guard, which would redo steps with k QM calls each, must not take part.
_NO_BOUND = 1e12
# Error of energy of one outer step, kT, beyond which a trial is no dynamics any more.
_BREAKDOWN = 100.0


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
        self._mix = mix
        self._topology = topology
        self._start = list(start)
        self._temperature = value_in(temperature, unit.kelvin)
        self._friction = value_in(friction, unit.picosecond**-1)
        self._inner_step = value_in(innerStep, unit.picosecond)
        if not self._temperature > 0:
            raise LearningError("learning needs a temperature, by which the acceptance is measured: give one above 0 K")
        self._options = dict(integratorOptions or {})
        self._platform = platform
        self._properties = dict(properties or {})
        self._log = log
        self._progress = progress
        self._workers = workers_from(workers, scheduler)
        self._record = Record({})
        self._labels = self.folder / "labels.h5"

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
            system = self._mixed(0)
            self._refuse_what_teaches_nothing(system)
            self._refuse_other_levels(system)
            if not (self.folder / "start.npz").exists() or (self.settings.learns and self._record.pool_size == 0):
                self._begin(system, positions, box, velocities)
            decision = self._decide()
            while not isinstance(decision, Hold):
                self._carry_out(decision)
                decision = self._decide()
            return self._hold(decision)

    def _refuse_what_teaches_nothing(self, system: openmm.System) -> None:
        if not self.settings.learns:
            return
        below = [force for force in system.getForces() if force.getForceGroup() == force_groups.SURROGATE]
        if self._start and not (len(below) == 1 and QMMMForce.isInstance(below[0])):
            raise LearningError(
                "what is learned is the difference to one QM method, which is all that start may name then: leave out "
                "the other parts, or set first_labels to 0 to find the k that they carry"
            )
        region = LabelSource(system, bool(self._start)).region(self._topology)
        if len(region.site_numbers) < 2:
            raise LearningError(
                "a region of one atom has no geometry to learn from: take a larger region, or set first_labels to 0 to "
                "find the k of a surrogate that is there"
            )

    def _refuse_other_levels(self, system: openmm.System) -> None:
        levels = digest_of_levels(system)
        # Those of a folder that was begun by a version that did not record them cannot be told.
        if self._record.levels not in ("", levels):
            raise LearningError(
                f"{self.folder} holds learning with another QM level or other levels below it: choose another folder, "
                "or remove it"
            )
        self._record.levels = levels

    def _decide(self) -> Decision:
        return decide(self._record, self.settings, bool(self._start))

    def _carry_out(self, decision: Decision) -> None:
        if isinstance(decision, Label):
            with self._timed("labels"):
                self._label(decision.count)
        elif isinstance(decision, Fit):
            with self._timed("fits"):
                self._fit()
        elif isinstance(decision, Try):
            with self._timed("trials"):
                self._try(decision)

    def _open(self) -> None:
        """Read the record, if there is one, and cut off what an interruption left half done."""
        path = self.folder / "learning.json"
        settings = {
            **asdict(self.settings),
            "ks": list(self.settings.ks),
            "temperature": self._temperature,
            "friction": self._friction,
            "inner_step": self._inner_step,
        }
        # How much may be spent is not what it is spent on: a larger budget takes learning up again.
        budget = settings.pop("max_calls")
        if not path.exists():
            self._record = Record(settings)
            return
        self._record = Record.read(path)
        if dict(self._record.settings) != settings:
            names = sorted(name for name in settings if self._record.settings.get(name) != settings[name])
            raise LearningError(
                f"{self.folder} holds learning with other settings ({', '.join(names)}): choose another folder, or "
                "remove it"
            )
        if self._labels.exists() and count_frames(self._labels) > self._record.labels:
            keep_frames(self._labels, self._record.labels)
        held = self._record.held
        if held is not None and held["max_calls"] < budget:
            self._record.held = None

    def _save(self) -> None:
        self._record.write(self.folder / "learning.json")

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        times = self._record.wall_time
        times[what] = times.get(what, 0.0) + time.perf_counter() - start
        self._save()

    def _mixed(self, fit: int) -> openmm.System:
        parts = list(self._start)
        if fit > 0:
            parts.append(self._archive(fit))
        return self._mix(parts or None)

    def _archive(self, fit: int) -> Path:
        return self.folder / self._record.fits[fit - 1].archive

    def _context(self, system: openmm.System, integrator: openmm.Integrator) -> openmm.Context:
        if self._platform is None:
            return openmm.Context(system, integrator)
        return openmm.Context(system, integrator, self._platform, self._properties)

    def _begin(self, system: openmm.System, positions: Any, box: Any, velocities: Any) -> None:
        """Remember where to begin, and sample the pool from there."""
        settings = self.settings
        integrator = openmm.LangevinMiddleIntegrator(
            self._temperature * settings.pool_temperature, 2.0, self._inner_step
        )
        integrator.setRandomNumberSeed(settings.seed)
        integrator.setIntegrationForceGroups(groups_of_the_level_below(system))
        context = self._context(system, integrator)
        if box is not None:
            context.setPeriodicBoxVectors(*box)
        context.setPositions(positions)
        drawn = draw_velocities(system, self._temperature, settings.seed)
        context.setVelocities(drawn if velocities is None else velocities)
        context.applyVelocityConstraints(integrator.getConstraintTolerance())
        if not settings.learns:
            write_atomically(self.folder / "start.npz", PhaseSpacePoint.of(context).to_bytes())
            self._save()
            return
        self._log(f"sampling {settings.pool_time:g} ps on the level below QM")
        with self._timed("pool"):
            pool = make_pool(context, settings.pool_time, settings.pool_size)
            pool.write(self.folder / "pool.npz")
            # Trials begin where the level below has led: nearer to the QM level than a force field is.
            context.setVelocities(drawn)
            context.applyVelocityConstraints(integrator.getConstraintTolerance())
            write_atomically(self.folder / "start.npz", PhaseSpacePoint.of(context).to_bytes())
            self._record.pool_size = len(pool)

    def _label(self, count: int) -> None:
        """Label some of the pool, those that differ most from what has a label."""
        record = self._record
        pool = Pool.read(self.folder / "pool.npz")
        system = self._mixed(0)
        source = LabelSource(system, bool(self._start))
        task = self._task(system, source)
        writer = self._writer(source)
        region = source.region(self._topology)
        n = len(region.particles)
        bonds = region.site_bonds[(region.site_bonds < n).all(axis=1)]
        group = permutation_group(region.numbers, bonds, self.settings.max_permutations)
        seed = self.settings.seed + len(record.labelled)
        chosen = select(pool.region(region.particles), count, group, seed, record.labelled)
        if len(chosen) < count:
            # All others are the same as one that has a label, or gets one now.
            record.pool_size = len(record.labelled) + len(chosen)
        configurations = {place: pool.only(place) for place in chosen}
        # Closed by whatever interrupts, so that no process works on.
        with closing(self._workers.results(task, configurations, errors_of)) as results:
            for number, (place, result) in enumerate(results, start=1):
                frame = frame_of_result(result, source.is_embedded, 0, float(place), self._temperature)
                self._keep(writer, frame)
                record.labelled.append(place)
                record.labelled_since_fit += 1
                record.qm_calls += 1
                self._save()
                self._progress(f"label {number} of {len(chosen)} of the pool; {record.qm_calls} QM calls")

    def _task(self, system: openmm.System, source: LabelSource) -> Callable[[Pool], QMResult]:
        if isinstance(self._workers, InProcess):
            context = self._context(system, openmm.VerletIntegrator(0.001))
            return partial(label, context=context, source=source)
        return partial(label_anywhere, packed=PackedSystem.of(system, bool(self._start)))

    def _writer(self, source: LabelSource) -> FrameWriter:
        return source.open(self._labels, self._topology, append=self._labels.exists(), flush_every=1)

    def _keep(self, writer: FrameWriter, frame: Any) -> None:
        writer.append(frame)
        writer.flush()
        self._record.labels = len(writer)

    def _fit(self) -> None:
        record, settings = self._record, self.settings
        number = len(record.fits) + 1
        name = f"surrogate-{number}.pt"

        def choose(labels: Labels) -> NDArray[np.int64]:
            most = max(10, settings.max_unknowns // (3 * labels.positions.shape[1]))
            if len(labels) <= most:
                return np.arange(len(labels))
            group = permutation_group(labels.numbers, labels.bonds, settings.max_permutations)
            # In the order of the choice neighbours in time stand apart, as held-out labels should.
            return np.array(select(labels.positions, most, group, settings.seed), dtype=np.int64)

        exported = fit_and_export(
            [self._labels], self.folder / name, None, settings.max_permutations, self._log, choose
        )
        result = exported.result
        errors = {str(parts): error for parts, error in result.errors.items()}
        regression = result.regression
        record.fits.append(FitRecord(record.labels, regression.labels, regression.parts, errors, result.size, name))
        record.labelled_since_fit = 0
        self._save()
        best = errors[regression.parts]
        self._log(
            f"fit {number}: {regression.labels} labels, {regression.parts}, {best:.1f} of {result.size:.0f} meV/A"
        )

    def _try(self, decision: Try) -> None:
        """Outer steps at one k, each of which is recorded before the next."""
        record, settings = self._record, self.settings
        if not record.trials or record.trials[-1].finished:
            record.trials.append(Trial(decision.k, decision.fit, self._temperature))
        trial = record.trials[-1]
        system = self._mixed(trial.fit)
        integrator = self._integrator(system, trial)
        context = self._context(system, integrator)
        places = self._places()
        places.present().apply_to(context)
        keep = self._keeper(system)
        calls = 0
        while len(trial.errors) < settings.trial_steps and not trial.is_hopeless(
            settings.acceptance, settings.trial_steps
        ):
            trial.failed = not self._step(integrator, trial)
            statistics = integrator.getStatistics()
            record.qm_calls += statistics.qmCalls - calls
            calls = statistics.qmCalls
            if trial.failed:
                break
            keep(context, trial)
            places.write(PhaseSpacePoint.of(context))
            self._save()
            places.forget_last()
            self._progress(
                f"step {len(trial.errors)} of {settings.trial_steps} at k = {trial.k}; {record.qm_calls} QM calls, "
                f"acceptance {trial.acceptance:.3f}"
            )
        before = places.sound()
        trial.finished = True
        self._save()
        if places.sound() != before:
            places.forget(before)
        verdict = "passes" if trial.passes(settings.acceptance) else "fails"
        what = f"fit {trial.fit}" if trial.fit else "the level below"
        self._log(
            f"k = {trial.k} with {what}: acceptance {trial.acceptance:.3f} +- {trial.uncertainty:.3f}, {verdict}; "
            f"energy errors {trial.mean_error:+.2f} +- {trial.error_of_mean:.2f} kJ/mol per step; "
            f"{record.qm_calls} QM calls"
        )

    def _places(self) -> TrialPlaces:
        return TrialPlaces(self.folder, self._record.trials, self.settings.acceptance)

    def _step(self, integrator: KStepIntegrator, trial: Trial) -> bool:
        """Take an outer step and note its error; False if it breaks down, so that nothing is to be learned from it."""
        try:
            integrator.step(1)
        except openmm.OpenMMException as failure:
            # What fails at once is wrong by itself; what fails later, k has led there.
            if not trial.errors:
                raise
            self._log(f"k = {trial.k} breaks down: {failure}")
            return False
        statistics = integrator.getStatistics()
        error, correction = statistics.metropolisError, statistics.correctionRMS
        if statistics.fallbacks > 0 or error is None or correction is None:
            return False
        if not abs(error) < _BREAKDOWN * BOLTZMANN * self._temperature:
            return False
        trial.errors.append(error)
        trial.corrections.append(correction)
        return True

    def _keeper(self, system: openmm.System) -> Callable[[openmm.Context, Trial], None]:
        """What keeps the label of an outer step; nothing does, where nothing is learned."""
        if not self.settings.learns:
            return lambda context, trial: None
        source = LabelSource(system, bool(self._start))
        writer = self._writer(source)

        def keep(context: openmm.Context, trial: Trial) -> None:
            time, place = len(trial.errors) * trial.k * self._inner_step, len(self._record.trials)
            result = source.read(context)
            self._keep(writer, frame_of_result(result, source.is_embedded, place, time, self._temperature))

        return keep

    def _integrator(self, system: openmm.System, trial: Trial) -> KStepIntegrator:
        step = (self._temperature, self._friction, self._inner_step, trial.k)
        integrator = createIntegrator(system, *step, **self._options)
        integrator.setMetropolis("monitor")
        integrator.setMaxEnergyError(_NO_BOUND)
        integrator.setMaxCorrection(_NO_BOUND)
        # Not the noise of the steps that were taken before an interruption.
        integrator.setRandomNumberSeed(self.settings.seed + 1000 * len(self._record.trials) + len(trial.errors))
        return integrator

    def _hold(self, decision: Hold) -> Learned:
        record = self._record
        archive = self._archive(decision.fit) if decision.fit else None
        if record.held is None:
            record.held = {"k": decision.k, "fit": decision.fit, "reason": decision.reason}
            record.held["max_calls"] = self.settings.max_calls
            self._save()
            self._log(f"k = {decision.k} is held after {record.qm_calls} QM calls: {decision.reason}")
        return Learned(self._mixed(decision.fit), decision.k, archive, self._places().present(), record)
