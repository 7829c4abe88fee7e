"""Densities to start from, made of those of earlier geometries.

Densities are kept in the basis of symmetrically orthogonalised functions (Loewdin), P = S^1/2 D S^1/2, in which they
are projectors whatever the geometry, and which follows the molecule smoothly.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

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


# Polack, Mikhalev, Dusson, Stamm, Lipparini, Mol. Phys. 118, e1779834 (2020); there with six.
# Along ethanol at 300 K six need 3.3 iterations at steps of 0.5 fs and 9.1 at 4 fs, twelve 3.9 and 8.5.
_GRASSMANN_GEOMETRIES = 12
# Relative size of those parts of the overlap's changes that are too small to fit: the errors of convergence that the
# densities carry would be multiplied by their inverse.
_SMALLEST_CHANGE = 1e-5

_LENGTH = {"fresh": 0, "last": 1, "aspc": max(_ASPC), "grassmann": _GRASSMANN_GEOMETRIES}

# A step this many times longer or shorter than the one before it does not go on as the steps before did.
_UNLIKE = 3.0
_STANDSTILL = 1e-8


class DensityGuess:
    """Remembers densities and predicts the next one.

    Extrapolations need steps of similar length. After a jump (a redone step, a rejected move, a minimiser) the last
    density alone is used.

    Args:
        kind: "fresh" (predicts nothing), "last" (the last density in the new functions), "aspc" (the always stable
            predictor of Kolafa over up to five densities), or "grassmann" (up to twelve densities in the tangent space
            of the manifold on which projectors lie, weighted as the overlap matrices of their geometries are to give
            the new one).
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._history: deque[tuple[Array, Array]] = deque(maxlen=_LENGTH[kind])

    def predict(self, overlap: Array) -> Array | None:
        """A density matrix [b,b], or [2,b,b] for two spins, for functions of this overlap; None to start anew."""
        if not self._history:
            return None
        overlaps, densities = zip(*self._history, strict=True)
        if len(densities) == 1 or _is_jump(overlap, overlaps):
            predicted = densities[0]
        elif self._kind == "grassmann":
            predicted = _in_tangent_space(densities, _weights(overlap, overlaps))
        else:
            weights = _ASPC[len(densities)]
            predicted = sum(weight * density for weight, density in zip(weights, densities, strict=True))
        inverse = _power(overlap, -0.5)
        density: Array = inverse @ _nearest_projector(np.asarray(predicted), densities[0]) @ inverse
        return density

    def remember(self, overlap: Array, density: Array) -> None:
        """Keep the density that was found; the same shapes as in predict()."""
        if len(self._history) > 1 and _is_jump(overlap, [past for past, _ in self._history]):
            self._history.clear()
        root = _power(overlap, 0.5)
        self._history.appendleft((overlap, root @ density @ root))

    def forget(self) -> None:
        """Start anew with the next calculation."""
        self._history.clear()


def _is_jump(overlap: Array, overlaps: Sequence[Array]) -> bool:
    step, before = (
        float(np.linalg.norm(difference)) for difference in (overlap - overlaps[0], overlaps[0] - overlaps[1])
    )
    # The same geometry again, to rounding, says nothing of the motion.
    return before < _STANDSTILL or not before / _UNLIKE <= step <= before * _UNLIKE


def _weights(overlap: Array, overlaps: Sequence[Array]) -> Array:
    """Weights of all geometries but the last, with which their overlaps relative to the last one give the new one."""
    changes = np.stack([(past - overlaps[0]).ravel() for past in overlaps[1:]], axis=1)
    left, sizes, right = np.linalg.svd(changes, full_matrices=False)
    # Tikhonov's regularisation, smooth in the sizes.
    damped = sizes / (sizes**2 + (_SMALLEST_CHANGE * sizes[0]) ** 2)
    weights: Array = right.T @ (damped * (left.T @ (overlap - overlaps[0]).ravel()))
    return weights


def _in_tangent_space(densities: Sequence[Array], weights: Array) -> Array:
    """The density at a weighted sum of logarithms at the last one, whose own is zero."""
    result = np.empty_like(densities[0])
    for index in np.ndindex(result.shape[:-2]):
        occupation = max(1.0, np.linalg.eigvalsh(densities[0][index])[-1].round())
        occupied = round(float(np.trace(densities[0][index])) / float(occupation))
        if not occupied:
            result[index] = densities[0][index]
            continue
        bases = [np.linalg.eigh(density[index])[1][:, -occupied:] for density in densities]
        tangent = sum(weight * _logarithm(bases[0], base) for weight, base in zip(weights, bases[1:], strict=True))
        left, angles, right = np.linalg.svd(tangent, full_matrices=False)
        orbitals = (bases[0] @ right.T) * np.cos(angles) + left * np.sin(angles)
        result[index] = occupation * orbitals @ orbitals.T
    return result


def _logarithm(base: Array, other: Array) -> Array:
    """The tangent at one space of orbitals [b,o] in the direction of another, as long as the angles between them."""
    overlap = base.T @ other
    left, tangents, right = np.linalg.svd(other @ np.linalg.inv(overlap) - base, full_matrices=False)
    result: Array = (left * np.arctan(tangents)) @ right
    return result


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
