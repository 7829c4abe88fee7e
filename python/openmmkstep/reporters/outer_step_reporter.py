"""CSV table of what every outer step was like."""

from __future__ import annotations

import os
from typing import Any

import openmm
from openmm import app, unit

from openmmkstep.openmmapi.kstep_integrator import KStepIntegrator

from .schedule import Schedule
from .table import Table


class OuterStepReporter:
    """Writes a line for each outer step, from which learning tells whether a surrogate is still good.

    Columns: ``time`` (ps); ``error``, the error of energy by which Metropolis decides or would decide (kJ/mol; empty
    where it was not measured, as in a step that was redone); ``correction``, its root mean square (kJ/mol/nm);
    ``redone``, 1 where the guard redid or refused the step. Metropolis must not be off.

    Args:
        file: path of the CSV file.
        append: continue a file instead of starting a new one.
    """

    def __init__(self, file: str | os.PathLike[str], append: bool = False) -> None:
        self._table = Table(file, append)
        self._schedule = Schedule(1)

    def describeNextReport(self, simulation: app.Simulation) -> dict[str, Any]:
        """When the next line is due."""
        return self._schedule.next(simulation)

    def report(self, simulation: app.Simulation, state: openmm.State) -> None:
        """Write a line."""
        statistics = KStepIntegrator.cast(simulation.integrator).getStatistics()
        redone = statistics.consecutiveFallbacks > 0
        self._table.add(
            {
                "time": simulation.context.getTime().value_in_unit(unit.picosecond),
                "error": None if redone else statistics.metropolisError,
                "correction": statistics.correctionRMS,
                "redone": int(redone),
            }
        )
