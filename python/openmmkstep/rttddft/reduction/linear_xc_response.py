"""What is known of the functional's linear response before any of it is evaluated along a trajectory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openmmkstep.rttddft.arguments import finite_number, integer_from
from openmmkstep.rttddft.errors import ElectronDynamicsError

# Relative; a matrix that is less symmetric does not belong to an energy.
_ASYMMETRY = 1e-8


@dataclass(frozen=True)
class LinearXCResponse:
    """A linear map from the change of the density to that of the exchange-correlation potential.

    Attributes:
        matrix: [m,m], symmetric; of the packed real part of the density, Loewdin basis, to the packed potential. See
            :class:`.packed_matrices.Packing`; m is n(n+1)/2 times the number of spins.
        uncertainty: relative error that is expected of it, from 0 (exact) to 1 (nothing known).
        check_interval: largest number of Fock matrices between checks against the functional (:mod:`.accuracy`), the
            first of them near the start of every trajectory; an error above the uncertainty replaces it. None never
            checks.
        directions: orthonormal rows [k,m]; the response is known to density changes along them, in the components of
            the potential along them. None for all.

    Raises:
        ElectronDynamicsError: not a symmetric matrix of finite numbers, or a number out of range.
    """

    matrix: NDArray[np.float64]
    uncertainty: float
    check_interval: int | None = None
    directions: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        store = object.__setattr__
        matrix = np.asarray(self.matrix, dtype=np.float64)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise ElectronDynamicsError(f"the matrix of the prior must be square, got shape {list(matrix.shape)}")
        if not np.all(np.isfinite(matrix)):
            raise ElectronDynamicsError("the matrix of the prior must hold finite numbers")
        largest = float(np.abs(matrix).max(initial=0.0))
        if np.abs(matrix - matrix.T).max(initial=0.0) > _ASYMMETRY * largest:
            raise ElectronDynamicsError(
                "the matrix of the prior is not symmetric, hence no second derivative of an energy: check the packing, "
                "or take the mean with its transpose"
            )
        store(self, "matrix", matrix)
        store(self, "uncertainty", finite_number("uncertainty of the prior", self.uncertainty))
        if not 0.0 <= self.uncertainty <= 1.0:
            raise ElectronDynamicsError(f"the uncertainty of the prior must be from 0 to 1, got {self.uncertainty}")
        if self.check_interval is not None:
            store(self, "check_interval", integer_from("check_interval of the prior", self.check_interval, 1))
