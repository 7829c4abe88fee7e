"""What a QM engine is: what it is asked, what it answers, and what set-up needs to know of it.

An engine is made of its settings, which come as keywords of its constructor and are plain JSON values (numbers, texts,
booleans, None, lists, mappings with texts as keys; a tuple arrives as a list). A parameter without a default is a
setting that must be given. Constructors are called often and for no calculation, so they should be quick.

One object is made for each `QMMMPotential` (or configuration), which checks molecules and describes the level of theory
and is never asked to calculate; another one for each Context, which checks its molecule once and then calculates.

What an engine raises ends the calculation. Of an exception inside a Context only type and message arrive, in an
``OpenMMException``. For the traceback, and a debugger, call the engine without a Context::

    SinglePoint("springs", numbers=[8, 1, 1], stiffness=1e5).compute(positions)

with `openmmkstep.engines.single_point`.

More methods are asked for where an engine has them:

- ``orbitals() -> Orbitals | None``: the orbitals of the last calculation, None if there was none since the last reset.
- ``memory() -> bytes`` and ``recall(memory: bytes) -> None``: what the next calculation starts from, such as densities,
  and going on from what another object for the same molecule gave, to the last bit. Checkpoints keep it; an engine
  without them is reset whenever there is a checkpoint. What ``recall`` cannot use it refuses with an `EngineError`, and
  is reset.
- ``version() -> str``: of the programs that it calls; results in a cache (`openmmkstep.engines.result_cache`) are used
  with the same version only.
- ``check_charges(fading: bool) -> None``: called after ``check`` on the object of a `QMMMPotential` if the molecule is
  going to stand among point charges, and ``fading`` tells whether they are switched off with the distance. An engine
  that cannot take them raises an `EngineError`.
"""

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

    All numbers are finite, or the answer is refused. Derivatives are those of ``energy``, to its precision: the
    molecule's response to atoms and charges is in them. Those with respect to positions are at fixed charges; that
    charges fade out with the distance is taken care of outside, by means of ``potential_at_charges``.

    Attributes:
        energy: Energy of the molecule in the field of the charges, without that of the charges with each other, kJ/mol.
        gradient: Derivative of the energy with respect to the atoms [n,3], kJ/mol/nm.
        charge_gradient: Derivative of the energy with respect to the positions of the charges [m,3], kJ/mol/nm.
        potential_at_charges: Derivative of the energy with respect to the charges [m], that is, the electrostatic
            potential of the molecule at the charges, kJ/mol/e. Read only where it was asked for: it may be anything
            elsewhere, NaN too, but always has the shape [m].
        atomic_charges: Charges of the atoms, for output only [n], e; None if the engine does not tell.
        dipole: Dipole moment of the molecule relative to the origin of the coordinates [3], e nm; None if the engine
            does not tell. Both arrive as NaN then.
        iterations: Iterations of the self-consistent calculation; -1 if the engine does not tell.
    """

    energy: float
    gradient: NDArray[np.float64]
    charge_gradient: NDArray[np.float64]
    potential_at_charges: NDArray[np.float64]
    atomic_charges: NDArray[np.float64] | None
    dipole: NDArray[np.float64] | None
    iterations: int = -1


@dataclass(frozen=True)
class Orbitals:
    """Molecular orbitals of s kinds, n of each: s = 1 where both spins share them, s = 2 for alpha and beta.

    Attributes:
        energies: Orbital energies [s,n], kJ/mol, ascending.
        occupations: Electrons in each [s,n]: up to 2 where both spins share orbitals, otherwise up to 1.
    """

    energies: NDArray[np.float64]
    occupations: NDArray[np.float64]

    @property
    def homo(self) -> float:
        """Energy of the highest occupied orbital, kJ/mol: of those that hold at least half an electron."""
        return float(self.energies[self._occupied].max(initial=-np.inf))

    @property
    def lumo(self) -> float:
        """Energy of the lowest orbital that holds less than half an electron, kJ/mol."""
        return float(self.energies[~self._occupied].min(initial=np.inf))

    @property
    def gap(self) -> float:
        """Distance of the two, kJ/mol."""
        return self.lumo - self.homo

    @property
    def _occupied(self) -> NDArray[np.bool_]:
        return self.occupations >= 0.5


class EngineDescription(Protocol):
    """What set-up needs to know of an engine, wherever it runs."""

    def check(self, numbers: Sequence[int], charge: int, multiplicity: int) -> None:
        """Take the molecule that all later calculations are about, without calculating anything.

        Called on the object of a `QMMMPotential` for every system that is made with it, maybe with different molecules,
        and once on that of a Context, before everything but `describe`.

        Args:
            numbers: Atomic numbers [n].
            charge: Total charge of the molecule, e.
            multiplicity: Spin multiplicity of the molecule; charge and multiplicity fit the number of electrons.

        Raises:
            EngineError: Elements, charges or multiplicities that the engine does not cover.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """The settings that change results, as JSON values: part of the level of theory in files.

        Called on any object at any time, before `check` too, and always the same. All settings belong here but those
        that only change speed: by this, surrogates and files of frames are recognised as made for another level. The
        key ``method`` is taken; files keep the engine's name under it.
        """
        ...


class QMEngine(EngineDescription, Protocol):
    """A QM program called from Python.

    An object that calculates belongs to one molecule and one Context, and gets one call at a time, though not always
    from the same thread.
    """

    def compute(
        self,
        positions: NDArray[np.float64],
        charge_positions: NDArray[np.float64],
        charges: NDArray[np.float64],
        needs_potential: NDArray[np.bool_],
    ) -> QMOutput:
        """Calculate energy and derivatives.

        Nothing is periodic here. The molecule is in one piece, also where it reaches across the box, and the charges
        are those images that it sees: already chosen by the cut-off, and diminished where they fade out. Take them all
        as they are.

        The arrays are only to be read; whoever calls may go on using them. Those that are returned must not be changed
        later.

        Args:
            positions: Positions of the atoms [n,3], nm, link atoms last; not near the origin.
            charge_positions: Positions of the point charges [m,3], nm; m and the order may change from call to call,
                and m may be 0.
            charges: Point charges [m], e.
            needs_potential: Whether the potential of the molecule is needed at each charge [m].

        Raises:
            Exception: Any, if the calculation fails. Results that are wrong must not be returned. The next call may
                come all the same, with the same geometry or another one.
        """
        ...

    def reset(self) -> None:
        """Forget what earlier calculations left behind, such as a density to start from.

        The next answer must be that of a new object to the last bit, in all fields: checkpoints rely on it.
        """
        ...
