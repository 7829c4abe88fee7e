"""What calculators of molecules that ASE's EIQMMM can embed have in common."""

from __future__ import annotations

from collections.abc import Sequence

from ase import Atoms
from ase.calculators.calculator import Calculator, CalculatorSetupError, all_changes
from numpy.typing import ArrayLike

from .point_charges import PointCharges


class EmbeddableCalculator(Calculator):
    """A calculator of molecules, which are not periodic, that may stand among point charges."""

    def __init__(self) -> None:
        self._point_charges: PointCharges | None = None
        self._computed = -1
        super().__init__()

    def embed(self, charges: ArrayLike = ()) -> PointCharges:
        """Put the molecule among point charges, whose positions are set at what is returned; ASE's EIQMMM calls this.

        Args:
            charges: Charges [m], e.
        """
        self._point_charges = PointCharges(charges)
        self._computed = -1
        return self._point_charges

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What has changed since the last calculation; point charges count as well."""
        changes = list(super().check_state(atoms, tol=tol))
        if self._point_charges is not None and self._point_charges.version != self._computed:
            changes.append("point charges")
        return changes

    def _take(self, atoms: Atoms | None, properties: Sequence[str], system_changes: Sequence[str]) -> Atoms:
        """The molecule to calculate, as ASE's calculators keep it.

        Raises:
            CalculatorSetupError: There is none, or it is periodic.
        """
        molecule: Atoms | None = self.atoms if atoms is None else atoms
        if molecule is None:
            raise CalculatorSetupError(f"{self.name} needs atoms to calculate")
        Calculator.calculate(self, molecule, list(properties), list(system_changes))
        if molecule.pbc.any():
            raise CalculatorSetupError(
                f"{self.name} calculates molecules, and these atoms are periodic: set atoms.pbc = False"
            )
        return molecule


ALL_CHANGES = tuple(all_changes)
