"""The molecule whose electrons move; its nuclei stand still."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kstep_models.elements import formula, number_of, symbol_of
from openmmkstep.rttddft.arguments import integer_from
from openmmkstep.rttddft.errors import ElectronDynamicsError
from openmmkstep.rttddft.units import NM_PER_BOHR

if TYPE_CHECKING:
    from openmm import app

# Closer than this (bohr), two nuclei are a mistake in the input, most often one of units.
_CLOSEST = 0.2
# Heavier elements need effective core potentials, which are not wired up; all-electron bases for them are rare.
_HEAVIEST_ELEMENT = 36


@dataclass(frozen=True)
class Molecule:
    """Nuclei and electron count, checked.

    Attributes:
        numbers: atomic numbers [n].
        positions: of the nuclei [n,3], bohr.
        charge: total charge, e.
        multiplicity: spin multiplicity 2S+1.
        name: free text; the formula where none is given.

    Raises:
        ElectronDynamicsError: shapes, elements, charge or multiplicity are impossible, or nuclei coincide.
    """

    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    charge: int = 0
    multiplicity: int = 1
    name: str = ""

    def __post_init__(self) -> None:
        store = object.__setattr__
        numbers = np.array(self.numbers, dtype=np.int64)
        positions = np.array(self.positions, dtype=np.float64)
        if numbers.ndim != 1 or len(numbers) == 0:
            raise ElectronDynamicsError(f"a molecule needs a list of atomic numbers, got {self.numbers!r}")
        if positions.shape != (len(numbers), 3):
            raise ElectronDynamicsError(
                f"positions have shape {list(positions.shape)}, expected [{len(numbers)}, 3] for {len(numbers)} atoms"
            )
        if not np.all(np.isfinite(positions)):
            raise ElectronDynamicsError("positions must be finite numbers")
        beyond = sorted({int(number) for number in numbers if not 1 <= number <= _HEAVIEST_ELEMENT})
        if beyond:
            raise ElectronDynamicsError(
                f"elements from H to Kr (Z = 1 to {_HEAVIEST_ELEMENT}) are covered, got {beyond}"
            )
        _refuse_coincidence(positions)
        store(self, "numbers", numbers)
        store(self, "positions", positions)
        store(self, "charge", integer_from("charge", self.charge, -(10**6)))
        store(self, "multiplicity", integer_from("multiplicity", self.multiplicity, 1))
        store(self, "name", str(self.name) or formula(self.numbers))
        self._check_electrons()

    @classmethod
    def create(
        cls,
        elements: Iterable[str | int | app.Element],
        positions: Any,
        charge: int = 0,
        multiplicity: int = 1,
        name: str = "",
    ) -> Molecule:
        """A molecule in the units of OpenMM.

        Args:
            elements: symbols, atomic numbers or OpenMM elements [n].
            positions: [n,3], an OpenMM quantity of length, or plain numbers in nm.
            charge: total charge, e.
            multiplicity: spin multiplicity 2S+1.
            name: free text.

        Raises:
            ElectronDynamicsError: an element is unknown, or see the class.
        """
        if hasattr(positions, "value_in_unit"):
            # Whoever has a quantity has loaded OpenMM, which nothing here needs otherwise.
            from openmm import unit

            positions = positions.value_in_unit(unit.nanometer)
        numbers = np.array([_atomic_number(element) for element in elements], dtype=np.int64)
        return cls(numbers, _floats(positions) / NM_PER_BOHR, charge, multiplicity, name)

    @property
    def electrons(self) -> int:
        """Number of electrons."""
        return int(self.numbers.sum()) - self.charge

    @property
    def unpaired(self) -> int:
        """Number of unpaired electrons, 2S."""
        return self.multiplicity - 1

    @property
    def symbols(self) -> list[str]:
        """Element symbols."""
        return [symbol_of(int(number)) for number in self.numbers]

    def _check_electrons(self) -> None:
        if self.electrons < 1:
            raise ElectronDynamicsError(
                f"{self.name} with charge {self.charge} has no electrons left: check the charge"
            )
        if self.unpaired > self.electrons or (self.electrons - self.unpaired) % 2:
            raise ElectronDynamicsError(
                f"{self.name} with charge {self.charge} has {self.electrons} electrons, which cannot have multiplicity "
                f"{self.multiplicity}: correct the charge or the multiplicity"
            )


def _floats(positions: ArrayLike) -> NDArray[np.float64]:
    try:
        return np.array(positions, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ElectronDynamicsError(f"positions must be an array of numbers ({error})") from error


def _atomic_number(element: str | int | app.Element) -> int:
    if isinstance(element, str):
        try:
            return number_of(element)
        except KeyError as error:
            raise ElectronDynamicsError(f"unknown element {element!r}: use symbols such as 'O'") from error
    return integer_from("atomic number", getattr(element, "atomic_number", element), 1)


def _refuse_coincidence(positions: NDArray[np.float64]) -> None:
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    first, second = (int(index) for index in np.unravel_index(np.argmin(distances), distances.shape))
    if distances[first, second] < _CLOSEST:
        raise ElectronDynamicsError(
            f"atoms {first} and {second} are only {distances[first, second]:.3g} bohr apart: check the units of the "
            "positions (bohr here; nm in Molecule.create)"
        )
