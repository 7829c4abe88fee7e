"""CSV tables to which reporters add lines."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path

from kstep_models.files import named_errors
from openmmkstep.io.statistics import cell


class Table:
    """A CSV file; None and NaN are empty cells.

    Args:
        file: its path.
        append: continue a file of the same columns instead of starting a new one.
    """

    def __init__(self, file: str | os.PathLike[str], append: bool = False) -> None:
        self._path = Path(file)
        self._append = append
        self._started = False

    def add(self, row: Mapping[str, float | None]) -> None:
        """Write a line.

        Raises:
            ValueError: the file to be continued has other columns.
            OSError: there is no room; names the file.
        """
        with named_errors(self._path):
            if not self._started:
                self._start(list(row))
                self._started = True
            with self._path.open("a", newline="", encoding="utf-8") as file:
                csv.writer(file).writerow(cell(value) for value in row.values())

    def _start(self, columns: list[str]) -> None:
        if self._append and self._path.exists():
            with self._path.open(newline="", encoding="utf-8") as file:
                present = next(csv.reader(file), [])
            if present != columns:
                raise ValueError(f"{self._path} has other columns and cannot be continued: write to another file")
            return
        with self._path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(columns)
