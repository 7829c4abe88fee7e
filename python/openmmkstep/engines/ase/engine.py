"""The engine ``ase``: any calculator of ASE, mechanically embedded, or in point charges where it has ASE's `embed`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from openmmkstep.engines.protocol import EngineError, QMOutput

from . import calculators

State = Literal["arguments", "atoms", "parameters"]
_STATES = ("arguments", "atoms", "parameters")
_REMEDY = "use embedding='mechanical'"


class ASEEngine:
    """A calculator of ASE as a QM engine.

    Point charges are given to calculators that have ``embed(charges)`` in the manner of ASE's EIQMMM, which returns an
    object with ``set_positions``, ``set_charges`` and ``get_forces``. It tells no potential at the charges, on which
    the forces depend where charges fade out with the distance; so there must be no cut-off. Other calculators need
    ``embedding='mechanical'``.

    Energies are those of which the forces are derivatives (ASE's ``free_energy``, where a calculator has it). Atomic
    charges and dipole moments are passed on where a calculator gives them along with the forces. `reset` throws the
    calculator away, and a new one is made.

    Args:
        calculator: Its name; see `openmmkstep.engines.ase.calculators`.
        parameters: Its parameters by ASE's names, in the units that it takes.
        state: How it is told charge and spin of the molecule. ``"arguments"``: by its keywords ``charge`` and
            ``multiplicity``. ``"atoms"``: by the atoms' initial charges and magnetic moments, which sum to the charge
            and the number of unpaired electrons. ``"parameters"``: they are among the parameters already, or it knows
            no such thing; nothing is told. None: by its keywords if it names both, otherwise only neutral closed shells
            are taken.
        cell: Edges of a box that the molecule is put in the middle of, for calculators that need one, nm. It is not
            periodic.

    Raises:
        EngineError: ASE is missing, the calculator is not known or does not take the parameters, or a value of a wrong
            kind.

    Example:
        >>> register_calculator("mace", lambda: mace_off("small", default_dtype="float64"))
        >>> QMMMPotential("ase", calculator="mace", state="parameters")
    """

    def __init__(
        self,
        calculator: str,
        parameters: dict[str, Any] | None = None,
        state: State | None = None,
        cell: Sequence[float] | None = None,
    ) -> None:
        try:
            import ase.calculators.calculator  # noqa: F401
        except ImportError as error:
            raise EngineError(
                f"the engine 'ase' needs ASE, which cannot be imported ({error}): pip install 'openmm-kstep[ase]'"
            ) from error
        if parameters is not None and not isinstance(parameters, dict):
            raise EngineError(f"parameters must be a mapping of names to values, got {parameters!r}")
        if state is not None and state not in _STATES:
            raise EngineError(f"state must be one of {', '.join(_STATES)}, or None, got {state!r}")
        self._known = calculators.find(calculator)
        self._parameters = dict(parameters or {})
        self._known.check_parameters(self._parameters)
        self._state = state
        self._cell = None if cell is None else _checked_cell(cell)
        self._numbers: list[int] = []
        self._arguments = self._parameters
        self._initial: dict[str, float] = {}
        self._charge = 0
        self._atoms: Any = None
        self._surroundings: Any = None

    def check(self, numbers: Sequence[int], charge: int, multiplicity: int) -> None:
        """Take the molecule, and make the calculator once to see whether it can be made.

        Raises:
            EngineError: The calculator cannot be made, has no forces, or cannot be told charge and spin.
        """
        self._numbers, self._charge = [int(number) for number in numbers], charge
        state = self._state
        if state is None and self._known.takes_by_name("charge", "multiplicity"):
            state = "arguments"
        if state is None and (charge, multiplicity) != (0, 1):
            raise EngineError(
                f"the calculator {self._known.name!r} has to be told the charge {charge} and the multiplicity "
                f"{multiplicity}, and nothing says how: give state='arguments' (keywords charge and multiplicity), "
                "'atoms' (initial charges and magnetic moments) or 'parameters' (they are among its parameters, or it "
                "knows no such thing)"
            )
        told = {"charge": charge, "multiplicity": multiplicity} if state == "arguments" else {}
        self._arguments = {**self._parameters, **told}
        # Spread over the atoms: sums are what calculators read, and none of the atoms is in an odd state.
        spread = {"charge": charge / len(numbers), "magmom": (multiplicity - 1) / len(numbers)}
        self._initial = spread if state == "atoms" else {}
        self.reset()
        made = self._make()
        if "forces" not in getattr(made, "implemented_properties", ("forces",)):
            raise EngineError(f"the calculator {self._known.name!r} gives no forces: choose another")

    def check_charges(self, fading: bool) -> None:
        """Refuse point charges that the calculator cannot take.

        Raises:
            EngineError: It has no `embed`; or the charges are switched off with the distance.
        """
        if not callable(getattr(self._known.factory, "embed", None)):
            self._check_embed(self._make())
        if fading:
            raise EngineError(_no_potential(self._known.name))

    def describe(self) -> dict[str, Any]:
        """The calculator and its parameters; what its factory adds is not seen from here."""
        return {
            "calculator": self._known.name,
            "parameters": self._parameters,
            "state": self._state,
            "cell": self._cell,
        }

    def reset(self) -> None:
        """Throw the calculator away."""
        self._atoms = self._surroundings = None

    def compute(
        self,
        positions: NDArray[np.float64],
        charge_positions: NDArray[np.float64],
        charges: NDArray[np.float64],
        needs_potential: NDArray[np.bool_],
    ) -> QMOutput:
        """Calculate energy and derivatives.

        Raises:
            EngineError: There are charges, and the calculator takes none; or potentials are asked for.
            Exception: Whatever the calculator raises.
        """
        from .conversion import ENERGY, FORCE, LENGTH, energy_of_the_forces

        if needs_potential.any():
            raise EngineError(_no_potential(self._known.name))
        if self._surroundings is not None and len(charges) != len(self._surroundings[0]):
            # ASE has no way to take an embedding back, nor to change the number of charges.
            self.reset()
        if self._atoms is None:
            self._atoms = self._new_atoms()
        atoms = self._atoms
        shift = np.zeros(3)
        if self._cell is not None:
            shift = np.array(self._cell) / 2 - positions.mean(axis=0)
            self._check_inside(positions + shift)
        if len(charges):
            self._surround(atoms.calc, (charge_positions + shift) * LENGTH, charges)
        atoms.positions = (positions + shift) * LENGTH
        forces = atoms.get_forces(apply_constraint=False)
        energy = energy_of_the_forces(atoms, apply_constraint=False)
        charge_gradient = np.zeros((len(charges), 3))
        if len(charges):
            charge_gradient = -np.asarray(self._surroundings[1].get_forces(atoms.calc)) / FORCE
        results = getattr(atoms.calc, "results", {})
        dipole = results.get("dipole")
        return QMOutput(
            energy=energy / ENERGY,
            gradient=-forces / FORCE,
            charge_gradient=charge_gradient,
            potential_at_charges=np.full(len(charges), np.nan),
            atomic_charges=None if results.get("charges") is None else np.array(results["charges"]),
            dipole=None if dipole is None else np.array(dipole) / LENGTH - self._charge * shift,
        )

    def _make(self) -> Any:
        return self._known.make(self._arguments)

    def _new_atoms(self) -> Any:
        from ase import Atoms

        from .conversion import LENGTH

        atoms = Atoms(numbers=self._numbers)
        if self._cell is not None:
            atoms.cell = np.array(self._cell) * LENGTH
        if self._initial:
            atoms.set_initial_charges([self._initial["charge"]] * len(atoms))
            atoms.set_initial_magnetic_moments([self._initial["magmom"]] * len(atoms))
        atoms.calc = self._make()
        return atoms

    def _check_embed(self, calculator: Any) -> None:
        if not callable(getattr(calculator, "embed", None)):
            raise EngineError(
                f"the calculator {self._known.name!r} takes no point charges (it has no method embed): {_REMEDY}"
            )

    def _surround(self, calculator: Any, places: NDArray[np.float64], charges: NDArray[np.float64]) -> None:
        if self._surroundings is None:
            self._check_embed(calculator)
            self._surroundings = (charges.copy(), calculator.embed(charges.copy()))
        known, points = self._surroundings
        if not np.array_equal(known, charges):
            points.set_charges(charges.copy())
            self._surroundings = (charges.copy(), points)
        points.set_positions(places)

    def _check_inside(self, placed: NDArray[np.float64]) -> None:
        outside = np.argwhere((placed < 0) | (placed > np.array(self._cell)))
        if len(outside):
            raise EngineError(
                f"atom {outside[0][0]} of the molecule is outside of the cell {self._cell} nm: make it larger"
            )


def _no_potential(name: str) -> str:
    return (
        f"the calculator {name!r} cannot be embedded in charges that are switched off with the distance: that needs "
        f"the potential of the molecule at the charges, which ASE's embed does not tell. Give no cut-off, or {_REMEDY}"
    )


def _checked_cell(cell: Sequence[float]) -> list[float]:
    numbers = [edge for edge in cell if isinstance(edge, (int, float)) and not isinstance(edge, bool)]
    if len(numbers) != 3 or len(cell) != 3 or not all(math.isfinite(edge) and edge > 0 for edge in numbers):
        raise EngineError(f"cell must be three positive lengths in nm, got {cell!r}")
    return [float(edge) for edge in numbers]
