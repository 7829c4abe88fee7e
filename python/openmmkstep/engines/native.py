"""The engines in C++ by the protocol of those in Python, for calls without a Context."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from openmmkstep._plugin import load_plugins

from .protocol import EngineError, Orbitals, QMOutput
from .registry import EngineSpecification

if TYPE_CHECKING:
    from openmmkstep import _openmmkstep


def native_names() -> list[str]:
    """Names of the engines that are registered in C++, without those for tests."""
    load_plugins()
    from openmmkstep import _openmmkstep

    return list(_openmmkstep.QMEngineRegistry_getNativeNames())


class NativeEngine:
    """An engine of the plugin, or of a C++ library that has been loaded.

    Args:
        specification: The engine with its settings.
    """

    def __init__(self, specification: EngineSpecification) -> None:
        self._specification = specification
        self._engine: _openmmkstep.NativeEngine | None = None

    def check(self, numbers: Sequence[int], charge: int, multiplicity: int) -> None:
        """Take the molecule.

        Raises:
            EngineError: The engine does not cover it, or libxtb cannot be loaded.
        """
        self._specification.check(numbers, charge, multiplicity)
        load_plugins()
        import openmm

        from openmmkstep import _openmmkstep

        settings = json.dumps(self._specification.settings)
        try:
            self._engine = _openmmkstep.NativeEngine(
                self._specification.name, settings, list(numbers), charge, multiplicity
            )
        except openmm.OpenMMException as error:
            raise EngineError(str(error)) from error

    def describe(self) -> dict[str, Any]:
        """The settings that change results."""
        return {name: value for name, value in self._specification.describe().items() if name != "method"}

    def compute(
        self,
        positions: NDArray[np.float64],
        charge_positions: NDArray[np.float64],
        charges: NDArray[np.float64],
        needs_potential: NDArray[np.bool_],
    ) -> QMOutput:
        """Calculate energy and derivatives; other Python threads go on meanwhile.

        Raises:
            openmm.OpenMMException: The calculation fails.
        """
        answer: dict[str, Any] = self._native().compute(
            positions, charge_positions, charges.tolist(), needs_potential.tolist()
        )
        # What an engine in C++ does not tell.
        for name in ("atomic_charges", "dipole"):
            if np.isnan(answer[name]).all():
                answer[name] = None
        return QMOutput(**answer)

    def orbitals(self) -> Orbitals | None:
        """The orbitals of the last calculation; None if there was none, or if the method has none."""
        found = self._native().getOrbitals()
        if found is None:
            return None
        energies, occupations = found
        return Orbitals(np.array([energies]), np.array([occupations]))

    def reset(self) -> None:
        """Forget the density of the last calculation."""
        self._native().reset()

    def _native(self) -> _openmmkstep.NativeEngine:
        if self._engine is None:
            raise EngineError("an engine needs its molecule before it calculates: call check()")
        return self._engine
