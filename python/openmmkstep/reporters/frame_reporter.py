"""HDF5 file of the configurations that the QM level has labelled anyway."""

from __future__ import annotations

import os
from typing import Any

import openmm
from openmm import app, unit

from kstep_models.frames import FrameWriter
from kstep_models.hdf5 import PATIENCE
from openmmkstep.engines.registry import specification
from openmmkstep.io.frames import describe_region, difference_of_results, difference_of_theories, frame_of_result
from openmmkstep.openmmapi.kstep_integrator import KStepIntegrator
from openmmkstep.openmmapi.qmmm_force import QMMMForce
from openmmkstep.qmmm.forces import find_method_below, find_qm_force
from openmmkstep.qmmm.region import QMRegion

from .schedule import Schedule


class FrameReporter:
    """Saves the QM region with energy, forces, charges, dipole and environment every so many outer steps.

    Costs no QM call: the end of every outer step is a QM-labelled configuration. The files are training data for
    ``kstep train``.

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
        qm_force = find_qm_force(simulation.system)
        result = qm_force.getLastResult(simulation.context)
        if self._difference:
            below = find_method_below(simulation.system)
            result = difference_of_results(result, below.getLastResult(simulation.context))
        if self._writer is None:
            self._embedded = qm_force.getEmbeddingCharges().getNumCharges() > 0
            region = QMRegion.create(
                simulation.topology,
                simulation.system,
                qm_force.getParticles(),
                qm_force.getCharge(),
                qm_force.getMultiplicity(),
                links=qm_force.getLinkAtoms(),
            )
            theory = _theory(qm_force)
            if self._difference:
                theory = difference_of_theories(theory, _theory(find_method_below(simulation.system)))
            self._writer = FrameWriter(
                self._file,
                describe_region(region, theory, self._command),
                environment=self._embedded,
                resume=self._append,
                flush_every=self._flush_every,
            )
        integrator = KStepIntegrator.cast(simulation.integrator)
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


def _theory(force: QMMMForce) -> dict[str, Any]:
    """The level of theory of a force."""
    name = force.getEngine()
    return specification(name, force.getEngineSettings(), others=[name]).describe()
