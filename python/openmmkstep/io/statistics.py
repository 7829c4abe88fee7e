"""Statistics of a KStepIntegrator in files: names in snake_case, tables as CSV."""

from __future__ import annotations

import csv
import re
from dataclasses import fields
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


def statistics_to_row(statistics: KStepStatistics) -> dict[str, float | None]:
    """All fields that are numbers, for a table; lists have a column for each level, lowest first."""
    row: dict[str, float | None] = {}
    for name, value in statistics_to_json(statistics).items():
        if isinstance(value, (list, tuple)):
            row |= {f"{name}_{level}": item for level, item in enumerate(value)}
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
