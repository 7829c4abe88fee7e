"""Trials: outer steps at one k, each of which is recorded before the next."""

from __future__ import annotations

from collections.abc import Callable

import openmm

from kstep_models.units import BOLTZMANN
from openmmkstep.io.frames import frame_of_result
from openmmkstep.io.labels import LabelSource
from openmmkstep.openmmapi.kstep_integrator import KStepIntegrator
from openmmkstep.qmmm.integrator import createIntegrator

from ..books import Books
from ..problem import Problem
from ..record import Trial
from ..settings import LearningSettings
from .places import TrialPlaces

# A trial measures; the guard, which would redo steps with k QM calls each, must not take part.
_NO_BOUND = 1e12
# Error of energy of one outer step, kT, beyond which a trial is no dynamics any more.
_BREAKDOWN = 100.0


def places_of(settings: LearningSettings, books: Books) -> TrialPlaces:
    """Where trials stand: those before production, or those of the round that is under way."""
    record = books.record
    if not record.is_learning_again:
        return TrialPlaces(books.folder, record.trials, settings.acceptance)
    this = record.rounds[-1]
    start = books.block_end(this.block)
    return TrialPlaces(books.folder, record.trials, settings.acceptance, this.first_trial, start)


class Trials:
    """Carries trials out.

    Args:
        problem: What is learned for.
        settings: What is aimed at.
        books: Where they are recorded.
    """

    def __init__(self, problem: Problem, settings: LearningSettings, books: Books) -> None:
        self._problem = problem
        self._settings = settings
        self._books = books

    def carry_out(self, k: int, fit: int) -> None:
        """Do a trial, or go on with the one that was interrupted.

        Args:
            k: Inner steps per QM call.
            fit: Number of the fit; 0 for the level that was there.

        Raises:
            LearningError: Where it should go on cannot be read.
            openmm.OpenMMException: Its first step fails.
        """
        settings, books, record = self._settings, self._books, self._books.record
        if not record.trials or record.trials[-1].finished:
            record.trials.append(Trial(k, fit, self._problem.temperature))
        trial = record.trials[-1]
        system = self._problem.mixed(books.archive(trial.fit))
        integrator = self._integrator(system, trial)
        context = self._problem.context(system, integrator)
        places = places_of(settings, books)
        places.go_to(context)
        keep = self._keeper(system)
        calls = integrator.getStatistics().qmCalls
        while len(trial.errors) < settings.trial_steps and not trial.is_hopeless(
            settings.acceptance, settings.trial_steps
        ):
            # A trial's first step also calculates where it begins.
            record.in_flight = 1 if trial.errors else 2
            books.save()
            trial.failed = not self._step(integrator, trial)
            statistics = integrator.getStatistics()
            record.qm_calls += statistics.qmCalls - calls
            record.in_flight = 0
            calls = statistics.qmCalls
            if trial.failed:
                break
            keep(context, trial)
            places.write(context)
            books.save()
            places.forget_last()
            books.progress(
                f"step {len(trial.errors)} of {settings.trial_steps} at k = {trial.k}; {record.qm_calls} QM calls, "
                f"acceptance {trial.acceptance:.3f}"
            )
        before = places.sound()
        trial.finished = True
        books.save()
        if places.sound() != before:
            places.forget(before)
        self._tell(trial)

    def _tell(self, trial: Trial) -> None:
        verdict = "passes" if trial.passes(self._settings.acceptance) else "fails"
        what = f"fit {trial.fit}" if trial.fit else "the level below"
        self._books.log(
            f"k = {trial.k} with {what}: acceptance {trial.acceptance:.3f} +- {trial.uncertainty:.3f}, {verdict}; "
            f"energy errors {trial.mean_error:+.2f} +- {trial.error_of_mean:.2f} kJ/mol per step; "
            f"{self._books.record.qm_calls} QM calls"
        )

    def _step(self, integrator: KStepIntegrator, trial: Trial) -> bool:
        """Take an outer step and note its error; False if it breaks down, so that nothing is to be learned from it."""
        try:
            integrator.step(1)
        except openmm.OpenMMException as failure:
            # What fails at once is wrong by itself; what fails later, k has led there.
            if not trial.errors:
                raise
            self._books.log(f"k = {trial.k} breaks down: {failure}")
            return False
        statistics = integrator.getStatistics()
        error, correction = statistics.metropolisError, statistics.correctionRMS
        if statistics.fallbacks > 0 or error is None or correction is None:
            return False
        if not abs(error) < _BREAKDOWN * BOLTZMANN * self._problem.temperature:
            return False
        trial.errors.append(error)
        trial.corrections.append(correction)
        return True

    def _keeper(self, system: openmm.System) -> Callable[[openmm.Context, Trial], None]:
        """What keeps the label of an outer step; nothing does, where nothing is learned."""
        if not self._settings.learns:
            return lambda context, trial: None
        source = LabelSource(system, self._problem.has_level)
        writer = self._books.writer(source, self._problem.topology)

        def keep(context: openmm.Context, trial: Trial) -> None:
            time, place = len(trial.errors) * trial.k * self._problem.inner_step, len(self._books.record.trials)
            result = source.read(context)
            frame = frame_of_result(result, source.is_embedded, place, time, self._problem.temperature)
            self._books.keep(writer, frame)

        return keep

    def _integrator(self, system: openmm.System, trial: Trial) -> KStepIntegrator:
        problem = self._problem
        step = (problem.temperature, problem.friction, problem.inner_step, trial.k)
        integrator = createIntegrator(system, *step, **problem.options)
        integrator.setMetropolis("monitor")
        integrator.setMaxEnergyError(_NO_BOUND)
        integrator.setMaxCorrection(_NO_BOUND)
        integrator.setRandomNumberSeed(self._settings.seed + 1000 * len(self._books.record.trials))
        return integrator
