"""CSV table of what the energy is made of."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import openmm
from openmm import app, unit

from kstep_models.files import named_errors
from openmmkstep.qmmm.energy_decomposition import EnergyDecomposition

from .schedule import Schedule


class EnergyReporter:
    """Writes the parts of the potential energy every so many outer steps, kJ/mol.

    Columns: ``step``, ``time`` (ps), ``potential_energy``, and those of
    `openmmkstep.qmmm.energy_decomposition.EnergyDecomposition`: QM region in its field, Lennard-Jones and long-range
    interaction with the surroundings, MM forces by name, levels below. Costs two evaluations of the nonbonded MM forces
    and two of Lennard-Jones alone, and a QM call in vacuum with ``polarisation``.

    Args:
        file: path of the CSV file.
        reportInterval: outer steps between lines.
        polarisation: whether the QM energy is divided into that in vacuum, the interaction of its charges there, and
            the rest.

    Raises:
        ValueError: the interval is not a positive integer.
    """

    def __init__(self, file: str | os.PathLike[str], reportInterval: int, polarisation: bool = False) -> None:
        self._path = Path(file)
        self._schedule = Schedule(reportInterval)
        self._polarisation = polarisation
        self._decomposition: EnergyDecomposition | None = None

    def describeNextReport(self, simulation: app.Simulation) -> dict[str, Any]:
        """When the next line is due."""
        return self._schedule.next(simulation)

    def report(self, simulation: app.Simulation, state: openmm.State) -> None:
        """Write a line."""
        first = self._decomposition is None
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
        with named_errors(self._path):
            if first:
                with self._path.open("w", newline="", encoding="utf-8") as file:
                    csv.writer(file).writerow(row)
            with self._path.open("a", newline="", encoding="utf-8") as file:
                csv.writer(file).writerow(row.values())
