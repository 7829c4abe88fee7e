"""HDF5 file of the configurations that the QM level has labelled anyway."""

from __future__ import annotations

import os
from typing import Any

import openmm
from openmm import app, unit

from kstep_models.frames import FrameWriter
from kstep_models.hdf5 import PATIENCE
from openmmkstep.io.frames import frame_of_result
from openmmkstep.io.labels import LabelSource
from openmmkstep.openmmapi.kstep_integrator import KStepIntegrator

from .schedule import Schedule


class FrameReporter:
    """Saves the QM region with energy, forces, charges, dipole and environment every so many outer steps.

    Costs no QM call: the end of every outer step is a QM-labelled configuration. (Where the top level is no QM method
    but a potential of openmm-ml, the force field or any force, it is evaluated once more.) The files are training data
    for ``kstep train`` and ``kstep fit-regression``. With Metropolis they are labels and no samples: the end of a step
    that is rejected is a frame, too.

    Args:
        file: path of the HDF5 file (schema of kstep_models.frames).
        reportInterval: outer steps between frames.
        append: continue a file of the same region.
        trajectory: number under which the frames are stored; training and validation never share a trajectory.
        command: Command line for the file's head.
        flushEvery: frames kept in memory between writes.
        difference: Save what the QM level says beyond the QM method in the surrogate, instead of what it says: what a
            potential that is added to that method learns (``kstep fit-regression``). It costs no call either.

    Raises:
        ValueError: the interval is not a positive integer; the surrogate has no method, and a difference is wanted.
        FrameFileError: the file exists and ``append`` is false, or it cannot be continued.
    """

    def __init__(
        self,
        file: str | os.PathLike[str],
        reportInterval: int,
        append: bool = False,
        trajectory: int = 0,
        command: str = "",
        flushEvery: int = 20,
        difference: bool = False,
    ) -> None:
        self._file = file
        self._schedule = Schedule(reportInterval)
        self._append = append
        self._trajectory = trajectory
        self._command = command
        self._flush_every = flushEvery
        self._difference = difference
        self._embedded = False
        self._writer: FrameWriter | None = None

    def describeNextReport(self, simulation: app.Simulation) -> dict[str, Any]:
        """When the next frame is due."""
        return self._schedule.next(simulation)

    def report(self, simulation: app.Simulation, state: openmm.State) -> None:
        """Save a frame."""
        integrator = KStepIntegrator.cast(simulation.integrator)
        source = LabelSource(simulation.system, self._difference, integrator.getMonitoredParticles())
        result = source.read(simulation.context)
        if self._writer is None:
            self._embedded = source.is_embedded
            self._writer = source.open(self._file, simulation.topology, self._command, self._append, self._flush_every)
        thermostat = integrator.getFriction()._value > 0
        temperature = integrator.getTemperature().value_in_unit(unit.kelvin) if thermostat else 0.0
        time = simulation.context.getTime().value_in_unit(unit.picosecond)
        self._writer.append(frame_of_result(result, self._embedded, self._trajectory, time, temperature))

    def flush(self, patience: float = PATIENCE) -> bool:
        """Write what is still in memory.

        Args:
            patience: how long to wait for programs that read the file, seconds.

        Returns:
            Whether it was done; false where a reader was in the way. Nothing is lost then, call it again later.

        Raises:
            OSError: there is no room; the file is as it was.
        """
        return self._writer is None or self._writer.flush(patience)

    def __len__(self) -> int:
        """Frames in the file and on their way to it; 0 before the first report."""
        return 0 if self._writer is None else len(self._writer)
