"""What a measured number says about a limit."""

from __future__ import annotations

import math
from enum import StrEnum

from scipy import stats


class Verdict(StrEnum):
    """Where a number lies, as far as can be told."""

    INSIDE = "inside"
    OUTSIDE = "outside"
    TOO_SHORT = "too short to tell"


def judge(deviation: float | None, error: float | None, limit: float, sigmas: float = 2.0) -> Verdict:
    """Whether a deviation is within a limit.

    It is inside if the whole confidence interval is, outside if none of it is.

    Args:
        deviation: measured; None if it could not be.
        error: its standard error; None likewise.
        limit: largest deviation of either sign.
        sigmas: half the confidence interval, in standard errors.
    """
    if deviation is None or error is None:
        return Verdict.TOO_SHORT
    if abs(deviation) + sigmas * error <= limit:
        return Verdict.INSIDE
    return Verdict.OUTSIDE if abs(deviation) - sigmas * error > limit else Verdict.TOO_SHORT


def sigmas_of_many(number: int) -> float:
    """Standard errors that are to one of many numbers what two are to a single one (Bonferroni).

    Of a hundred numbers five are more than two standard errors off where nothing is wrong.
    """
    return float(stats.norm.isf(stats.norm.sf(2.0) / max(1, number)))


def judge_against_noise(value: float, limit: float, floor: float, expected: float) -> Verdict:
    """Whether an error of a distribution is small, and no more than twice what noise makes of it.

    Args:
        value: measured, not negative.
        limit: the largest that is allowed.
        floor: the same number between two runs of the reference.
        expected: what the standard errors of the means say of noise; with the floor, which is one draw, the larger of
            the two counts.
    """
    if value > 2 * max(floor, expected):
        return Verdict.OUTSIDE
    return Verdict.INSIDE if value <= limit else Verdict.TOO_SHORT


def judge_twice(drift: tuple[float, float], reference: tuple[float, float]) -> Verdict:
    """Whether a drift is no larger than twice another, each given with its standard error.

    A drift of a reference that is no more than its own error is known to be below it only; twice that much is allowed.
    """
    (value, error), (other, other_error) = drift, reference
    excess = abs(value) - 2 * max(abs(other), other_error)
    spread = 2 * math.hypot(error, 2 * other_error)
    # Errors are NaN where a run is too short for one.
    if math.isnan(spread):
        return Verdict.TOO_SHORT
    if excess + spread <= 0:
        return Verdict.INSIDE
    return Verdict.OUTSIDE if excess > spread else Verdict.TOO_SHORT
