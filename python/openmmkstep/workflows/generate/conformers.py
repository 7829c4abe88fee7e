"""Starting conformers from force-field dynamics at high temperature."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from openmmkstep.workflows.config.generate import ConformerSection
from openmmkstep.workflows.setup.equilibration import equilibrate
from openmmkstep.workflows.setup.molecular_system import SystemBuilder


class ConformerSampler:
    """Conformers of the structure in vacuum, before solvent is added.

    A structure that comes with its solvent is left as it is: its conformers are those that its own equilibration
    reaches.

    Args:
        builder: knows the structure.
        section: temperature and time.
        platform: OpenMM platform.
    """

    def __init__(self, builder: SystemBuilder, section: ConformerSection, platform: str) -> None:
        self._structure = builder.structure
        self._section = section
        self._platform = platform
        self._alone = section.time > 0 and (
            builder.has_solvent or builder.structure.topology.getPeriodicBoxVectors() is None
        )
        self._molecules = builder.build_in_vacuum() if self._alone else None

    def conformer(self, seed: int) -> NDArray[np.float64]:
        """Positions of the structure [n,3], nm. The same seed gives the same conformer."""
        if self._molecules is None:
            return self._structure.positions
        section = self._section
        # Small molecules in vacuum: the Reference platform is faster than threads, and reproducible.
        platform = "Reference" if len(self._structure.positions) < 200 else self._platform
        return equilibrate(self._molecules, section.temperature, section.time, seed, platform).positions
