"""Labels out of a Context: what the QM level, or the difference to the method below it, says of where it is."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import openmm
from openmm import app

from kstep_models.frames import FrameWriter
from openmmkstep.engines.registry import specification
from openmmkstep.openmmapi.qmmm_force import QMMMForce, QMResult
from openmmkstep.qmmm.forces import (
    find_method_below,
    find_qm_force,
    is_region_mark,
    marked_state,
    region_particles,
)
from openmmkstep.qmmm.levels import force_groups
from openmmkstep.qmmm.region import QMRegion

from .frames import describe_region, difference_of_results, difference_of_theories

_NO_LINKS = (
    "the region cuts a bond, and only QM methods tell the forces on link atoms apart: labels of another top level need "
    "a region that cuts none"
)


class LabelSource:
    """Reads labels of a mixed system: at the ends of outer steps, or anywhere.

    At the ends of outer steps they cost no call where the top level is a QM method, and one evaluation of the top level
    where it is something else (a potential of openmm-ml, the force field, any force), which does not keep what it
    calculated.

    Args:
        system: The mixed system.
        difference: Whether labels are what the top level says beyond the QM method in the surrogate.
        particles: The region, where no level of the system tells which it is.

    Raises:
        ValueError: The system has no top level, no such method, or nothing that tells the region.
    """

    def __init__(self, system: openmm.System, difference: bool = False, particles: Sequence[int] | None = None) -> None:
        self._system = system
        self._below = find_method_below(system) if difference else None
        self._above: QMMMForce | None = None
        self._others = [
            force
            for force in system.getForces()
            if force.getForceGroup() == force_groups.QM and not (QMMMForce.isInstance(force) or is_region_mark(force))
        ]
        if not self._others:
            self._above = find_qm_force(system)
            self._particles = list(self._above.getParticles())
        else:
            self._particles = list(particles or region_particles(system))
            if self._below is not None and self._below.getLinkAtoms():
                raise ValueError(_NO_LINKS)

    @property
    def is_embedded(self) -> bool:
        """Whether the region is among charges."""
        return self._above is not None and self._above.getEmbeddingCharges().getNumCharges() > 0

    @property
    def engines(self) -> list[tuple[str, dict[str, Any]]]:
        """Name and settings of the engine of each QM method that a label takes."""
        methods = [force for force in (self._above, self._below) if force is not None]
        return [(force.getEngine(), force.getEngineSettings()) for force in methods]

    def forget(self, context: openmm.Context) -> None:
        """Let the QM methods begin from nothing, so that the next label does not depend on the one before."""
        for force in (self._above, self._below):
            if force is not None:
                force.reset(context)

    def calculate(self, context: openmm.Context) -> None:
        """Calculate where a Context is.

        Raises:
            openmm.OpenMMException: The calculation fails.
        """
        groups = [] if self._above is None else [force_groups.QM]
        for group in (*groups, *([] if self._below is None else [force_groups.SURROGATE])):
            context.getState(forces=True, groups=1 << group)

    def read(self, context: openmm.Context) -> QMResult:
        """The label of where both levels were calculated last.

        Raises:
            FrameFileError: They were not at the same place.
            openmm.OpenMMException: Nothing was calculated.
        """
        result = self._evaluated(context) if self._above is None else self._above.getLastResult(context)
        return result if self._below is None else difference_of_results(result, self._below.getLastResult(context))

    def _evaluated(self, context: openmm.Context) -> QMResult:
        """What a top level that is no QM method says of where a Context is."""
        state = context.getState(positions=True, energy=True, forces=True, groups=1 << force_groups.QM)
        n = len(self._particles)
        return QMResult(
            energy=state.getPotentialEnergy()._value,
            numbers=np.zeros(n, dtype=np.int32),
            positions=np.array(state.getPositions(asNumpy=True)._value[self._particles]),
            forces=np.array(state.getForces(asNumpy=True)._value[self._particles]),
            charges=np.full(n, np.nan),
            dipole=np.full(3, np.nan),
            potential=np.zeros(n),
            potentialGradient=np.zeros((n, 3)),
            environmentParticles=np.zeros(0, dtype=np.int32),
            environmentCharges=np.zeros(0),
            environmentPositions=np.zeros((0, 3)),
            environmentForces=np.zeros((0, 3)),
            iterations=-1,
            attempts=1,
        )

    def region(self, topology: app.Topology) -> QMRegion:
        """The region, with what the topology says of it.

        Raises:
            ValueError: It cuts a bond, and the top level is no QM method.
        """
        known = self._above or self._below
        if known is None:
            charge, multiplicity = marked_state(self._system)
        else:
            charge, multiplicity = known.getCharge(), known.getMultiplicity()
        links = None if known is None else known.getLinkAtoms()
        region = QMRegion.create(topology, self._system, self._particles, charge, multiplicity, links=links)
        if self._above is None and region.links:
            raise ValueError(_NO_LINKS)
        return region

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
        if self._above is not None:
            theory = _theory(self._above)
        else:
            theory = {"method": " + ".join(force.getName() for force in self._others)}
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
