"""What is done next, from what was done: a function of the record alone, so that any interruption leads to the same."""

from __future__ import annotations

from dataclasses import dataclass

from .record import Record, Trial
from .settings import LearningSettings

# Two k in a row that fail end the scan of a fit: what is beyond both is worse, or a resonance of its own.
_FAILURES_IN_A_ROW = 2


@dataclass(frozen=True)
class Label:
    """Label so many configurations of the pool."""

    count: int


@dataclass(frozen=True)
class Fit:
    """Fit to the labels that there are."""


@dataclass(frozen=True)
class Try:
    """Try a k with a fit."""

    k: int
    fit: int


@dataclass(frozen=True)
class Hold:
    """Learning is over: this k with this fit.

    Attributes:
        k: Inner steps per QM call; 1 if nothing is good enough.
        fit: Number of the fit; 0 for the level that was there.
        reason: Why no more is learned.
    """

    k: int
    fit: int
    reason: str


Decision = Label | Fit | Try | Hold

_USED_UP = "the QM calls are used up"


def decide(record: Record, settings: LearningSettings, has_level: bool) -> Decision:
    """What is done next.

    Args:
        record: What was done.
        settings: What is aimed at.
        has_level: Whether there is a method below QM that can be tried by itself.
    """
    unfinished = next((trial for trial in record.trials if not trial.finished), None)
    if unfinished is not None:
        return Try(unfinished.k, unfinished.fit)
    best, _ = _best(record, settings)
    if settings.first_k is not None and best >= settings.first_k:
        return _hold(record, settings, f"k = {best} is enough to begin with")
    if not settings.learns:
        return _calibrate(record, settings)
    # The level that is there serves the smallest k, perhaps, and needs no labels.
    if has_level and not any(trial.fit == 0 for trial in record.trials):
        if not _affords(record, settings, settings.trial_steps + 1):
            return _hold(record, settings, _USED_UP)
        return Try(settings.ks[0], 0)
    if record.chosen_left:
        # Fewer than were chosen, where an interruption lost calls.
        count = min(len(record.chosen_left), settings.max_calls - record.qm_calls)
        return Label(count) if count > 0 else _hold(record, settings, _USED_UP)
    missing = min(settings.first_labels - len(record.labelled), record.pool_left)
    if not record.fits and missing > 0:
        return Label(missing) if _affords(record, settings, missing) else _hold(record, settings, _USED_UP)
    if not record.fits or _is_scanned(record, settings):
        return Fit()
    k = _next_k(record, settings)
    if k is not None:
        if _affords(record, settings, settings.trial_steps + 1):
            return Try(k, fit_in_use(record, settings))
        return _hold(record, settings, _USED_UP)
    if _best(record, settings)[0] == settings.ks[-1]:
        return _hold(record, settings, "the largest k is reached")
    if record.pool_left <= 0:
        return _hold(record, settings, "the pool has no more configurations")
    # Labels are worth their calls only if a fit to them can be tried.
    count = min(settings.more_labels, record.pool_left)
    if _affords(record, settings, count + settings.trial_steps + 1):
        return Label(count)
    return _hold(record, settings, _USED_UP)


def fit_in_use(record: Record, settings: LearningSettings) -> int:
    """Number of the last fit, or of the one that is there in its place; 0 where nothing is fitted.

    The smaller error of held-out forces does not always mean the smaller error of energy of an outer step. Where the
    first k that is tried with a fit fails, the fit that is there in its place is tried at the same k, and the one with
    the larger acceptance goes on. Where it passes no QM call is spent on the other.
    """
    last = len(record.fits)
    if not last or not record.fits[-1].instead_of:
        return last
    best = record.fits[-1].instead_of
    first = next((trial for trial in record.trials if trial.fit == best and trial.finished), None)
    if first is None or first.passes(settings.acceptance):
        return best
    other = next((trial for trial in record.trials if trial.fit == last and trial.finished), None)
    return last if other is None or _merit(other) > _merit(first) else best


def _merit(trial: Trial) -> tuple[bool, float, float]:
    return not trial.failed, trial.acceptance, -abs(trial.mean_error)


def _calibrate(record: Record, settings: LearningSettings) -> Decision:
    """Of the levels that are there, the k that they carry."""
    k = _next_k(record, settings)
    if k is None:
        return _hold(record, settings, "all k are tried that could be larger")
    if not _affords(record, settings, settings.trial_steps + 1):
        return _hold(record, settings, _USED_UP)
    return Try(k, 0)


def _affords(record: Record, settings: LearningSettings, calls: int) -> bool:
    return record.qm_calls + calls <= settings.max_calls


def _best(record: Record, settings: LearningSettings) -> tuple[int, int]:
    """The largest k that reached the target, and the latest fit with which it did; k = 1 needs none."""
    passed = [(trial.k, trial.fit) for trial in record.trials if trial.finished and trial.passes(settings.acceptance)]
    return max(passed, default=(1, 0))


def _hold(record: Record, settings: LearningSettings, reason: str) -> Hold:
    k, fit = _best(record, settings)
    return Hold(k, fit, reason)


def _next_k(record: Record, settings: LearningSettings) -> int | None:
    """The next k to try with the last fit; None if it is done with."""
    fit = fit_in_use(record, settings)
    tried = {trial.k: trial.passes(settings.acceptance) for trial in record.trials if trial.fit == fit}
    best, _ = _best(record, settings)
    failures = 0
    for k in settings.ks:
        if k <= best and k not in tried:
            continue
        if k not in tried:
            return k if failures < _FAILURES_IN_A_ROW else None
        failures = 0 if tried[k] else failures + 1
    return None


def _is_scanned(record: Record, settings: LearningSettings) -> bool:
    """Whether the last fit has been tried as far as it goes, and labels of the pool were added since."""
    return _next_k(record, settings) is None and record.labelled_since_fit > 0
