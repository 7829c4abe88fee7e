"""Hermitian matrices as real vectors: one for the symmetric real part, one for the antisymmetric imaginary part.

Off-diagonal elements are multiplied by the root of two, so that the scalar product of two packed matrices is their
trace product, and a linear map that is symmetric with respect to it becomes a symmetric matrix.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
RealArray = NDArray[np.float64]

_ROOT2 = float(np.sqrt(2.0))


class Packing:
    """Between matrices [spins,n,n] and vectors; all spins of one matrix after the other.

    The real part has the elements (0,0), (0,1), ... (0,n-1), (1,1), ... of each spin; the imaginary part those without
    the diagonal.

    Args:
        spins: number of matrices.
        size: n.
    """

    def __init__(self, spins: int, size: int) -> None:
        self.spins = spins
        self.size = size
        rows, columns = np.triu_indices(size)
        strict_rows, strict_columns = np.triu_indices(size, 1)
        starts = size * size * np.arange(spins)[:, None]
        # Into the flat list of real numbers of which complex matrices consist.
        self._real = 2 * (starts + rows * size + columns).ravel()
        self._imaginary = 2 * (starts + strict_rows * size + strict_columns).ravel() + 1
        self._factors = np.tile(np.where(rows == columns, 1.0, _ROOT2), spins)
        self._inverse = 1.0 / self._factors
        # Back: which entry of (real part, imaginary part, imaginary part negated, zero) each element is.
        pairs, strict_pairs = len(rows), len(strict_rows)
        source = np.empty((spins, size, size, 2), dtype=np.intp)
        source[..., 1] = spins * (pairs + 2 * strict_pairs)
        for spin in range(spins):
            own = spin * pairs + np.arange(pairs)
            source[spin, rows, columns, 0] = source[spin, columns, rows, 0] = own
            upper = spins * pairs + spin * strict_pairs + np.arange(strict_pairs)
            source[spin, strict_rows, strict_columns, 1] = upper
            source[spin, strict_columns, strict_rows, 1] = upper + spins * strict_pairs
        self._source = source
        self._real_source = np.ascontiguousarray(source[..., 0])
        self._zero = np.zeros(1)

    @property
    def length(self) -> int:
        """Of the vector of the real part."""
        return len(self._real)

    def real(self, matrices: RealArray) -> RealArray:
        """The vector of symmetric real matrices [spins,n,n]."""
        return np.ascontiguousarray(matrices).ravel().take(self._real // 2) * self._factors

    def parts(self, matrices: Array) -> tuple[RealArray, RealArray]:
        """The vectors of both parts of Hermitian complex matrices [spins,n,n]."""
        numbers = np.ascontiguousarray(matrices, dtype=np.complex128).view(np.float64).ravel()
        return numbers.take(self._real) * self._factors, numbers.take(self._imaginary) * _ROOT2

    def matrices(self, real: RealArray, imaginary: RealArray | None = None) -> Array:
        """Matrices [spins,n,n] from both vectors; real ones without the second."""
        values = real * self._inverse
        if imaginary is None:
            return values.take(self._real_source)
        strict = imaginary * (1.0 / _ROOT2)
        numbers = np.concatenate((values, strict, -strict, self._zero)).take(self._source)
        return numbers.view(np.complex128)[..., 0]
