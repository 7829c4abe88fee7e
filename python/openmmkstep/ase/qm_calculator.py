"""`QMCalculator`, any QM engine as a calculator of ASE, embedded in point charges where ASE's EIQMMM asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculatorSetupError, PropertyNotImplementedError
from numpy.typing import NDArray

from openmmkstep.engines.ase.conversion import ENERGY, FORCE, LENGTH
from openmmkstep.engines.native import native_names
from openmmkstep.engines.protocol import EngineError, Orbitals
from openmmkstep.engines.registry import specification
from openmmkstep.engines.single_point import SinglePoint

from .embeddable import ALL_CHANGES, EmbeddableCalculator

_OWN = ("method", "charge", "multiplicity")
WHOLE = 0.01
"""e and Bohr magnetons: as far may the sum of initial charges or magnetic moments be from an integer."""


class QMCalculator(EmbeddableCalculator):
    """A QM engine as a calculator of ASE: energies in eV, forces in eV/A, charges in e, dipole in e A.

    The energy is the one of which the forces are the derivative, smearing included, under both of ASE's names
    (``energy``, ``free_energy``). The dipole is that relative to the origin of the coordinates, which matters for ions.
    Calculations start from the density of the one before. Nothing is periodic.

    For ASE's ``EIQMMM`` the calculator has ``embed``, whose point charges polarise the molecule and feel its forces.

    Args:
        method: ``"gfn2-xtb"``, ``"gfn1-xtb"`` or any engine of `openmmkstep.engines.registry`.
        charge: Total charge, e. None: the sum of the atoms' initial charges.
        multiplicity: Spin multiplicity. None: one more than the sum of the atoms' initial magnetic moments.
        **settings: Settings of the engine by keyword.

    Raises:
        EngineError: An unknown engine, or settings that it refuses.

    Example:
        >>> atoms = ase.build.molecule("CH3CH2OH")
        >>> atoms.calc = QMCalculator("gfn2-xtb")
        >>> atoms.get_potential_energy(), atoms.calc.get_homo_lumo()
    """

    implemented_properties = ["energy", "free_energy", "forces", "charges", "dipole"]  # noqa: RUF012 (ASE's own type)

    def __init__(
        self,
        method: str = "gfn2-xtb",
        *,
        charge: int | None = None,
        multiplicity: int | None = None,
        **settings: Any,
    ) -> None:
        self._single_point: SinglePoint | None = None
        self._orbitals: Orbitals | None = None
        super().__init__()
        self.set(method=method, charge=charge, multiplicity=multiplicity, **settings)

    def __getstate__(self) -> dict[str, Any]:
        """A copy makes an engine of its own."""
        return {**vars(self), "_single_point": None}

    def _get_name(self) -> str:
        return str(self.parameters["method"])

    def set(self, **kwargs: Any) -> dict[str, Any]:
        """Change the method, the state of the molecule or settings of the engine; what was calculated is forgotten.

        Returns:
            What has changed.

        Raises:
            EngineError: An unknown engine, or settings that it refuses.
        """
        if not kwargs:
            return {}
        parameters = {**self.parameters, **kwargs}
        settings = {name: value for name, value in parameters.items() if name not in _OWN}
        specification(parameters["method"], settings, others=native_names())
        changed = {
            name: value
            for name, value in kwargs.items()
            if name not in self.parameters or self.parameters[name] != value
        }
        self.parameters.update(changed)
        if changed:
            self._single_point = None
            self.reset()
        return changed

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = ALL_CHANGES,
    ) -> None:
        """Calculate all properties at once.

        Raises:
            CalculatorSetupError: A periodic cell, or initial charges or magnetic moments that sum to no integer where
                they are asked for.
            EngineError: A molecule that the engine does not cover, or a calculation that fails.
        """
        molecule = self._take(atoms, properties, system_changes)
        single_point = self._single_point_of(molecule)
        surroundings = self._point_charges
        if surroundings is None:
            result = single_point.compute(molecule.positions / LENGTH)
        else:
            places = surroundings.places()
            result = single_point.compute(molecule.positions / LENGTH, places / LENGTH, surroundings.charges)
            surroundings.take_forces(result.charge_forces * FORCE)
            self._computed = surroundings.version
        self._orbitals = result.orbitals
        found: dict[str, Any] = {
            "energy": result.energy * ENERGY,
            "free_energy": result.energy * ENERGY,
            "forces": result.forces * FORCE,
            "charges": result.atomic_charges,
            "dipole": result.dipole * LENGTH,
        }
        # What an engine does not tell is NaN; asked for it, ASE says so.
        self.results = {name: value for name, value in found.items() if np.isfinite(value).all()}

    def get_homo_lumo(self) -> tuple[float, float]:
        """Energies of the highest occupied and the lowest unoccupied orbital of the last calculation, eV.

        Raises:
            PropertyNotImplementedError: The engine has no orbitals, or nothing was calculated.
        """
        orbitals = self._last_orbitals()
        return orbitals.homo * ENERGY, orbitals.lumo * ENERGY

    def get_eigenvalues(self, kpt: int = 0, spin: int = 0) -> NDArray[np.float64]:
        """Orbital energies of the last calculation, eV; of the second spin if both have orbitals of their own.

        Raises:
            PropertyNotImplementedError: The engine has no orbitals, or nothing was calculated.
        """
        return self._last_orbitals().energies[spin] * ENERGY

    def get_occupation_numbers(self, kpt: int = 0, spin: int = 0) -> NDArray[np.float64]:
        """Electrons in each orbital of the last calculation.

        Raises:
            PropertyNotImplementedError: The engine has no orbitals, or nothing was calculated.
        """
        return self._last_orbitals().occupations[spin].copy()

    def get_number_of_spins(self) -> int:
        """1 where both spins share their orbitals, otherwise 2."""
        return len(self._last_orbitals().energies)

    def _last_orbitals(self) -> Orbitals:
        if not self.results:
            raise PropertyNotImplementedError(f"{self.name} has calculated nothing yet: ask for the energy first")
        if self._orbitals is None:
            raise PropertyNotImplementedError(f"{self.name} has no orbitals")
        return self._orbitals

    def _single_point_of(self, atoms: Atoms) -> SinglePoint:
        numbers = atoms.numbers.tolist()
        charge, multiplicity = self._charge_of(atoms), self._multiplicity_of(atoms)
        known = self._single_point
        if known is None or (known.numbers, known.charge, known.multiplicity) != (numbers, charge, multiplicity):
            settings = {name: value for name, value in self.parameters.items() if name not in _OWN}
            try:
                known = SinglePoint(self.parameters["method"], numbers, charge, multiplicity, **settings)
            except EngineError as error:
                if "electrons" not in str(error):
                    raise
                raise EngineError(
                    f"{error}. Give charge and multiplicity to the calculator, or initial charges and magnetic moments "
                    "to the atoms"
                ) from error
            self._single_point = known
        return known

    def _charge_of(self, atoms: Atoms) -> int:
        given: int | None = self.parameters["charge"]
        if given is not None:
            return given
        return _whole("initial charges", "charge", float(atoms.get_initial_charges().sum()))

    def _multiplicity_of(self, atoms: Atoms) -> int:
        given: int | None = self.parameters["multiplicity"]
        if given is not None:
            return given
        moments = atoms.get_initial_magnetic_moments()
        if moments.ndim != 1:
            raise CalculatorSetupError("magnetic moments must be one number for each atom, not vectors")
        return 1 + abs(_whole("initial magnetic moments", "multiplicity", float(moments.sum())))


def _whole(what: str, name: str, total: float) -> int:
    if abs(total - round(total)) > WHOLE:
        raise CalculatorSetupError(f"the {what} of the atoms sum to {total:g}, which is no integer: give {name}=")
    return round(total)
