"""A Hamiltonian that evaluates the functional only where a trajectory is new.

The expensive part of the Fock matrix is the exchange-correlation potential. Along a trajectory the density deviates
from the ground state's in a few directions only, which come again and again, and the potential is a smooth function of
the deviation. So

    F[P] = F0 + J[dP] - K[dP] + dV_xc[dP],    dP = P - P0

with Coulomb and exact exchange in full at every call (an error of one per cent in them would cost a quarter of the
dipole), and dV_xc from a regression over those densities of the trajectory for which it was evaluated before
(:mod:`.polynomial_regression`). Where a density is not within the span of those, to a tolerance, the
functional is evaluated for it, and the regression knows one more sample. Nothing needs to be trained beforehand; where
a linear response is known (:class:`.LinearXCResponse`), only what it leaves is learned. The propagation stays unitary
whatever the error of the potential is.

All of it happens with packed matrices in the Loewdin basis (:class:`.packed_matrices.Packing`).
"""

from __future__ import annotations

from dataclasses import dataclass
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

from .linear_xc_response import LinearXCResponse
from .polynomial_regression import PolynomialRegression
from .response_sources import check_response, describe_response

Array = NDArray[Any]
RealArray = NDArray[np.float64]

# Norm of a change of the density (of occupation numbers) that is round-off rather than motion.
_ROUND_OFF = 1e-9
# Fock matrices before the first comparison of a prior with the functional: some motion must be there.
_FIRST_CHECK = 30

NO_FUNCTIONAL = "Hartree-Fock has no functional, whose evaluations could be saved: leave the reduction out"


@dataclass(frozen=True)
class Reduction:
    """How far the functional may be left unevaluated.

    Attributes:
        tolerance: how much of the density's deviation from the ground state may lie outside of the known, as a fraction
            of the largest deviation so far. Dipoles are wrong by a tenth to a third of it.
        nonlinearity: norm of the deviation (of occupation numbers, Loewdin basis) at which the quadratic response is
            taken to be as large as the linear one. Smaller values spend more evaluations in strong fields.
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
        self._until_check = _FIRST_CHECK

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
        due = self._prior_to_check(prediction.size)
        if due is not None or prediction.deviation > self._settings.tolerance * self._largest:
            residual = self._learn(density.real, change)
            if due is not None:
                self._compare(due, residual, prediction.value, change)
            prediction = self._regression.predict(change)
        linear, exchange = self._kernel.apply(change, imaginary)
        energy = self._ground_energy + prediction.work + float(change @ (self._ground_fock + 0.5 * linear))
        if exchange is not None:
            energy += 0.5 * float(imaginary @ exchange)
        return Evaluation(self._packing.matrices(self._ground_fock + linear + prediction.value, exchange), energy)

    def _prior_to_check(self, size: float) -> LinearXCResponse | None:
        if self._prior is None or self._prior.check_interval is None:
            return None
        self._until_check -= 1
        # Small deviations, as right after a kick, are of second order, and say nothing of the linear response.
        if self._until_check >= 0 or size < 0.5 * self._largest:
            return None
        self._until_check = self._prior.check_interval
        return self._prior

    def _compare(self, prior: LinearXCResponse, residual: RealArray, predicted: RealArray, change: RealArray) -> None:
        """Take the prior's error from what was found where that is more than was expected of it."""
        true, wrong = residual + prior.matrix @ change, residual - predicted
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
