"""Densities to start from, made of those of earlier geometries.

Densities are kept in the basis of symmetrically orthogonalised functions (Loewdin), P = S^1/2 D S^1/2, in which they
are projectors whatever the geometry, and which follows the molecule smoothly.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Kolafa, J. Comput. Chem. 25, 335 (2004): the always stable predictor, by the number of earlier steps.
_ASPC = {
    1: (1.0,),
    2: (2.0, -1.0),
    3: (2.5, -2.0, 0.5),
    4: (2.8, -2.8, 1.2, -0.2),
    5: (3.0, -24 / 7, 27 / 14, -4 / 7, 1 / 14),
}


class DensityGuess:
    """Remembers densities and predicts the next one.

    Args:
        kind: "fresh" (predicts nothing), "last" (the last density in the new functions), or "aspc" (the always stable
            predictor of Kolafa over up to five densities).
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._history: deque[Array] = deque(maxlen={"fresh": 0, "last": 1, "aspc": max(_ASPC)}[kind])

    def predict(self, overlap: Array) -> Array | None:
        """A density matrix [b,b], or [2,b,b] for two spins, for functions of this overlap; None to start anew."""
        if not self._history:
            return None
        weights = _ASPC[len(self._history)]
        predicted = sum(weight * density for weight, density in zip(weights, self._history, strict=True))
        inverse = _power(overlap, -0.5)
        density: Array = inverse @ _nearest_projector(np.asarray(predicted), self._history[0]) @ inverse
        return density

    def remember(self, overlap: Array, density: Array) -> None:
        """Keep the density that was found; the same shapes as in predict()."""
        root = _power(overlap, 0.5)
        self._history.appendleft(root @ density @ root)

    def forget(self) -> None:
        """Start anew with the next calculation."""
        self._history.clear()


def _power(matrix: Array, exponent: float) -> Array:
    values, vectors = np.linalg.eigh(matrix)
    result: Array = (vectors * values**exponent) @ vectors.T
    return result


def _nearest_projector(predicted: Array, last: Array) -> Array:
    """The density of whole occupations that is nearest to a predicted one, with those of the last one."""
    result = np.empty_like(predicted)
    for index in np.ndindex(predicted.shape[:-2]):
        occupations = np.sort(np.linalg.eigvalsh(last[index]).round())
        _, vectors = np.linalg.eigh((predicted[index] + predicted[index].T) / 2)
        result[index] = (vectors * occupations) @ vectors.T
    return result
