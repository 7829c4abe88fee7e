"""Coulomb and exchange matrices of a complex density.

With a Hermitian density D (AO basis) and real integrals, the Coulomb matrix

    J_pq = sum_rs (pq|rs) D_rs

sees only the real, symmetric part of D, because the integrals are symmetric in r and s. The exchange matrix

    K_pq = sum_rs (pr|qs) D_rs

maps the symmetric real part to a symmetric matrix and the antisymmetric imaginary part to an antisymmetric one, and
does not mix them. Both halves can therefore be kept as real matrices over pairs of functions, half the size of a dense
one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RealArray = NDArray[np.float64]
Array = NDArray[Any]

# Dense integrals above this many bytes are computed anew for every density instead (by PySCF).
DENSE_LIMIT = 4 * 10**9


@dataclass(frozen=True)
class ExchangeMix:
    """Exact exchange of a functional: a sum of terms (factor, omega).

    Each is ``factor`` times K with the operator 1/r for omega = 0, erf(omega r)/r for omega > 0 (long range), and
    erfc(-omega r)/r for omega < 0 (short range), as PySCF counts.
    """

    terms: tuple[tuple[float, float], ...]

    @property
    def is_any(self) -> bool:
        """Whether there is exact exchange at all."""
        return bool(self.terms)


class CoulombExchange(ABC):
    """Builds the two-electron part of the Fock matrix without the functional."""

    @abstractmethod
    def potential(self, densities: Array) -> Array:
        """J minus exchange.

        Args:
            densities: [1,n,n] total density of a closed shell, or [2,n,n] of both spins; Hermitian, AO basis.

        Returns:
            For a closed shell ``J[D] - K[D]/2`` [1,n,n], otherwise ``J[D_a + D_b] - K[D_s]`` for each spin s [2,n,n],
            K being the mix of the functional. Real where there is no exact exchange, complex otherwise.
        """

    def dense(self, closed_shell: bool) -> DenseCoulombExchange | None:
        """The same with all integrals in memory, for very many calls; None where there are no integrals to keep.

        Args:
            closed_shell: whether densities will be total ones.
        """
        return None


class DenseCoulombExchange(CoulombExchange):
    """All integrals in memory, as matrices over pairs of functions: exact, for up to about 150 functions.

    Attributes:
        coulomb: what the real parts of all spins add to the potential of each [pairs,pairs], both over p >= q; of a
            closed shell with the exchange of the real part taken off.
        symmetric: exchange of the real part, or None where it is in ``coulomb`` or there is none.
        antisymmetric: exchange of the imaginary part over p > q, or None.

    Args:
        integrals: (pq|rs) over pairs p >= q [pairs,pairs].
        exchange: the same for exchange, with the factors and operators of the functional, or None.
        closed_shell: whether densities will be total ones.
    """

    def __init__(self, integrals: RealArray, exchange: RealArray | None, closed_shell: bool) -> None:
        size = _functions(len(integrals))
        self._rows, self._columns = np.tril_indices(size)
        self._strict = np.tril_indices(size, -1)
        self._weights = np.where(self._rows == self._columns, 1.0, 2.0)
        self.coulomb: RealArray = integrals * self._weights
        self.symmetric: RealArray | None = None
        self.antisymmetric: RealArray | None = None
        if exchange is not None:
            self.symmetric, self.antisymmetric = _exchange_pairs(exchange, size)
            if closed_shell:
                # One product instead of two: both halves act on the same vector.
                self.coulomb -= 0.5 * self.symmetric
                self.symmetric = None
                self.antisymmetric *= 0.5

    @classmethod
    def exact(cls, mol: Any, mix: ExchangeMix, closed_shell: bool) -> DenseCoulombExchange:
        """With the integrals of a molecule of PySCF."""
        integrals = mol.intor("int2e", aosym="s4")
        exchange = None
        if mix.is_any:
            exchange = np.zeros_like(integrals)
            for factor, omega in mix.terms:
                with mol.with_range_coulomb(omega):
                    exchange += factor * mol.intor("int2e", aosym="s4")
        return cls(integrals, exchange, closed_shell)

    def dense(self, closed_shell: bool) -> DenseCoulombExchange:
        """Itself."""
        return self

    @staticmethod
    def bytes_needed(size: int) -> int:
        """Memory while the integrals are prepared, for a number of functions."""
        return 4 * 8 * (size * (size + 1) // 2) ** 2

    def potential(self, densities: Array) -> Array:
        """See the base class."""
        real = densities.real[:, self._rows, self._columns]
        packed = np.tile(self.coulomb @ real.sum(axis=0), (len(densities), 1))
        if self.symmetric is not None:
            packed -= real @ self.symmetric.T
        if self.antisymmetric is None:
            return _unpacked(packed, self._rows, self._columns, densities.shape, 1.0)
        rows, columns = self._strict
        imaginary = -(densities.imag[:, rows, columns] @ self.antisymmetric.T)
        result = np.empty(densities.shape, dtype=np.complex128)
        result.real = _unpacked(packed, self._rows, self._columns, densities.shape, 1.0)
        result.imag = _unpacked(imaginary, rows, columns, densities.shape, -1.0)
        return result


class FittedCoulombExchange(CoulombExchange):
    """Density fitting: (pq|rs) = sum_Q B_Qpq B_Qrs, with the same B as PySCF's SCF (Coulomb metric)."""

    def __init__(self, fitting: Any, mix: ExchangeMix) -> None:
        size = fitting.mol.nao
        self._rows, self._columns = np.tril_indices(size)
        self._weights = np.where(self._rows == self._columns, 1.0, 2.0)
        packed = _fitted(fitting)
        self._coulomb: RealArray = packed
        self._exchange: list[tuple[float, RealArray]] = []
        for factor, omega in mix.terms:
            if omega:
                with fitting.range_coulomb(omega) as partial:
                    self._exchange.append((factor, self._square(_fitted(partial))))
            else:
                self._exchange.append((factor, self._square(packed)))

    def _square(self, packed: RealArray) -> RealArray:
        size = int(self._rows[-1]) + 1
        return _unpacked(packed, self._rows, self._columns, (len(packed), size, size), 1.0)

    def dense(self, closed_shell: bool) -> DenseCoulombExchange:
        """The fitted integrals themselves: exchange by pairs does not need the occupied orbitals."""
        exchange = None
        if self._exchange:
            exchange = np.zeros((len(self._rows), len(self._rows)))
            for factor, fit in self._exchange:
                pairs = fit[:, self._rows, self._columns]
                exchange += factor * (pairs.T @ pairs)
        return DenseCoulombExchange(self._coulomb.T @ self._coulomb, exchange, closed_shell)

    def potential(self, densities: Array) -> Array:
        """See the base class."""
        total = densities.real.sum(axis=0)[self._rows, self._columns] * self._weights
        coulomb = (self._coulomb @ total) @ self._coulomb
        result = _unpacked(coulomb[None], self._rows, self._columns, (1, *densities.shape[1:]), 1.0)
        result = np.repeat(result, len(densities), axis=0)
        if not self._exchange:
            return result
        scale = 0.5 if len(densities) == 1 else 1.0
        return result - scale * np.stack([self._exchange_matrix(density) for density in densities])

    def _exchange_matrix(self, density: Array) -> Array:
        # A density has as many non-zero eigenvalues as occupied orbitals; summing over those is far cheaper than over
        # all pairs of functions. Signs are kept, so that differences of densities work too.
        values, vectors = np.linalg.eigh(density)
        kept = np.abs(values) > 1e-14 * max(1.0, float(np.abs(values).max(initial=0.0)))
        values, vectors = values[kept], vectors[:, kept]
        size, count = vectors.shape
        halves = np.concatenate([vectors.real, vectors.imag], axis=1)
        result = np.zeros((size, size), dtype=np.complex128)
        for factor, fit in self._exchange:
            # half[p, Q, i] = sum_r B_Qpr V_ri, real and imaginary parts side by side.
            half = (fit.reshape(-1, size) @ halves).reshape(-1, size, 2, count).transpose(1, 0, 2, 3)
            real = np.ascontiguousarray(half[:, :, 0]).reshape(size, -1)
            imaginary = np.ascontiguousarray(half[:, :, 1]).reshape(size, -1)
            signed = np.tile(values, len(fit))
            mixed = (imaginary * signed) @ real.T
            result.real += factor * ((real * signed) @ real.T + (imaginary * signed) @ imaginary.T)
            result.imag += factor * (mixed - mixed.T)
        return result


