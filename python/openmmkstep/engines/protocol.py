"""What a QM engine is: what it is asked, what it answers, and what set-up needs to know of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class EngineError(ValueError):
    """An engine that does not exist, cannot be used so, or does not cover what it is asked for."""


@dataclass(frozen=True)
class QMOutput:
    """The answer of an engine for one geometry of n atoms among m point charges.

    Attributes:
        energy: Energy of the molecule in the field of the charges, without that of the charges with each other, kJ/mol.
        gradient: Derivative of the energy with respect to the atoms [n,3], kJ/mol/nm.
        charge_gradient: Derivative of the energy with respect to the positions of the charges [m,3], kJ/mol/nm.
        potential_at_charges: Derivative of the energy with respect to the charges [m], that is, the electrostatic
            potential of the molecule at the charges, kJ/mol/e. Read only where it was asked for.
        atomic_charges: Charges of the atoms, for output only [n], e.
        dipole: Dipole moment of the molecule relative to the origin of the coordinates [3], e nm.
        iterations: Iterations of the self-consistent calculation; -1 if the engine does not tell.
    """

    energy: float
    gradient: NDArray[np.float64]
    charge_gradient: NDArray[np.float64]
    potential_at_charges: NDArray[np.float64]
    atomic_charges: NDArray[np.float64]
    dipole: NDArray[np.float64]
    iterations: int = -1


class EngineDescription(Protocol):
    """What set-up needs to know of an engine, wherever it runs."""

    def check(self, numbers: Sequence[int], charge: int, multiplicity: int) -> None:
        """Take the molecule that all later calculations are about, without calculating anything.

        Args:
            numbers: Atomic numbers [n].
            charge: Total charge of the molecule, e.
            multiplicity: Spin multiplicity of the molecule; charge and multiplicity fit the number of electrons.

        Raises:
            EngineError: Elements, charges or multiplicities that the engine does not cover.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """The settings that change results, as JSON values: part of the level of theory in files."""
        ...


class QMEngine(EngineDescription, Protocol):
    """A QM program called from Python.

    An object belongs to one molecule and one Context. `check` is called once, before everything else.
    """

    def compute(
        self,
        positions: NDArray[np.float64],
        charge_positions: NDArray[np.float64],
        charges: NDArray[np.float64],
        needs_potential: NDArray[np.bool_],
    ) -> QMOutput:
        """Calculate energy and derivatives.

        Args:
            positions: Positions of the atoms [n,3], nm.
            charge_positions: Positions of the point charges [m,3], nm; m may change from call to call, and be 0.
            charges: Point charges [m], e.
            needs_potential: Whether the potential of the molecule is needed at each charge [m].

        Raises:
            Exception: Any, if the calculation fails. Results that are wrong must not be returned.
        """
        ...

    def reset(self) -> None:
        """Forget what earlier calculations left behind, such as a density to start from."""
        ...
