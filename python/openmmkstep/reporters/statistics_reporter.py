"""CSV table of what KStepIntegrator counted and measured."""

from __future__ import annotations

import os
from typing import Any

import openmm
from openmm import app, unit

from openmmkstep.analysis.temperature import degrees_of_freedom, temperature
from openmmkstep.io.statistics import continued, statistics_to_row
from openmmkstep.openmmapi.kstep_integrator import KStepIntegrator, KStepStatistics

from .schedule import Schedule
from .table import Table


class StatisticsReporter:
    """Writes one line of statistics every so many outer steps.

    Columns: ``step`` (outer steps of the Simulation), ``time`` (ps), temperatures (K), ``kinetic_energy`` at the end of
    the step, ``volume`` of the box (nm^3, where there is one), and all fields of openmmkstep.KStepStatistics in their
    units (kJ/mol, kJ/mol/nm, s), in snake_case; lists have one column per level, lowest first. A value that was not
    measured is an empty cell. ``cumulative_energy_error`` is the change of the conserved quantity; ``total_energy -
    heat`` also has what others do between steps, such as a CMMotionRemover or a barostat.

    ``region_temperature`` and ``rest_temperature`` are those of the monitored particles and of all others in the middle
    of the step, after the noise, where velocities have the distribution of the temperature; ``temperature`` is that of
    both together.

    Args:
        file: path of the CSV file.
        reportInterval: outer steps between lines.
        append: continue a file of the same columns instead of starting a new one.
        before: Statistics of the same run up to where its integrator was replaced, which are added; ``step`` counts on
            from there.
        levels: Levels below QM that there are columns for at least.

    Raises:
        ValueError: the interval is not a positive integer, or the file to be continued has other columns.
    """

    def __init__(
        self,
        file: str | os.PathLike[str],
        reportInterval: int,
        append: bool = False,
        before: KStepStatistics | None = None,
        levels: int = 0,
    ) -> None:
        self._before = before
        self._levels = levels
        self._table = Table(file, append)
        self._schedule = Schedule(reportInterval)
        self._freedom: tuple[float, float] | None = None

    def describeNextReport(self, simulation: app.Simulation) -> dict[str, Any]:
        """When the next line is due."""
        return self._schedule.next(simulation)

    def report(self, simulation: app.Simulation, state: openmm.State) -> None:
        """Write a line."""
        self._table.add(self._row(simulation, state))

    def _row(self, simulation: app.Simulation, state: openmm.State) -> dict[str, float | None]:
        integrator = KStepIntegrator.cast(simulation.integrator)
        statistics = continued(self._before, integrator.getStatistics())
        if self._freedom is None:
            whole = degrees_of_freedom(simulation.system)
            region = degrees_of_freedom(simulation.system, integrator.getMonitoredParticles() or None)
            self._freedom = (region, whole - region)
        region, rest = self._freedom
        periodic = simulation.system.usesPeriodicBoundaryConditions()
        kinetic = (statistics.regionKineticEnergy, statistics.restKineticEnergy)
        return {
            "step": simulation.currentStep if self._before is None else statistics.outerSteps,
            "time": simulation.context.getTime().value_in_unit(unit.picosecond),
            "temperature": temperature(sum(kinetic), region + rest),
            "region_temperature": temperature(kinetic[0], region),
            "rest_temperature": temperature(kinetic[1], rest),
            "kinetic_energy": statistics.totalEnergy - statistics.potentialEnergy,
            "volume": state.getPeriodicBoxVolume()._value if periodic else None,
            **statistics_to_row(statistics, self._levels),
        }
