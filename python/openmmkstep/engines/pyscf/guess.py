"""Densities to start from, learned from those of earlier geometries.

Kernel regression of the density on what decides it: the overlap of the basis functions, which knows the geometry, and
the potential of the surrounding charges between them. Both are seen from the molecule, whose rotation would otherwise
be most of what changes. Densities are kept in the basis of symmetrically orthogonalised functions (Loewdin),
P = S^1/2 D S^1/2, in which they are projectors whatever the geometry.

Distances of the guess from the converged density (norm of P), B3LYP/6-31G*, for ethanol every 0.5 fs and every 8 fs,
and for formaldehyde in water every 6 fs: of the last density 0.03, 0.46, 0.33; of twelve on the Grassmannian, weighted
as their overlaps give the new one (Polack et al., Mol. Phys. 118, e1779834 (2020)), 0.0007, 0.23, 0.11; of this one
0.0002, 0.021, 0.003.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable
from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

from ..protocol import EngineError

Array = NDArray[np.float64]

MOST_GEOMETRIES = 100
_MOST_BYTES = 64e6
# Width of the kernel in typical distances of the geometries, and what is added to its diagonal: a smooth polynomial,
# but for errors of convergence.
_WIDTH = 20.0
_RIDGE = 1e-10
# Distances (norm of the overlap) below which geometries are the same one.
_STANDSTILL = 1e-8
# Between the occupations of a predicted density that are to become one and those that are to become none.
_SMALLEST_GAP = 0.5


@dataclass(frozen=True)
class Surroundings:
    """What a density belongs to.

    Attributes:
        positions: Of the atoms [n,3], bohr.
        overlap: Of the basis functions [b,b].
        potential: Of the charges around, between basis functions [b,b], hartree; None for none.
        rotate: Gives the matrix [b,b] that turns basis functions as ``positions @ rotation`` turns the atoms.
    """

    positions: Array
    overlap: Array
    potential: Array | None
    rotate: Callable[[Array], Array]


@dataclass(frozen=True)
class _Known:
    """A geometry and its density, as the molecule sees them; lower triangles of symmetric matrices."""

    overlap: Array
    potential: Array
    density: Array


class DensityGuess:
    """Remembers densities and predicts the next one.

    Args:
        kind: "fresh" (predicts nothing), "last" (the last density in the new functions), or "learned" (regression over
            up to a hundred earlier ones, fewer where they would take more than 64 MB).
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._known: deque[_Known] = deque()
        # The first geometry [n,3], by which all others are turned.
        self._reference: Array | None = None

    def predict(self, surroundings: Surroundings) -> Array | None:
        """A density matrix [b,b], or [2,b,b] for two spins; None to start anew."""
        if self._reference is None:
            return None
        turn, root = _orient(surroundings, self._reference)
        here = _seen(surroundings, turn, root)
        last = _unpacked(self._known[0].density)
        predicted = self._regression(here) if self._kind == "learned" and len(self._known) > 1 else last
        inside = turn.T @ _nearest_projector(predicted, last) @ turn
        inverse = np.linalg.inv(root)
        density: Array = inverse @ inside @ inverse
        return density

    def remember(self, surroundings: Surroundings, density: Array) -> None:
        """Keep the density that was found; the same shapes as in predict()."""
        if self._kind == "fresh":
            return
        if self._reference is None:
            self._reference = _centred(surroundings.positions)
        turn, root = _orient(surroundings, self._reference)
        inside = turn @ (root @ density @ root) @ turn.T
        self._known.appendleft(_Known(*_seen(surroundings, turn, root), _packed(inside)))
        size = sum(array.nbytes for array in astuple(self._known[0]))
        most = min(MOST_GEOMETRIES, max(2, int(_MOST_BYTES / size))) if self._kind == "learned" else 1
        while len(self._known) > most:
            self._known.pop()

    def forget(self) -> None:
        """Start anew with the next calculation."""
        self._known.clear()
        self._reference = None

    def to_bytes(self) -> bytes:
        """All that is remembered."""
        arrays = {} if self._reference is None else {"reference": self._reference}
        for name in ("overlap", "potential", "density") if self._known else ():
            arrays[name] = np.stack([getattr(known, name) for known in self._known])
        stream = io.BytesIO()
        np.savez(stream, allow_pickle=False, **arrays)
        return stream.getvalue()

    def from_bytes(self, memory: bytes, atoms: int, functions: int) -> None:
        """Go on from what another one remembered.

        Args:
            memory: What to_bytes() gave.
            atoms: Of the molecule.
            functions: Basis functions of the molecule.

        Raises:
            EngineError: It is damaged, or that of another molecule.
        """
        self.forget()
        try:
            with np.load(io.BytesIO(memory), allow_pickle=False) as file:
                arrays = {name: np.asarray(file[name], dtype=np.float64) for name in file.files}
        except Exception as error:  # of many kinds
            raise EngineError(f"what is remembered of densities cannot be read: {error}") from error
        if not arrays:
            return
        triangle = functions * (functions + 1) // 2
        names = {"reference", "overlap", "potential", "density"}
        if set(arrays) != names or arrays["reference"].shape != (atoms, 3):
            raise EngineError("what is remembered of densities is that of another molecule")
        parts = [arrays[name] for name in ("overlap", "potential", "density")]
        if any(part.shape[-1] != triangle or len(part) != len(parts[0]) for part in parts):
            raise EngineError("what is remembered of densities is that of another basis set")
        self._reference = arrays["reference"]
        self._known.extend(_Known(*known) for known in zip(*parts, strict=True))

    def _regression(self, here: tuple[Array, Array]) -> Array:
        """The density at the lower triangles of overlap and potential."""
        square = np.zeros(2 * (len(self._known) + 1,))
        for place, past in zip(here, zip(*((k.overlap, k.potential) for k in self._known), strict=True), strict=True):
            distances = _squared_distances(np.stack([place, *past]))
            typical = distances[1:, 1:].mean()
            if typical > _STANDSTILL**2:
                square += distances / typical
        if not square.any():
            return _unpacked(self._known[0].density)
        kernel = np.exp(-square / (2 * _WIDTH**2))
        weights = np.linalg.solve(kernel[1:, 1:] + _RIDGE * np.eye(len(self._known)), kernel[1:, 0])
        densities = np.stack([known.density for known in self._known])
        mean = densities.mean(axis=0)
        predicted = _unpacked(mean + np.tensordot(weights, densities - mean, axes=1))
        if _has_gap(predicted, _unpacked(self._known[0].density)):
            return predicted
        # Too far from all that is known.
        return _unpacked(self._known[int(np.argmin(square[0, 1:]))].density)


