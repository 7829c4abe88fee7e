"""Statistics of a KStepIntegrator in files: names in snake_case, tables as CSV."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openmmkstep.openmmapi.kstep_integrator import KStepStatistics

_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def snake_case(name: str) -> str:
    """A name of OpenMM's conventions as files have it: ``otherQMCalls`` is ``other_qm_calls``."""
    return _WORDS.sub("_", name).lower()


def statistics_to_json(statistics: KStepStatistics) -> dict[str, Any]:
    """All fields; those that were not measured are None."""
    return {snake_case(field.name): getattr(statistics, field.name) for field in fields(statistics)}


def statistics_from_json(content: Mapping[str, Any]) -> KStepStatistics:
    """What statistics_to_json() gave."""
    return KStepStatistics(**{field.name: content[snake_case(field.name)] for field in fields(KStepStatistics)})


def continued(before: KStepStatistics | None, now: KStepStatistics) -> KStepStatistics:
    """Statistics of a run whose integrator was replaced on the way, as if it were one.

    Args:
        before: Up to the last replacement; None if there was none.
        now: Since then.
    """
    if before is None:
        return now
    sums = {name: _sum(getattr(before, name), getattr(now, name)) for name in _SUMS}
    squares = [
        (statistics.measuredCorrections, (statistics.meanCorrectionRMS or 0.0) ** 2) for statistics in (before, now)
    ]
    probabilities = [
        (statistics.outerSteps, statistics.meanAcceptanceProbability)
        for statistics in (before, now)
        if statistics.meanAcceptanceProbability is not None
    ]
    decided = sums["acceptedSteps"] + sums["rejectedSteps"]
    mean_square = _mean(squares)
    return replace(
        now,
        **sums,
        lastFallbackReason=now.lastFallbackReason or before.lastFallbackReason,
        meanCorrectionRMS=None if mean_square is None else mean_square**0.5,
        acceptance=sums["acceptedSteps"] / decided if decided else None,
        meanAcceptanceProbability=_mean(probabilities),
    )


_SUMS = (
    *("outerSteps", "innerSteps", "qmCalls", "otherQMCalls", "surrogateCalls", "commonCalls", "fallbacks"),
    *("measuredCorrections", "cumulativeEnergyError", "heat", "acceptedSteps", "rejectedSteps", "guardRejections"),
    *("flips", "qmTime", "surrogateTime", "commonTime", "integratorTime"),
)


def _sum(one: Any, other: Any) -> Any:
    if isinstance(one, (list, tuple)):
        # The highest levels are those that come and go.
        return [sum(values) for values in zip_longest(one, other, fillvalue=0)]
    return None if one is None and other is None else (one or 0) + (other or 0)


def _mean(weighted: Sequence[tuple[int, float]]) -> float | None:
    weight = sum(count for count, _ in weighted)
    return sum(count * value for count, value in weighted) / weight if weight else None


def statistics_to_row(statistics: KStepStatistics, levels: int = 0) -> dict[str, float | None]:
    """All fields that are numbers, for a table; lists have a column for each level, lowest first.

    Args:
        statistics: The fields.
        levels: Columns of lists at least.
    """
    row: dict[str, float | None] = {}
    for name, value in statistics_to_json(statistics).items():
        if isinstance(value, (list, tuple)):
            padded = [*value, *[0] * (levels - len(value))]
            row |= {f"{name}_{level}": item for level, item in enumerate(padded)}
        elif not isinstance(value, str):
            row[name] = value
    return row


def cell(value: float | None) -> float | str:
    """What a table has for a value; nothing for one that was not measured."""
    return "" if value is None or value != value else value


def read_table(path: Path) -> dict[str, NDArray[np.float64]]:
    """The columns of a table of statistics; NaN where nothing was measured.

    Raises:
        ValueError: the file is no table of numbers.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    if not rows or any(len(row) != len(rows[0]) for row in rows):
        raise ValueError("not as many values in every line as there are columns")
    values = np.array([[float(text or "nan") for text in row] for row in rows[1:]], dtype=np.float64)
    return {name: values.reshape(-1, len(rows[0]))[:, column] for column, name in enumerate(rows[0])}
