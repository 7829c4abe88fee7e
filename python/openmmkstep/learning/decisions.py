"""What is done next, from what was done: a function of the record alone, so that any interruption leads to the same."""

from __future__ import annotations

from dataclasses import dataclass

from .networks import under_way
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


@dataclass(frozen=True)
class Wait:
    """Wait for the network that is being trained: nothing else is left to do, and there are calls to try it with."""


Decision = Label | Fit | Try | Hold | Wait

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
    # Labels are worth their calls only if a fit to them can be tried; and so is a network.
    network = under_way(record.networks) is not None and settings.network is not None
    trials = (2 if network else 1) * (settings.trial_steps + 1)
    count = min(settings.more_labels, record.pool_left)
    if count > 0 and _affords(record, settings, count + trials):
        return Label(count)
    if network and _affords(record, settings, settings.trial_steps + 1):
        return Wait()
    return _hold(record, settings, _USED_UP if count > 0 else "the pool has no more configurations")


def fit_in_use(record: Record, settings: LearningSettings) -> int:
    """Number of the last fit, or of the one that is there in its place; 0 where nothing is fitted.

    The smaller error of held-out forces does not always mean the smaller error of energy of an outer step. Where the
    first k that is tried with a fit fails, the fit that is there in its place is tried at the same k, and the one with
    the larger acceptance goes on. Where it passes no QM call is spent on the other.

    A network comes while the fit that is there has been tried already: of the two the one with the smaller error of
    forces goes on until it fails, and where it fails the other is tried at the same k.
    """
    return _in_use(record, settings, len(record.fits))


def _in_use(record: Record, settings: LearningSettings, last: int) -> int:
    """Of the first so many fits, the number of the one that is in use."""
    if not last:
        return 0
    if record.fits[last - 1].parts == "network":
        return _of_two(record, settings, last, _in_use(record, settings, last - 1))
    if not record.fits[last - 1].instead_of:
        return last
    best = record.fits[last - 1].instead_of
    first = next((trial for trial in record.trials if trial.fit == best and trial.finished), None)
    if first is None or first.passes(settings.acceptance):
        return best
    other = next((trial for trial in record.trials if trial.fit == last and trial.finished), None)
    return last if other is None or _merit(other) > _merit(first) else best


def _of_two(record: Record, settings: LearningSettings, network: int, other: int) -> int:
    """Which of a network and the fit that was in use before it came is in use."""
    first, second = (other, network) if record.fits[network - 1].instead_of else (network, other)
    trials = [trial for trial in record.trials if trial.finished and not trial.passes(settings.acceptance)]
    failed = next((trial for trial in trials if trial.fit == first), None)
    # What has failed at a smaller k already is not tried again.
    if failed is None or any(trial.fit == second and trial.k < failed.k for trial in trials):
        return first
    tried = [trial for trial in record.trials if trial.finished and (trial.fit, trial.k) == (second, failed.k)]
    return second if not tried or _merit(tried[-1]) > _merit(failed) else first


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
