"""What is learned for: the system, its levels and its thermostat."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openmm
from openmm import app


@dataclass(frozen=True)
class Problem:
    """What all stages of learning have in common.

    Attributes:
        mix: Makes the mixed system for a list of parts of the surrogate, or None for none.
        topology: Topology of the system.
        start: Parts of the surrogate to begin with.
        temperature: K.
        friction: 1/ps.
        inner_step: ps.
        options: Further arguments of `createIntegrator`.
        platform: OpenMM platform; None for the fastest.
        properties: Its properties.
    """

    mix: Callable[[list[Any] | None], openmm.System]
    topology: app.Topology
    start: Sequence[Any]
    temperature: float
    friction: float
    inner_step: float
    options: Mapping[str, Any]
    platform: openmm.Platform | None
    properties: Mapping[str, str]

    @property
    def has_level(self) -> bool:
        """Whether there is a method below QM that can be tried by itself, and to which differences are learned."""
        return bool(self.start)

    def mixed(self, archive: Path | None = None) -> openmm.System:
        """The mixed system with what was learned, or with the levels that were there alone."""
        parts = [*self.start, *([] if archive is None else [archive])]
        return self.mix(parts or None)

    def context(self, system: openmm.System, integrator: openmm.Integrator) -> openmm.Context:
        """A Context on the platform."""
        if self.platform is None:
            return openmm.Context(system, integrator)
        return openmm.Context(system, integrator, self.platform, dict(self.properties))
