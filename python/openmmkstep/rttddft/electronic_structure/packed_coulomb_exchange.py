"""Coulomb and exact exchange as a linear map of packed density changes, in the orthonormal basis of Loewdin.

A trajectory needs them some ten thousand times. With the integrals transformed once, each time is a product of a
symmetric matrix and a vector for either part of the density, and nothing needs to go through the atomic basis.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from .coulomb_exchange import DENSE_LIMIT, CoulombExchange, DenseCoulombExchange
from .packed_matrices import Packing

RealArray = NDArray[np.float64]

# Numbers per piece of the transformation of the integrals, to bound memory.
_PIECE = 2 * 10**7


class PackedCoulombExchange(ABC):
    """The linear part of the potential."""

    @abstractmethod
    def apply(self, real: RealArray, imaginary: RealArray) -> tuple[RealArray, RealArray | None]:
        """Both parts of the potential from both parts of the density, packed; the second is None without exchange."""


class DensePackedExchange(PackedCoulombExchange):
    """Matrices over pairs.

    Attributes:
        real: map of the real part, over packed densities [m,m].
        imaginary: map of the imaginary part of each spin [m',m'], or None without exact exchange.

    Args:
        exchange: integrals over pairs.
        inverse_root: S^-1/2 [n,n].
        packing: of the density.
        linear: added to the map of the real part [m,m], or None.
    """

    def __init__(
        self, exchange: DenseCoulombExchange, inverse_root: RealArray, packing: Packing, linear: RealArray | None
    ) -> None:
        # PySCF brings SciPy; reading trajectories needs neither.
        from scipy.linalg.blas import dsymv

        self._multiply = dsymv
        size = packing.size
        # Packed vectors have the root of two with each off-diagonal element.
        factors = np.where(np.equal(*np.tril_indices(size)), 1.0, np.sqrt(2.0))

        def transformed(matrix: RealArray) -> RealArray:
            return _transformed(matrix * (factors[:, None] / factors), inverse_root, 1.0)

        self.real = np.tile(transformed(exchange.coulomb), (packing.spins, packing.spins))
        if exchange.symmetric is not None:
            self.real -= np.kron(np.eye(packing.spins), transformed(exchange.symmetric))
        if linear is not None:
            self.real += linear
        self._spins = packing.spins
        self.imaginary: RealArray | None = None
        if exchange.antisymmetric is not None:
            self.imaginary = -_transformed(exchange.antisymmetric, inverse_root, -1.0)

    def apply(self, real: RealArray, imaginary: RealArray) -> tuple[RealArray, RealArray | None]:
        """See the base class."""
        symmetric = self._product(self.real, real)
        if self.imaginary is None:
            return symmetric, None
        if self._spins == 1:
            return symmetric, self._product(self.imaginary, imaginary)
        parts = [self._product(self.imaginary, part) for part in imaginary.reshape(self._spins, -1)]
        return symmetric, np.concatenate(parts)

    def _product(self, matrix: RealArray, vector: RealArray) -> RealArray:
        """Of a symmetric matrix. BLAS reads one triangle of it only, and reading is what takes the time."""
        # Transposed, because BLAS wants columns one after the other.
        return self._multiply(1.0, matrix.T, vector)


class AtomicPackedExchange(PackedCoulombExchange):
    """By way of the atomic basis, where pairs do not fit in memory.

    Args:
        exchange: builder of the matrices.
        inverse_root: S^-1/2 [n,n].
        packing: of the density.
        linear: added to the map of the real part [m,m], or None.
    """

    def __init__(
        self, exchange: CoulombExchange, inverse_root: RealArray, packing: Packing, linear: RealArray | None
    ) -> None:
        self._exchange = exchange
        self._inverse_root = inverse_root
        self._packing = packing
        self._linear = linear

    def apply(self, real: RealArray, imaginary: RealArray) -> tuple[RealArray, RealArray | None]:
        """See the base class."""
        density = self._inverse_root @ self._packing.matrices(real, imaginary) @ self._inverse_root
        potential = self._inverse_root @ self._exchange.potential(density) @ self._inverse_root
        first, second = self._packing.parts(potential)
        if self._linear is not None:
            first = first + self._linear @ real
        return first, second if np.iscomplexobj(potential) else None


def create_kernel(
    exchange: CoulombExchange,
    inverse_root: RealArray,
    packing: Packing,
    linear: RealArray | None = None,
    limit: int = DENSE_LIMIT,
) -> PackedCoulombExchange:
    """The kernel that suits a builder of Coulomb and exchange matrices.

    Args:
        exchange, inverse_root, packing, linear: see the classes.
        limit: bytes above which nothing is kept over pairs.
    """
    # The map has the pairs of all spins on both sides.
    fits = DenseCoulombExchange.bytes_needed(packing.size) * packing.spins**2 <= limit
    dense = exchange.dense(closed_shell=packing.spins == 1) if fits else None
    if dense is None:
        return AtomicPackedExchange(exchange, inverse_root, packing, linear)
    return DensePackedExchange(dense, inverse_root, packing, linear)


def _transformed(matrix: RealArray, inverse_root: RealArray, sign: float) -> RealArray:
    """A symmetric map between packed matrices, from the atomic to the Loewdin basis.

    Args:
        matrix: over the lower triangle p >= q, or p > q for antisymmetric matrices.
        inverse_root: S^-1/2 [n,n].
        sign: 1 for symmetric, -1 for antisymmetric matrices.

    Returns:
        Over the upper triangle, row by row, as :class:`.Packing` has it.
    """
    once = _transformed_rows(matrix, inverse_root, sign)
    result = _transformed_rows(np.ascontiguousarray(once.T), inverse_root, sign)
    return 0.5 * (result + result.T)


def _transformed_rows(matrix: RealArray, inverse_root: RealArray, sign: float) -> RealArray:
    size = len(inverse_root)
    diagonal = 0 if sign > 0 else 1
    rows, columns = np.tril_indices(size, -diagonal)
    new_rows, new_columns = np.triu_indices(size, diagonal)
    factors = np.where(rows == columns, 1.0, np.sqrt(2.0))
    new_factors = np.where(new_rows == new_columns, 1.0, np.sqrt(2.0))
    result = np.empty_like(matrix)
    count = max(1, _PIECE // size**2)
    for start in range(0, len(matrix), count):
        part = matrix[start : start + count] / factors
        square = np.zeros((len(part), size, size))
        square[:, rows, columns] = part
        square[:, columns, rows] = sign * part
        square = inverse_root @ square @ inverse_root
        result[start : start + count] = square[:, new_rows, new_columns] * new_factors
    return result