def _orient(surroundings: Surroundings, reference: Array) -> tuple[Array, Array]:
    """What turns the functions into the frame of a geometry [b,b], and the root of their overlap [b,b]."""
    left, _, right = np.linalg.svd(_centred(surroundings.positions).T @ reference)
    # Kabsch, Acta Cryst. A32, 922 (1976): the best proper rotation.
    left[:, 2] *= np.sign(np.linalg.det(left @ right))
    return np.asarray(surroundings.rotate(left @ right)), _power(surroundings.overlap, 0.5)


def _seen(surroundings: Surroundings, turn: Array, root: Array) -> tuple[Array, Array]:
    """Lower triangles of the overlap and of the potential between orthogonal functions, as the molecule sees them."""
    potential = np.zeros_like(surroundings.overlap)
    if surroundings.potential is not None:
        inverse = np.linalg.inv(root)
        potential = inverse @ surroundings.potential @ inverse
        # A constant changes no density.
        potential -= np.eye(len(potential)) * potential.trace() / len(potential)
    return _packed(turn @ surroundings.overlap @ turn.T), _packed(turn @ potential @ turn.T)


def _centred(positions: Array) -> Array:
    centred: Array = positions - positions.mean(axis=0)
    return centred


def _squared_distances(points: Array) -> Array:
    """Between points [h,m], relative to the first one, near which the others are: [h,h]."""
    relative = points - points[0]
    products = relative @ relative.T
    squares = np.diag(products)
    return np.maximum(squares[:, None] + squares - 2 * products, 0.0)


def _packed(matrix: Array) -> Array:
    packed: Array = matrix[..., *np.tril_indices(matrix.shape[-1])]
    return packed


def _unpacked(triangle: Array) -> Array:
    size = round((np.sqrt(8 * triangle.shape[-1] + 1) - 1) / 2)
    rows, columns = np.tril_indices(size)
    matrix = np.empty((*triangle.shape[:-1], size, size))
    matrix[..., rows, columns] = matrix[..., columns, rows] = triangle
    return matrix


def _power(matrix: Array, exponent: float) -> Array:
    values, vectors = np.linalg.eigh(matrix)
    result: Array = (vectors * values**exponent) @ vectors.T
    return result


def _has_gap(predicted: Array, last: Array) -> bool:
    """Whether orbitals are either occupied or not, about as in the last density."""
    for index in np.ndindex(predicted.shape[:-2]):
        steps = np.diff(np.linalg.eigvalsh(last[index]).round())
        if np.any(np.diff(np.linalg.eigvalsh(predicted[index]))[steps > 0] < _SMALLEST_GAP * steps[steps > 0]):
            return False
    return True


def _nearest_projector(predicted: Array, last: Array) -> Array:
    """The density of whole occupations that is nearest to a predicted one, with those of the last one."""
    result = np.empty_like(predicted)
    for index in np.ndindex(predicted.shape[:-2]):
        occupations = np.linalg.eigvalsh(last[index]).round()
        _, vectors = np.linalg.eigh(predicted[index])
        result[index] = (vectors * occupations) @ vectors.T
    return result