class DirectCoulombExchange(CoulombExchange):
    """Integrals computed by PySCF for every density: slow, but needs no memory for them."""

    def __init__(self, mean_field: Any, mix: ExchangeMix) -> None:
        self._mean_field = mean_field
        self._mix = mix

    def potential(self, densities: Array) -> Array:
        """See the base class."""
        real = np.ascontiguousarray(densities.real)
        coulomb = self._mean_field.get_j(dm=real.sum(axis=0), hermi=1)
        result = np.repeat(coulomb[None], len(densities), axis=0)
        if not self._mix.is_any:
            return result
        scale = 0.5 if len(densities) == 1 else 1.0
        imaginary = np.ascontiguousarray(densities.imag)
        exchange = self._exchange(real, 1) + 1j * self._exchange(imaginary, 2)
        return result - scale * exchange

    def _exchange(self, densities: RealArray, symmetry: int) -> RealArray:
        result = np.zeros_like(densities)
        for factor, omega in self._mix.terms:
            parts = [self._mean_field.get_k(dm=density, hermi=symmetry, omega=omega or None) for density in densities]
            result += factor * np.stack(parts)
        return result


def create_coulomb_exchange(mean_field: Any, closed_shell: bool, dense_limit: int = DENSE_LIMIT) -> CoulombExchange:
    """The builder that suits an SCF object of PySCF.

    Args:
        mean_field: RHF, UHF, RKS or UKS object, with density fitting or without.
        closed_shell: whether densities will be total ones.
        dense_limit: bytes above which exact integrals are not kept in memory.
    """
    mix = exchange_mix(mean_field)
    if getattr(mean_field, "with_df", None) is not None:
        return FittedCoulombExchange(mean_field.with_df, mix)
    if DenseCoulombExchange.bytes_needed(mean_field.mol.nao) <= dense_limit:
        return DenseCoulombExchange.exact(mean_field.mol, mix, closed_shell)
    return DirectCoulombExchange(mean_field, mix)


