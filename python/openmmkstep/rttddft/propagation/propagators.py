"""Steps in time: from the occupied orbitals at t to those at t + dt.

The equation of motion in the Loewdin basis is ``i dC/dt = F(t) C`` for every spin. Occupied orbitals are propagated
rather than the density: unitary matrices keep them orthonormal, so that trace and idempotency of the density hold to
round-off, and applying an exponential to a few columns is cheaper than transforming a square matrix from both sides.
What round-off takes from orthonormality in each step, 1e-15, is put back, so that it does not add up.

The Fock matrix depends on the unknown orbitals, so each step is solved self-consistently: guesses of the field-free
Fock matrices ahead, by extrapolation of the last ones, give orbitals, whose Fock matrices are the next guesses, until
the two agree. The external field is known at all times and takes no part in the guessing.

Two schemes, both symmetric in time, so that a trajectory can be retraced and its energy oscillates instead of drifting:

- ``Magnus2``: exponential of the mean of both ends, field at the midpoint; second order. One Fock build per iteration.
  C. L. Cheng, J. S. Evans, T. Van Voorhis, Phys. Rev. B 74, 155112 (2006). With Hartree-Fock, whose energy is quadratic
  in the density, the energy is conserved exactly.
- ``CFM4``: commutator-free Magnus, fourth order. The Fock matrix in between is the parabola through t, t + dt/2 and
  t + dt, and each half step takes the two exponentials of S. Blanes, P. C. Moan, Appl. Numer. Math. 56, 1519 (2006), in
  TDDFT: A. Gomez Pueyo, M. A. L. Marques, A. Rubio, A. Castro, J. Chem. Theory Comput. 14, 3040 (2018). Two Fock builds
  per iteration. Interpolating the Fock matrices of earlier steps instead needs somewhat fewer builds, but is not
  symmetric, and damps what the step does not resolve: core excitations after a kick, and with them the energy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from openmmkstep.rttddft.arguments import integer_from, positive_number
from openmmkstep.rttddft.electronic_structure.hamiltonian import Evaluation, Hamiltonian, Orbitals
from openmmkstep.rttddft.errors import ConvergenceError

from .fields import ElectricField

Array = NDArray[Any]

_ROOT3 = float(np.sqrt(3.0))
# Gauss points of the unit interval, and the weights of the two exponentials of CFM4.
_NODES = (0.5 - _ROOT3 / 6.0, 0.5 + _ROOT3 / 6.0)
# Three points, a parabola: more of them amplify the core excitations that a time step does not resolve.
GUESS_POINTS = 3
_SMALL_WEIGHT, _LARGE_WEIGHT = (3.0 - 2.0 * _ROOT3) / 12.0, (3.0 + 2.0 * _ROOT3) / 12.0


@dataclass(frozen=True)
class State:
    """Everything that the next step depends on.

    Attributes:
        step: steps done.
        time: atomic units.
        orbitals: occupied ones, Loewdin basis.
        history: field-free Fock matrices [spins,n,n] that the next ones are guessed from, the one of this time last;
            spaced by dt for Magnus2 and by dt/2 for CFM4.
        energy: field-free, hartree.
        fock_builds: that the step to this state took.
    """

    step: int
    time: float
    orbitals: Orbitals
    history: tuple[Array, ...]
    energy: float
    fock_builds: int = 0


@dataclass(frozen=True)
class Propagator(ABC):
    """A scheme with its settings.

    Attributes:
        time_step: dt, atomic units; positive.
        tolerance: of a step: the largest element by which two iterations' Fock matrices, applied to the orbitals, may
            differ, times dt; the error that the step leaves in the orbitals.
        max_iterations: before a step is given up.
    """

    time_step: float
    tolerance: float = 1e-9
    max_iterations: int = 30

    name: ClassVar[str] = ""

    def __post_init__(self) -> None:
        store = object.__setattr__
        store(self, "time_step", positive_number("time step", self.time_step))
        store(self, "tolerance", positive_number("propagation tolerance", self.tolerance))
        store(self, "max_iterations", integer_from("max_iterations", self.max_iterations, 1))

    def describe(self) -> dict[str, Any]:
        """All settings, as JSON values."""
        return {
            "name": self.name,
            "time_step": self.time_step,
            "tolerance": self.tolerance,
            "max_iterations": self.max_iterations,
        }

    def start(self, hamiltonian: Hamiltonian, orbitals: Orbitals) -> State:
        """The state at t = 0 of given occupied orbitals."""
        evaluation = hamiltonian.evaluate(orbitals)
        return State(0, 0.0, orbitals, (evaluation.fock,), evaluation.energy, 1)

    @abstractmethod
    def advance(self, hamiltonian: Hamiltonian, field: ElectricField, state: State) -> State:
        """One step.

        Raises:
            ConvergenceError: the step did not become self-consistent.
        """

    def _agree(self, fock: Array, guess: Array, orbitals: Orbitals) -> bool:
        # By what the difference does to the electrons. A spin without any has none to disagree about, and where one
        # has next to none its potential, in particular a meta-GGA's, may be noise between the functions there.
        for own, other, part in zip(fock, guess, orbitals, strict=True):
            wrong = np.abs((own - other) @ part).max(initial=0.0)
            # Also false for values that are not a number, so that a step that blew up is never accepted.
            if not self.time_step * wrong < self.tolerance:
                return False
        return True

    def _next(
        self, state: State, orbitals: Orbitals, evaluation: Evaluation, history: tuple[Array, ...], fock_builds: int
    ) -> State:
        step = state.step + 1
        kept = (*state.history, *history)[-GUESS_POINTS:]
        return State(step, step * self.time_step, _orthonormalised(orbitals), kept, evaluation.energy, fock_builds)

    def _failure(self, state: State) -> ConvergenceError:
        return ConvergenceError(
            f"step {state.step + 1} at t = {state.time:.6g} did not become self-consistent to {self.tolerance:.1e} "
            f"within {self.max_iterations} iterations: use a smaller time step than {self.time_step}, "
            "or a larger tolerance"
        )


@dataclass(frozen=True)
class Magnus2(Propagator):
    """Second-order Magnus step, self-consistent."""

    name: ClassVar[str] = "magnus2"

    def advance(self, hamiltonian: Hamiltonian, field: ElectricField, state: State) -> State:
        """See the base class."""
        coupling = hamiltonian.coupling(field.at(state.time + 0.5 * self.time_step))
        start, (end,) = state.history[-1], _extrapolated(state.history, 1)
        for iteration in range(1, self.max_iterations + 1):
            orbitals = _exponential(0.5 * (start + end) + coupling, self.time_step, state.orbitals)
            evaluation = hamiltonian.evaluate(orbitals)
            if self._agree(evaluation.fock, end, orbitals):
                return self._next(state, orbitals, evaluation, (evaluation.fock,), iteration)
            end = evaluation.fock
        raise self._failure(state)


@dataclass(frozen=True)
class CFM4(Propagator):
    """Fourth-order commutator-free Magnus step, self-consistent."""

    name: ClassVar[str] = "cfm4"

    def advance(self, hamiltonian: Hamiltonian, field: ElectricField, state: State) -> State:
        """See the base class."""
        half = 0.5 * self.time_step
        couplings = [
            [hamiltonian.coupling(field.at(state.time + half * (part + node))) for node in _NODES] for part in (0, 1)
        ]
        start = state.history[-1]
        middle, end = _extrapolated(state.history, 2)
        for iteration in range(1, self.max_iterations + 1):
            halfway = _two_exponentials((start, middle, end), 0.0, couplings[0], half, state.orbitals)
            new_middle = hamiltonian.evaluate(halfway).fock
            # The second half uses the better middle at once, which saves iterations.
            orbitals = _two_exponentials((start, new_middle, end), 1.0, couplings[1], half, halfway)
            evaluation = hamiltonian.evaluate(orbitals)
            if self._agree(evaluation.fock, end, orbitals) and self._agree(new_middle, middle, orbitals):
                return self._next(state, orbitals, evaluation, (new_middle, evaluation.fock), 2 * iteration)
            middle, end = new_middle, evaluation.fock
        raise self._failure(state)


def _two_exponentials(
    points: tuple[Array, Array, Array], offset: float, couplings: list[Array], step: float, orbitals: Orbitals
) -> Orbitals:
    """Orbitals after one of the two halves of a CFM4 step.

    Args:
        points: field-free Fock matrices at 0, 1 and 2 half steps.
        offset: where the half begins, in half steps.
        couplings: with the field, at both Gauss points of this half.
        step: half a time step.
        orbitals: at the beginning.
    """
    early, late = (
        _combined(_lagrange_weights((0.0, 1.0, 2.0), offset + node), points) + coupling
        for node, coupling in zip(_NODES, couplings, strict=True)
    )
    first = _exponential(_LARGE_WEIGHT * early + _SMALL_WEIGHT * late, step, orbitals)
    return _exponential(_SMALL_WEIGHT * early + _LARGE_WEIGHT * late, step, first)


def _exponential(matrices: Array, step: float, orbitals: Orbitals) -> Orbitals:
    """``exp(-i step matrix)`` applied to the orbitals of each spin, by diagonalisation."""
    result = []
    for matrix, part in zip(matrices, orbitals, strict=True):
        if not part.shape[1]:
            result.append(part)
            continue
        try:
            values, vectors = np.linalg.eigh(matrix)
        except np.linalg.LinAlgError as error:
            raise ConvergenceError(
                f"the Fock matrix cannot be diagonalised ({error}): use a smaller time step"
            ) from error
        phases = np.exp(-1j * step * values)[:, None]
        result.append(vectors @ (phases * (vectors.conj().T @ part)))
    return tuple(result)


def _orthonormalised(orbitals: Orbitals) -> Orbitals:
    """Orbitals with the error of their orthonormality squared; to first order the symmetric orthogonalisation."""
    return tuple(1.5 * part - 0.5 * (part @ (part.conj().T @ part)) for part in orbitals)


def _extrapolated(history: tuple[Array, ...], count: int) -> list[Array]:
    """The next matrices of an equally spaced series, by the polynomial through those that are there."""
    places = tuple(float(place) for place in range(1 - len(history), 1))
    return [_combined(_lagrange_weights(places, float(k)), history) for k in range(1, count + 1)]


def _combined(weights: NDArray[np.float64], matrices: tuple[Array, ...]) -> Array:
    """Sum of matrices with weights."""
    result = float(weights[0]) * matrices[0]
    for weight, matrix in zip(weights[1:], matrices[1:], strict=True):
        result += float(weight) * matrix
    return result


@lru_cache(maxsize=64)
def _lagrange_weights(places: tuple[float, ...], target: float) -> NDArray[np.float64]:
    """Weights of values at ``places`` in the value at ``target`` of the polynomial through them."""
    weights = np.ones(len(places))
    for i, own in enumerate(places):
        for other in places[:i] + places[i + 1 :]:
            weights[i] *= (target - other) / (own - other)
    return weights
