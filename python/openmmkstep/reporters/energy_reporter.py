"""CSV table of what the energy is made of."""

from __future__ import annotations

import os
from typing import Any

import openmm
from openmm import app, unit

from openmmkstep.qmmm.energy_decomposition import LEVELS_BELOW, EnergyDecomposition

from .schedule import Schedule
from .table import Table


class EnergyReporter:
    """Writes the parts of the potential energy every so many outer steps, kJ/mol.

    Columns: ``step``, ``time`` (ps), ``potential_energy``, and those of
    `openmmkstep.qmmm.energy_decomposition.EnergyDecomposition`: QM region in its field, Lennard-Jones and long-range
    interaction with the surroundings, MM forces by name, levels below. Costs two evaluations of the nonbonded MM forces
    and two of Lennard-Jones alone, and two QM calls with ``polarisation``.

    Args:
        file: path of the CSV file.
        reportInterval: outer steps between lines.
        polarisation: whether the QM energy is divided into that in vacuum, the interaction of the density there with
            the field, and the response.
        append: continue a file of the same columns instead of starting a new one.
        allLevels: whether there are columns of both levels below, empty ones where the system has no such level: for a
            run whose levels change.

    Raises:
        ValueError: the interval is not a positive integer, or the file to be continued has other columns.
    """

    def __init__(
        self,
        file: str | os.PathLike[str],
        reportInterval: int,
        polarisation: bool = False,
        append: bool = False,
        allLevels: bool = False,
    ) -> None:
        self._all_levels = allLevels
        self._table = Table(file, append)
        self._schedule = Schedule(reportInterval)
        self._polarisation = polarisation
        self._decomposition: EnergyDecomposition | None = None

    def describeNextReport(self, simulation: app.Simulation) -> dict[str, Any]:
        """When the next line is due."""
        return self._schedule.next(simulation)

    def report(self, simulation: app.Simulation, state: openmm.State) -> None:
        """Write a line."""
        if self._decomposition is None:
            platform = simulation.context.getPlatform()
            self._decomposition = EnergyDecomposition(simulation.system, platform, self._polarisation)
        terms = self._decomposition.evaluate(simulation.context)
        row = {
            "step": simulation.currentStep,
            "time": simulation.context.getTime().value_in_unit(unit.picosecond),
            "potential_energy": sum(terms[name] for name in self._decomposition.summands),
            **terms,
        }
        if self._all_levels:
            row |= {name: row.pop(name, None) for name in LEVELS_BELOW}
        self._table.add(row)
