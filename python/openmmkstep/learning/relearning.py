"""Whether and how to learn again after a block of production: functions of the record alone, as all decisions are."""

from __future__ import annotations

from .decisions import Decision, Fit, Hold, Label, Try, fit_in_use
from .record import Record
from .settings import LearningSettings

# A surrogate is not good enough any more where its acceptance is lower by more than chance explains.
_STANDARD_ERRORS = 2.0
# Labels that must be there for each of the last fit, before another one is worth its trials.
_GROWTH = 2
_FEWEST_LABELS = 10
_FAILURES_IN_A_ROW = 2
_USED_UP = "the QM calls for learning again are used up"


def why_again(record: Record, settings: LearningSettings) -> str:
    """Why to learn again after the last block, which is finished; empty for no reason, or no calls left."""
    block = record.blocks[-1]
    if _calls_left(record, settings) < settings.trial_steps + 1:
        return ""
    worse = _why_worse(record, settings)
    if worse or not settings.learns or block.k == settings.ks[-1]:
        return worse
    if not record.fits:
        return "nothing has been fitted yet"
    # A network has fewer than the fits that were made while it was trained.
    before = max(fit.labels for fit in record.fits)
    if record.all_labels >= _GROWTH * before:
        return f"there are {record.all_labels} labels, {before} at the last fit, for a larger k"
    return ""


def is_worth_a_network(record: Record, settings: LearningSettings) -> bool:
    """Whether a network that has been trained is to be tried after the last block, where there is no other reason."""
    return _calls_left(record, settings) >= settings.trial_steps + 1 and record.blocks[-1].k != settings.ks[-1]


def decide_again(record: Record, settings: LearningSettings) -> Decision:
    """What is done next in the round that is under way."""
    this = record.rounds[-1]
    unfinished = next((trial for trial in record.trials if not trial.finished), None)
    if unfinished is not None:
        return Try(unfinished.k, unfinished.fit)
    left = _calls_left(record, settings)
    if settings.learns and len(record.fits) == this.first_fit:
        return _labels_or_fit(record, settings, left)
    k = _next_k(record, settings)
    if k is None:
        return _hold(record, settings, "no other k is left to try")
    if left < settings.trial_steps + 1:
        return _hold(record, settings, _USED_UP)
    return Try(k, fit_in_use(record, settings))


def _labels_or_fit(record: Record, settings: LearningSettings, left: int) -> Decision:
    # Those of the pool differ more than those of production, which began before they were there.
    missing = len(record.chosen_left) or min(settings.first_labels - len(record.labelled), record.pool_left)
    affordable = min(missing, left - settings.trial_steps - 1)
    if affordable > 0:
        return Label(affordable)
    if record.all_labels < _FEWEST_LABELS:
        return _hold(record, settings, "there are too few labels for a fit")
    return Fit()


def _why_worse(record: Record, settings: LearningSettings) -> str:
    block = record.blocks[-1]
    if block.k == 1 or block.acceptance is None or block.uncertainty is None:
        return ""
    if block.redone:
        return f"the guard redid or refused {block.redone} of {block.steps} outer steps"
    if block.acceptance + _STANDARD_ERRORS * block.uncertainty < settings.acceptance:
        return f"the acceptance was {block.acceptance:.3f} +- {block.uncertainty:.3f}"
    return ""


def _calls_left(record: Record, settings: LearningSettings) -> int:
    return settings.relearn_calls - record.relearn_calls


def _next_k(record: Record, settings: LearningSettings) -> int | None:
    """The next k of the round; None if it is done with.

    Where production was good its k need not be tried again, only larger ones. Where it was not its k is the first,
    then larger ones if it passes, and smaller ones until one does if it fails.
    """
    now = record.blocks[-1].k
    trials, fit = record.trials[record.rounds[-1].first_trial :], fit_in_use(record, settings)
    tried = {trial.k: trial.passes(settings.acceptance) for trial in trials if trial.fit == fit}
    if _why_worse(record, settings):
        if now in settings.ks and now not in tried:
            return now
        if not tried.get(now, False):
            if any(tried.values()):
                return None
            return max((k for k in settings.ks if k < now and k not in tried), default=None)
    failures = 0
    for k in settings.ks:
        if k <= now:
            continue
        if k not in tried:
            return k
        failures = 0 if tried[k] else failures + 1
        if failures == _FAILURES_IN_A_ROW:
            return None
    return None


def _hold(record: Record, settings: LearningSettings, reason: str) -> Hold:
    """The largest k that passed; else what production had where that was good or could not be tried, else k = 1."""
    trials = record.trials[record.rounds[-1].first_trial :]
    passed = [(trial.k, trial.fit) for trial in trials if trial.passes(settings.acceptance)]
    block = record.blocks[-1]
    if passed:
        return Hold(*max(passed), reason)
    if _why_worse(record, settings) and trials and reason != _USED_UP:
        return Hold(1, 0, reason)
    return Hold(block.k, block.fit, reason)
