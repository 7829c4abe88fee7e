"""GFN2-xTB and GFN1-xTB, computed by libxtb inside the plugin."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from openmmkstep._plugin import load_plugins

from .protocol import EngineError
from .setting_values import check_integer, check_range

HEAVIEST_ELEMENT = 86
"""The methods of libxtb have parameters from hydrogen to radon."""


@dataclass(frozen=True)
class XTB:
    """Settings of the xTB methods, and what they cover.

    Attributes:
        accuracy: Accuracy of the self-consistent calculation as xtb defines it; smaller is tighter. 0.01 conserves
            energy with the warm start between steps; the default of the xtb program (1) does not.
        max_iterations: Bound of the iterations of one self-consistent calculation.
        electronic_temperature: Temperature of the Fermi smearing of occupations, K.
        threads: Threads of libxtb. More than one pays only on an idle machine and for many atoms.

    Raises:
        EngineError: A value out of range.
    """

    accuracy: float = 0.01
    max_iterations: int = 250
    electronic_temperature: float = 300.0
    threads: int = 1

    def __post_init__(self) -> None:
        check_range("accuracy", self.accuracy, 1e-4, 1000.0)
        check_range("electronic_temperature", self.electronic_temperature, 0.0, 100_000.0)
        check_integer("max_iterations", self.max_iterations, 100_000)
        check_integer("threads", self.threads, 1024)

    def check(self, numbers: Sequence[int], charge: int, multiplicity: int) -> None:
        """Refuse elements without parameters.

        Raises:
            EngineError: Elements beyond radon.
        """
        heavy = sorted({int(number) for number in numbers if not 1 <= number <= HEAVIEST_ELEMENT})
        if heavy:
            raise EngineError(f"xTB covers the elements up to Z = {HEAVIEST_ELEMENT}, the molecule has {heavy}")

    def describe(self) -> dict[str, Any]:
        """The settings that change results; neither threads nor the bound of iterations do."""
        return {"accuracy": self.accuracy, "electronic_temperature": self.electronic_temperature}


def use_library(path: str | os.PathLike[str]) -> None:
    """Use another libxtb than that of the Python package xtb, for the rest of the process.

    Args:
        path: libxtb itself, or the folder that holds it.

    Raises:
        openmm.OpenMMException: One is in use already.
    """
    load_plugins()
    from openmmkstep import _openmmkstep

    _openmmkstep.XTB_useLibrary(os.fspath(path))
