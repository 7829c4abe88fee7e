"""CSV table of what KStepIntegrator counted and measured."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import openmm
from openmm import app, unit

from kstep_models.files import named_errors
from kstep_models.units import BOLTZMANN
from openmmkstep.analysis.temperature import degrees_of_freedom
from openmmkstep.openmmapi.kstep_integrator import KStepIntegrator, KStepStatistics

from .schedule import Schedule

_SCALARS = (
    "outerSteps",
    "innerSteps",
    "qmCalls",
    "commonCalls",
    "fallbacks",
    "consecutiveFallbacks",
    "correctionRMS",
    "meanCorrectionRMS",
    "maxCorrection",
    "energyError",
    "cumulativeEnergyError",
    "totalEnergy",
    "potentialEnergy",
    "heat",
    "qmTime",
    "commonTime",
    "integratorTime",
)
_LISTS = ("surrogateCalls", "surrogateTime")


class StatisticsReporter:
    """Writes one line of statistics every so many outer steps.

    Columns: ``step`` (outer steps of the Simulation), ``time`` (ps), ``temperature`` (K, instantaneous),
    ``kineticEnergy`` and all fields of openmmkstep.KStepStatistics in their units (kJ/mol, kJ/mol/nm, s); lists have
    one column per level, lowest first. ``totalEnergy - heat`` is the conserved quantity.

    Args:
        file: path of the CSV file.
        reportInterval: outer steps between lines.
        append: continue a file of the same columns instead of starting a new one.

    Raises:
        ValueError: the interval is not a positive integer, or the file to be continued has other columns.
    """

    def __init__(self, file: str | os.PathLike[str], reportInterval: int, append: bool = False) -> None:
        self._path = Path(file)
        self._schedule = Schedule(reportInterval)
        self._append = append
        self._started = False
        self._degrees_of_freedom: int | None = None

    def describeNextReport(self, simulation: app.Simulation) -> dict[str, Any]:
        """When the next line is due."""
        return self._schedule.next(simulation)

    def report(self, simulation: app.Simulation, state: openmm.State) -> None:
        """Write a line."""
        if self._degrees_of_freedom is None:
            self._degrees_of_freedom = degrees_of_freedom(simulation.system)
        row = self._row(simulation, KStepIntegrator.cast(simulation.integrator).getStatistics())
        with named_errors(self._path):
            if not self._started:
                self._start(list(row))
                self._started = True
            with self._path.open("a", newline="", encoding="utf-8") as file:
                csv.writer(file).writerow(row.values())

    def _row(self, simulation: app.Simulation, statistics: KStepStatistics) -> dict[str, Any]:
        kinetic = statistics.totalEnergy - statistics.potentialEnergy
        freedom = self._degrees_of_freedom
        row: dict[str, Any] = {
            "step": simulation.currentStep,
            "time": simulation.context.getTime().value_in_unit(unit.picosecond),
            "temperature": 2 * kinetic / (freedom * BOLTZMANN) if freedom else 0.0,
            "kineticEnergy": kinetic,
        }
        row |= {name: getattr(statistics, name) for name in _SCALARS}
        for name in _LISTS:
            row |= {f"{name}{level}": value for level, value in enumerate(getattr(statistics, name))}
        return row

    def _start(self, columns: list[str]) -> None:
        if self._append and self._path.exists():
            with self._path.open(newline="", encoding="utf-8") as file:
                present = next(csv.reader(file), [])
            if present != columns:
                raise ValueError(f"{self._path} has other columns and cannot be continued: write to another file")
            return
        with self._path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(columns)
