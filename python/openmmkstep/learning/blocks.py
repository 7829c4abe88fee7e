"""Production in blocks, each with one surrogate and one k, and rounds of learning again between them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kstep_models.units import BOLTZMANN
from openmmkstep.analysis.averages import block_average

from .settings import LearningError


@dataclass
class Block:
    """A part of production.

    Attributes:
        k: Inner steps per QM call.
        fit: Number of the fit; 0 for the levels that were there.
        start: Inner steps of production before it.
        first: Outer steps of production before it.
        steps: Outer steps in it; it has no others below before it is finished.
        labels: Labels of all production up to its end.
        acceptance: Mean probability with which Metropolis accepts or would accept a step; 0 for those that the guard
            did not let pass. None before the end.
        uncertainty: Its standard error, from blocks of correlated steps.
        mean_error: Mean error of energy of a step by which Metropolis decides, kJ/mol.
        error_of_mean: Its standard error.
        correction: Root mean square correction, kJ/mol/nm; None if it was not measured.
        redone: Steps that the guard did not let pass.
        finished: Whether it is over.
        statistics: All statistics of production up to its end, as JSON values, where they were given.
    """

    k: int
    fit: int
    start: int
    first: int
    steps: int = 0
    labels: int = 0
    acceptance: float | None = None
    uncertainty: float | None = None
    mean_error: float | None = None
    error_of_mean: float | None = None
    correction: float | None = None
    redone: int = 0
    finished: bool = False
    statistics: Mapping[str, Any] | None = None

    @property
    def end(self) -> int:
        """Inner steps of production up to its end, or up to where it was measured."""
        return self.start + self.k * self.steps

    def measure(self, steps: Sequence[OuterStep], temperature: float) -> None:
        """Note what its outer steps were like.

        Args:
            steps: All outer steps of production.
            temperature: K.
        """
        own = steps[self.first :]
        self.steps = len(own)
        self.redone = sum(step.redone for step in own)
        errors = np.array([step.error for step in own if step.error is not None])
        probabilities = np.zeros(len(own))
        probabilities[[step.error is not None for step in own]] = np.exp(
            -np.maximum(0.0, errors / (BOLTZMANN * temperature))
        )
        if len(own) > 1:
            average = block_average(probabilities)
            self.acceptance, self.uncertainty = average.mean, average.error
        if len(errors) > 1:
            average = block_average(errors)
            self.mean_error, self.error_of_mean = average.mean, average.error
        corrections = [step.correction for step in own if step.correction is not None]
        self.correction = float(np.sqrt(np.mean(np.square(corrections)))) if corrections else None


@dataclass
class Round:
    """Learning again, after a block.

    Attributes:
        block: Blocks before it.
        reason: Why.
        first_trial: Trials before it.
        first_fit: Fits before it.
        held: What it came to, k, fit and why no more is learned; None before the end.
    """

    block: int
    reason: str
    first_trial: int
    first_fit: int
    held: dict[str, Any] | None = None


@dataclass(frozen=True)
class OuterStep:
    """An outer step of production: error of energy (kJ/mol) and correction (kJ/mol/nm), None where not measured."""

    error: float | None
    correction: float | None
    redone: bool


def read_steps(path: Path) -> list[OuterStep]:
    """The outer steps in the table of an `OuterStepReporter`; none without a file.

    Raises:
        LearningError: The file is damaged.
    """
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [
                OuterStep(_number(row["error"]), _number(row["correction"]), row["redone"] == "1")
                for row in csv.DictReader(file)
            ]
    except (KeyError, TypeError, ValueError) as error:
        raise LearningError(f"{path} is damaged ({error!r}): restore it from a copy, or learn and run anew") from error


def keep_steps(path: Path, count: int) -> None:
    """Cut a table of outer steps back to its first lines."""
    if path.exists():
        with path.open("r+", encoding="utf-8", newline="") as file:
            for _ in range(count + 1):
                file.readline()
            file.truncate(file.tell())


def _number(text: str) -> float | None:
    return float(text) if text else None