def exchange_mix(mean_field: Any) -> ExchangeMix:
    """How much exact exchange the method has."""
    functional = getattr(mean_field, "xc", None)
    if functional is None:
        return ExchangeMix(((1.0, 0.0),))
    # alpha is the share of exact exchange at long range, hybrid at short range.
    omega, alpha, hybrid = mean_field._numint.rsh_and_hybrid_coeff(functional, spin=mean_field.mol.spin)
    terms: tuple[tuple[float, float], ...]
    if omega == 0:
        terms = ((hybrid, 0.0),)
    elif alpha == 0:
        # Not full minus long range: fitted integrals of the three operators do not add up exactly.
        terms = ((hybrid, -omega),)
    else:
        terms = ((hybrid, 0.0), (alpha - hybrid, omega))
    return ExchangeMix(tuple((float(factor), float(place)) for factor, place in terms if factor))


def _functions(pairs: int) -> int:
    """How many functions have so many pairs p >= q."""
    return int((np.sqrt(8 * pairs + 1) - 1) / 2)


def _fitted(fitting: Any) -> RealArray:
    """All fitted integrals [auxiliary functions, pairs]; copied, because PySCF may reuse its buffers."""
    return np.vstack([np.array(block) for block in fitting.loop()])


def _exchange_pairs(integrals: RealArray, size: int) -> tuple[RealArray, RealArray]:
    """Exchange as matrices over pairs: symmetric part over p >= q, antisymmetric part over p > q."""
    rows, columns = np.tril_indices(size)
    strict_rows, strict_columns = np.tril_indices(size, -1)
    pair = np.empty((size, size), dtype=np.intp)
    pair[rows, columns] = pair[columns, rows] = np.arange(len(rows))
    symmetric = np.empty((len(rows), len(rows)))
    antisymmetric = np.empty((len(strict_rows), len(strict_rows)))
    halves = np.where(rows == columns, 0.5, 1.0)
    for p in range(size):
        # block[q, r, s] = (pr|qs) for q <= p
        block = integrals[pair[p]][:, pair[: p + 1]].transpose(1, 0, 2)
        start = p * (p + 1) // 2
        symmetric[start : start + p + 1] = (block[:, rows, columns] + block[:, columns, rows]) * halves
        start = p * (p - 1) // 2
        antisymmetric[start : start + p] = (
            block[:p, strict_rows, strict_columns] - block[:p, strict_columns, strict_rows]
        )
    return symmetric, antisymmetric


def _unpacked(packed: Array, rows: Array, columns: Array, shape: tuple[int, ...], sign: float) -> Array:
    result = np.zeros(shape)
    result[:, rows, columns] = packed
    result[:, columns, rows] = sign * packed
    return result
