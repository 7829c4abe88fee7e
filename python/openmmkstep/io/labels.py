"""Labels out of a Context: what the QM level, or the difference to the method below it, says of where it is."""

from __future__ import annotations

import os
from typing import Any

import openmm
from openmm import app

from kstep_models.frames import FrameWriter
from openmmkstep.engines.registry import specification
from openmmkstep.openmmapi.qmmm_force import QMMMForce, QMResult
from openmmkstep.qmmm.forces import find_method_below, find_qm_force
from openmmkstep.qmmm.levels import force_groups
from openmmkstep.qmmm.region import QMRegion

from .frames import describe_region, difference_of_results, difference_of_theories


class LabelSource:
    """Reads labels of a mixed system: at the ends of outer steps, where they cost no QM call, or anywhere.

    Args:
        system: The mixed system.
        difference: Whether labels are what the QM level says beyond the QM method in the surrogate.

    Raises:
        ValueError: The system has no QM level, or no such method.
    """

    def __init__(self, system: openmm.System, difference: bool = False) -> None:
        self._above = find_qm_force(system)
        self._below = find_method_below(system) if difference else None
        self._system = system

    @property
    def is_embedded(self) -> bool:
        """Whether the region is among charges."""
        return self._above.getEmbeddingCharges().getNumCharges() > 0

    @property
    def engines(self) -> list[tuple[str, dict[str, Any]]]:
        """Name and settings of the engine of each QM method that a label takes."""
        forces = [self._above, *([] if self._below is None else [self._below])]
        return [(force.getEngine(), force.getEngineSettings()) for force in forces]

    def calculate(self, context: openmm.Context) -> None:
        """Calculate where a Context is.

        Raises:
            openmm.OpenMMException: The calculation fails.
        """
        for group in (force_groups.QM, *([] if self._below is None else [force_groups.SURROGATE])):
            context.getState(forces=True, groups=1 << group)

    def read(self, context: openmm.Context) -> QMResult:
        """The label of where both levels were calculated last.

        Raises:
            FrameFileError: They were not at the same place.
            openmm.OpenMMException: Nothing was calculated.
        """
        result = self._above.getLastResult(context)
        return result if self._below is None else difference_of_results(result, self._below.getLastResult(context))

    def region(self, topology: app.Topology) -> QMRegion:
        """The region, with what the topology says of it."""
        above = self._above
        return QMRegion.create(
            topology,
            self._system,
            above.getParticles(),
            above.getCharge(),
            above.getMultiplicity(),
            links=above.getLinkAtoms(),
        )

    def open(
        self,
        path: str | os.PathLike[str],
        topology: app.Topology,
        command: str = "",
        append: bool = False,
        flush_every: int = 20,
    ) -> FrameWriter:
        """A file for the labels of this region and level of theory.

        Raises:
            FrameFileError: The file exists and ``append`` is false, or it cannot be continued.
        """
        theory = _theory(self._above)
        if self._below is not None:
            theory = difference_of_theories(theory, _theory(self._below))
        return FrameWriter(
            path,
            describe_region(self.region(topology), theory, command),
            environment=self.is_embedded,
            resume=append,
            flush_every=flush_every,
        )


def _theory(force: QMMMForce) -> dict[str, Any]:
    """The level of theory of a force."""
    name = force.getEngine()
    return specification(name, force.getEngineSettings(), others=[name]).describe()
