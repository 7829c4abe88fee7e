"""A Hamiltonian that evaluates the functional only where a trajectory is new.

The expensive part of the Fock matrix is the exchange-correlation potential. Along a trajectory the density deviates
from the ground state's in a few directions only, which come again and again, and the potential is a smooth function of
the deviation. So

    F[P] = F0 + J[dP] - K[dP] + dV_xc[dP],    dP = P - P0

with Coulomb and exact exchange in full at every call (an error of one per cent in them would cost a quarter of the
dipole), and dV_xc from a regression over those densities of the trajectory for which it was evaluated before
(:mod:`openmmkstep.rttddft.polynomialRegression`). Where a density is not within the span of those, to a tolerance, the
functional is evaluated for it, and the regression knows one more sample. Nothing is trained beforehand. The propagation
stays unitary whatever the error of the potential is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .checks import positiveNumber
from .errors import ElectronDynamicsError
from .hamiltonian import Evaluation, Hamiltonian
from .polynomialRegression import PolynomialRegression

Array = NDArray[Any]
RealArray = NDArray[np.float64]


NO_FUNCTIONAL = "Hartree-Fock has no functional, whose evaluations could be saved: leave the reduction out"


@dataclass(frozen=True)
class Reduction:
    """How far the functional may be left unevaluated.

    Attributes:
        tolerance: how much of the density's deviation from the ground state may lie outside of the known, as a fraction
            of the largest deviation so far. Dipoles are wrong by about a tenth of it.
        nonlinearity: norm of the deviation (of occupation numbers, Loewdin basis) at which the quadratic response is
            taken to be as large as the linear one. Smaller values spend more evaluations in strong fields.

    Raises:
        ElectronDynamicsError: a number is not positive.
    """

    tolerance: float = 0.05
    nonlinearity: float = 2.0

    def __post_init__(self) -> None:
        store = object.__setattr__
        store(self, "tolerance", positiveNumber("tolerance of the reduction", self.tolerance))
        store(self, "nonlinearity", positiveNumber("nonlinearity of the reduction", self.nonlinearity))

    def describe(self) -> dict[str, Any]:
        """All settings, as JSON values."""
        return {"tolerance": self.tolerance, "nonlinearity": self.nonlinearity}


class ReducedHamiltonian(Hamiltonian):
    """See the module's documentation.

    Attributes:
        fockBuilds: evaluations of the functional so far, the expensive ones; that of the ground state is one of them.
        evaluations: Fock matrices given so far.

    Args:
        full: of RKS or UKS; its integrals and its grid are shared.
        groundDensity: [1,n,n] total of a closed shell or [2,n,n] of both spins; real, AO basis.
        reduction: tolerances.

    Raises:
        ElectronDynamicsError: the method has no functional.
    """

    def __init__(self, full: Hamiltonian, groundDensity: RealArray, reduction: Reduction | None = None) -> None:
        # Not by the base class's constructor, which would compute all integrals again.
        vars(self).update(vars(full))
        self.fockBuilds = 0
        if full._exchangeCorrelation is None:
            raise ElectronDynamicsError(NO_FUNCTIONAL)
        self._functional = full._exchangeCorrelation
        settings = Reduction() if reduction is None else reduction
        self._tolerance = settings.tolerance
        self._regression = PolynomialRegression(settings.nonlinearity)
        self._upper = np.triu_indices(self.size)
        # Off-diagonal elements count twice, so that the product of packed matrices is their trace product.
        self._multiplicity = np.where(self._upper[0] == self._upper[1], 1.0, np.sqrt(2.0))
        self._largest = 0.0
        self.evaluations = 0
        self._groundDensity: RealArray = np.ascontiguousarray(groundDensity, dtype=np.float64)
        ground = super().evaluateDensity(self._groundDensity)
        self._groundFock, self._groundEnergy = ground.fock, ground.energy
        self._groundAtomicFock = np.stack([self._fromLoewdin(matrix) for matrix in ground.fock.real])
        self._groundPotential = self._packedOperator(self._functional.evaluate(self._groundDensity)[1])

    def evaluateDensity(self, density: Array) -> Evaluation:
        """Field-free Fock matrices and energy of a density; see the base class."""
        self.evaluations += 1
        change = density - self._groundDensity
        point = self._packedDensity(change.real)
        if not np.any(point):
            return Evaluation(self._groundFock.copy(), self._groundEnergy)
        prediction = self._regression.predict(point)
        self._largest = max(self._largest, prediction.size)
        if prediction.deviation > self._tolerance * self._largest:
            self._regression.add(point, self._trueChange(density.real))
            prediction = self._regression.predict(point)
        twoElectron = self._coulombExchange.potential(change)
        fock = self._groundFock + np.stack([self.toLoewdin(matrix) for matrix in twoElectron])
        fock = fock + self._unpacked(prediction.value)
        energy = self._groundEnergy + prediction.work
        energy += float(np.sum(change.real * (self._groundAtomicFock + 0.5 * twoElectron.real)))
        if np.iscomplexobj(twoElectron):
            energy += 0.5 * float(np.sum(change.imag * twoElectron.imag))
        return Evaluation(fock, energy)

    def _trueChange(self, density: RealArray) -> RealArray:
        self.fockBuilds += 1
        _, potential = self._functional.evaluate(np.ascontiguousarray(density))
        return self._packedOperator(potential) - self._groundPotential

    def _packedOperator(self, matrices: RealArray) -> RealArray:
        return self._packed(np.stack([self.toLoewdin(matrix) for matrix in matrices]))

    def _packedDensity(self, matrices: RealArray) -> RealArray:
        return self._packed(np.stack([self._root @ matrix @ self._root for matrix in matrices]))

    def _packed(self, matrices: RealArray) -> RealArray:
        rows, columns = self._upper
        return (matrices[:, rows, columns] * self._multiplicity).ravel()

    def _unpacked(self, packed: RealArray) -> RealArray:
        rows, columns = self._upper
        values = packed.reshape(self.spins, -1) / self._multiplicity
        result = np.empty((self.spins, self.size, self.size))
        result[:, rows, columns] = values
        result[:, columns, rows] = values
        return result

    def _fromLoewdin(self, matrix: RealArray) -> RealArray:
        return self._root @ matrix @ self._root
