"""Any QM engine called alone: positions and charges in; energy, forces and observables out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from openmm import unit

from .checked import CheckedEngine
from .electrons import checked_numbers, checked_spin
from .native import NativeEngine, native_names
from .protocol import EngineError, Orbitals
from .registry import create_engine, names_in_python, specification

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SinglePointResult:
    """Energy, forces and observables of n atoms among m point charges.

    Attributes:
        energy: Energy of the molecule in the field of the charges, without that of the charges with each other, kJ/mol.
        forces: Forces on the atoms [n,3], kJ/mol/nm.
        charge_forces: Forces on the charges [m,3], kJ/mol/nm.
        potential: Electrostatic potential of the molecule at the charges [m], kJ/mol/e; None if it was not asked for.
        atomic_charges: Charges of the atoms as the method defines them (Mulliken charges for xTB) [n], e; NaN if it
            has none.
        dipole: Dipole moment relative to the origin of the coordinates [3], e nm; NaN if the method has none.
        orbitals: Molecular orbitals, with the HOMO-LUMO gap; None if the method has none.
        iterations: Iterations of the self-consistent calculation; -1 if the engine does not tell.
    """

    energy: float
    forces: Array
    charge_forces: Array
    potential: Array | None
    atomic_charges: Array
    dipole: Array
    orbitals: Orbitals | None
    iterations: int


class SinglePoint:
    """A QM engine for one molecule, called without a Context.

    Calculations start from the density of the one before, which `reset` forgets. The molecule stands alone: nothing is
    periodic.

    Args:
        method: ``"gfn2-xtb"``, ``"gfn1-xtb"``, ``"gfn-ff"`` or any engine of `openmmkstep.engines.registry`.
        numbers: Atomic numbers [n].
        charge: Total charge, e.
        multiplicity: Spin multiplicity, the number of unpaired electrons plus 1.
        **settings: Settings of the engine by keyword.

    Raises:
        EngineError: An unknown engine or setting, or a molecule that cannot be or that the engine does not cover.

    Example:
        >>> water = SinglePoint("gfn2-xtb", [8, 1, 1])
        >>> result = water.compute([[0, 0, 0], [0.0957, 0, 0], [-0.024, 0.0927, 0]])
        >>> result.energy, result.orbitals.gap
    """

    def __init__(
        self, method: str, numbers: Iterable[int], charge: int = 0, multiplicity: int = 1, **settings: Any
    ) -> None:
        self.numbers = checked_numbers(numbers)
        self.charge, self.multiplicity = checked_spin(self.numbers, charge, multiplicity)
        self.specification = specification(method, settings, others=native_names())
        name = self.specification.name
        self._engine: Any
        if name in names_in_python():
            text = json.dumps(self.specification.settings)
            self._engine = create_engine(name, text, self.numbers, self.charge, self.multiplicity)
        else:
            self._engine = CheckedEngine(name, NativeEngine(self.specification), len(self.numbers))
            self._engine.check(self.numbers, self.charge, self.multiplicity)

    def compute(
        self, positions: Any, charge_positions: Any = None, charges: Any = None, potential: bool = False
    ) -> SinglePointResult:
        """Calculate one geometry.

        Args:
            positions: Positions of the atoms [n,3], nm or a Quantity.
            charge_positions: Positions of point charges [m,3], nm or a Quantity; None for no charges.
            charges: Point charges [m], e or a Quantity.
            potential: Whether the potential of the molecule at the charges is wanted, which costs some engines time.

        Raises:
            EngineError: Arrays of other shapes or with values that are not finite, atoms or charges in one place, or a
                calculation that fails.
        """
        x = _array("positions", positions, unit.nanometer, (len(self.numbers), 3))
        if (charge_positions is None) != (charges is None):
            raise EngineError("charge_positions and charges belong together: give both or none")
        q = _array("charges", () if charges is None else charges, unit.elementary_charge, (None,))
        places = np.zeros((0, 3)) if charge_positions is None else charge_positions
        y = _array("charge_positions", places, unit.nanometer, (len(q), 3))
        if len(q) and not np.linalg.norm(x[:, None] - y[None], axis=2).min() > 0:
            raise EngineError("a point charge stands on an atom: the energy has no bound there")
        output = self._engine.compute(x, y, q, np.full(len(q), bool(potential)))
        return SinglePointResult(
            energy=output.energy,
            forces=-output.gradient,
            charge_forces=-output.charge_gradient,
            potential=output.potential_at_charges if potential else None,
            atomic_charges=output.atomic_charges,
            dipole=output.dipole,
            orbitals=self._engine.orbitals(),
            iterations=output.iterations,
        )

    def reset(self) -> None:
        """Forget earlier calculations: the next one starts from nothing, and gives what a new object would."""
        self._engine.reset()


def _array(name: str, values: Any, wanted: unit.Unit, shape: tuple[int | None, ...]) -> Array:
    if unit.is_quantity(values):
        values = values.value_in_unit(wanted)
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise EngineError(f"{name} are no array of numbers: {error}") from error
    if array.ndim != len(shape) or any(n is not None and n != m for n, m in zip(shape, array.shape, strict=True)):
        raise EngineError(f"{name} must have the shape {[n or 'm' for n in shape]}, got {list(array.shape)}")
    if not np.isfinite(array).all():
        raise EngineError(f"{name} are not finite")
    return array
