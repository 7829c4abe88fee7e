"""A Hamiltonian that evaluates the functional only where a trajectory is new.

The expensive part of the Fock matrix is the exchange-correlation potential. Along a trajectory the density deviates
from the ground state's in a few directions only, which come again and again, and the potential is a smooth function of
the deviation. So

    F[P] = F0 + J[dP] - K[dP] + dV_xc[dP],    dP = P - P0

with Coulomb and exact exchange in full at every call (an error of one per cent in them would cost a quarter of the
dipole), and dV_xc from a regression over those densities of the trajectory for which it was evaluated before
(:mod:`.polynomial_regression`). Where a density is not within the span of those, to a tolerance, the functional is
evaluated, and the regression knows one more sample. Nothing needs to be trained beforehand; where a linear response is
known (:class:`.LinearXCResponse`), only what it leaves is learned. The propagation stays unitary whatever the error of
the potential is.

What is new is mostly a direction in which the density has hardly moved yet. The sample is then not taken where the
trajectory is: there the potential's quadratic part, a few tenths of a per cent of it in LiH after a kick of 1e-3, would
be taken for the response to what is new, a thirtieth of the deviation. It is taken close to the ground state, whose
orbitals are rotated in that direction (:mod:`.ground_state_rotations`).

On the way the potential is compared with the functional (:mod:`.accuracy`). Where it is not good enough, the potential
is less linear than was taken for granted, and the regression is told so, which makes it ask for more samples.

All of it happens with packed matrices in the Loewdin basis (:class:`.packed_matrices.Packing`).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from openmmkstep.rttddft.arguments import positive_number
from openmmkstep.rttddft.electronic_structure.hamiltonian import Evaluation, Hamiltonian, Orbitals
from openmmkstep.rttddft.electronic_structure.packed_coulomb_exchange import create_kernel
from openmmkstep.rttddft.electronic_structure.packed_matrices import Packing
from openmmkstep.rttddft.errors import ElectronDynamicsError
from openmmkstep.rttddft.systems.level_of_theory import LevelOfTheory
from openmmkstep.rttddft.systems.molecule import Molecule

from .accuracy import PROMISED, AccuracyChecks
from .ground_state_rotations import GroundStateRotations
from .linear_xc_response import LinearXCResponse
from .polynomial_regression import PolynomialRegression
from .response_sources import check_response, describe_response

Array = NDArray[Any]
RealArray = NDArray[np.float64]

# Norm of a change of the density (of occupation numbers) that is round-off rather than motion.
_ROUND_OFF = 1e-9
# Norm of a change of the density at which the response to it is sampled: linear, and far above round-off.
_SMALL_CHANGE = 1e-5
# Of the variance of a prediction: from this on it is because of a direction of first order in a field.
_MOSTLY = 0.5
# Norms of the deviation from which on the quadratic response cannot be as large as the linear one: no polynomial of
# low order describes such a potential.
_MOST_NONLINEAR = 3.0

NO_FUNCTIONAL = "Hartree-Fock has no functional, whose evaluations could be saved: leave the reduction out"


@dataclass(frozen=True)
class Reduction:
    """How far the functional may be left unevaluated.

    Attributes:
        tolerance: how much of the density's deviation from the ground state may lie outside of the known, as a fraction
            of the largest deviation so far. Dipoles are wrong by a tenth to a third of it, or the run says that they
            are not (:attr:`.Observables.accuracy`).
        nonlinearity: norm of the deviation (of occupation numbers, Loewdin basis) at which the quadratic response is
            taken to be as large as the linear one, until comparisons show that it is so earlier. Smaller values spend
            more evaluations in strong fields.
        response: what is known of the linear response beforehand: ``"computed"`` for quadrature around the ground
            state, the path of a trained archive of kind "fxc", or None for nothing. See :mod:`.response_sources`.

    Raises:
        ElectronDynamicsError: a number is not positive.
    """

    tolerance: float = 0.03
    nonlinearity: float = 2.0
    response: str | None = None

    def __post_init__(self) -> None:
        store = object.__setattr__
        store(self, "tolerance", positive_number("tolerance of the reduction", self.tolerance))
        store(self, "nonlinearity", positive_number("nonlinearity of the reduction", self.nonlinearity))

    @property
    def promised(self) -> float:
        """Relative error of the induced dipole that a run keeps to, or says that it does not."""
        return PROMISED * self.tolerance

    def describe(self) -> dict[str, Any]:
        """All settings, as JSON values."""
        settings: dict[str, Any] = {"tolerance": self.tolerance, "nonlinearity": self.nonlinearity}
        if self.response is not None:
            settings["response"] = describe_response(self.response)
        return settings

    def check(self, molecule: Molecule, level: LevelOfTheory) -> None:
        """Refuse what cannot work for a molecule; cheap.

        Raises:
            ElectronDynamicsError: Hartree-Fock, or a response that does not suit the molecule.
        """
        if not level.is_kohn_sham:
            raise ElectronDynamicsError(NO_FUNCTIONAL)
        if self.response is not None:
            check_response(self.response, molecule, level)


class ReducedHamiltonian(Hamiltonian):
    """See the module's documentation.

    Attributes:
        fock_builds: evaluations of the functional so far, the expensive ones; that of the ground state is one of them.
        evaluations: Fock matrices given so far.

    Args:
        full: of RKS or UKS; its integrals and its grid are shared.
        ground_density: [1,n,n] total of a closed shell or [2,n,n] of both spins; real, AO basis.
        reduction: tolerances.
        prior: linear response that is known, with its uncertainty; with one below the tolerance, weak fields need no
            evaluation at all.

    Raises:
        ElectronDynamicsError: the method has no functional, or the prior is for another number of functions.
    """

    def __init__(
        self,
        full: Hamiltonian,
        ground_density: RealArray,
        reduction: Reduction | None = None,
        prior: LinearXCResponse | None = None,
    ) -> None:
        # Not by the base class's constructor, which would compute all integrals again.
        vars(self).update(vars(full))
        if full._exchange_correlation is None:
            raise ElectronDynamicsError(NO_FUNCTIONAL)
        self._functional = full._exchange_correlation
        self._settings = Reduction() if reduction is None else reduction
        self._packing = Packing(self.spins, self.size)
        if prior is not None and len(prior.matrix) != self._packing.length:
            raise ElectronDynamicsError(
                f"the prior is for packed densities of length {len(prior.matrix)}, this molecule has "
                f"{self._packing.length}: it belongs to another basis set or number of spins"
            )
        self._prior = prior
        linear = None if prior is None else prior.matrix
        self._kernel = create_kernel(self._coulomb_exchange, self._inverse_root, self._packing, linear)
        self.fock_builds = 1
        self.evaluations = 0
        density = np.ascontiguousarray(ground_density, dtype=np.float64)
        functional_energy, potential = self._functional.evaluate(density)
        ground = self._assembled(density, functional_energy, potential)
        self._ground_density = self._packing.real(self._root @ density @ self._root)
        self._ground_fock = self._packing.real(ground.fock.real)
        self._ground_energy = ground.energy
        self._ground_potential = self._packed_operator(potential)
        self._rotations = GroundStateRotations(self._packing, self._ground_density, self.occupation)
        self.forget()

    def forget(self) -> None:
        """Know nothing of the functional but the ground state's potential and the prior, as in the beginning."""
        if self._prior is None:
            self._regression = PolynomialRegression(self._settings.nonlinearity)
        else:
            weight, directions = self._prior.uncertainty**2, self._prior.directions
            self._regression = PolynomialRegression(self._settings.nonlinearity, weight, directions)
        self.begin_trajectory()

    def begin_trajectory(self) -> None:
        """From here on the tolerance refers to the largest deviation of a new trajectory; all samples are kept."""
        self._largest = _ROUND_OFF
        longest = inf if self._prior is None else self._prior.check_interval
        self._checks = AccuracyChecks(self._settings.tolerance, longest)

    @property
    def estimated_error(self) -> float | None:
        """Expected relative error of the induced dipole of this trajectory; None before the first comparison."""
        return self._checks.estimate

    def evaluate(self, orbitals: Orbitals) -> Evaluation:
        """Field-free Fock matrices and energy of occupied orbitals."""
        density = np.empty((self.spins, self.size, self.size), dtype=np.complex128)
        for matrix, part in zip(density, orbitals, strict=True):
            np.matmul(part, self.occupation * part.conj().T, out=matrix)
        return self._evaluated(density)

    def evaluate_density(self, density: Array) -> Evaluation:
        """Field-free Fock matrices and energy of a density; see the base class."""
        return self._evaluated(self._root @ density @ self._root)

    def _evaluated(self, density: Array) -> Evaluation:
        """Of a density in the Loewdin basis."""
        self.evaluations += 1
        real, imaginary = self._packing.parts(density)
        change = real - self._ground_density
        prediction = self._regression.predict(change)
        self._largest = max(self._largest, prediction.size)
        allowed = self._settings.tolerance * self._largest
        if prediction.deviation > allowed and self._learn_direction(change, prediction.deviation):
            prediction = self._regression.predict(change)
        due = self._checks.is_due(prediction.size, self._largest)
        if due or prediction.deviation > allowed:
            residual = self._learn(density.real, change)
            if due:
                self._compare(residual, prediction.value, change)
            prediction = self._regression.predict(change)
        linear, exchange = self._kernel.apply(change, imaginary)
        energy = self._ground_energy + prediction.work + float(change @ (self._ground_fock + 0.5 * linear))
        if exchange is not None:
            energy += 0.5 * float(imaginary @ exchange)
        return Evaluation(self._packing.matrices(self._ground_fock + linear + prediction.value, exchange), energy)

    def _learn_direction(self, change: RealArray, deviation: float) -> bool:
        """Sample the response to what is new in a change, if that is what makes it new."""
        block, norm = self._rotations.excitation(self._regression.residual(change))
        if self._regression.linear_weight * norm**2 < _MOSTLY * deviation**2:
            return False
        density = self._rotations.rotated(block, _SMALL_CHANGE)
        self._learn(density, self._packing.real(density) - self._ground_density)
        return True

    def _compare(self, residual: RealArray, predicted: RealArray, change: RealArray) -> None:
        """Of a change, what the prior leaves of the functional's potential, and what was taken for it."""
        wrong = residual - predicted
        if self._prior is None:
            true = residual
        else:
            true = residual + self._prior.matrix @ change
            self._compare_prior(self._prior, wrong, true)
        if not self._checks.compare(float(change @ wrong), float(change @ true)):
            smallest = _MOST_NONLINEAR * self._largest
            length = self._regression.length
            self._regression.set_length(max(0.5 * length, min(length, smallest)))

    def _compare_prior(self, prior: LinearXCResponse, wrong: RealArray, true: RealArray) -> None:
        """Take the prior's error from what was found where that is more than was expected of it."""
        if prior.directions is not None:
            true, wrong = prior.directions @ true, prior.directions @ wrong
        error = min(1.0, float(np.linalg.norm(wrong)) / max(float(np.linalg.norm(true)), np.finfo(float).tiny))
        if error**2 > self._regression.linear_weight:
            self._regression.set_linear_weight(error**2)

    def _learn(self, density: RealArray, change: RealArray) -> RealArray:
        """Add a sample; returns what the prior leaves of the potential's change."""
        self.fock_builds += 1
        _, potential = self._functional.evaluate(self._inverse_root @ density @ self._inverse_root)
        residual = self._packed_operator(potential) - self._ground_potential
        if self._prior is not None:
            residual -= self._prior.matrix @ change
        self._regression.add(change, residual)
        return residual

    def _packed_operator(self, matrices: RealArray) -> RealArray:
        return self._packing.real(np.stack([self.to_loewdin(matrix) for matrix in matrices]))
