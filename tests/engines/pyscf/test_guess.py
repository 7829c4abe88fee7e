"""Guessed densities: projectors on whole orbitals, exact where the motion is one along which a method is exact."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from openmmkstep.engines.pyscf.guess import DensityGuess

Array = NDArray[np.float64]
KINDS = ("last", "aspc", "grassmann")


def turned(angle: float, occupation: float = 2.0) -> Array:
    """Two occupied orbitals of five, which turn at two rates towards empty ones: a geodesic of the Grassmannian."""
    orbitals = np.zeros((5, 2))
    orbitals[0, 0], orbitals[2, 0] = np.cos(angle), np.sin(angle)
    orbitals[1, 1], orbitals[3, 1] = np.cos(angle / 2), np.sin(angle / 2)
    return occupation * orbitals @ orbitals.T


def overlap(step: float) -> Array:
    """Overlaps that change in proportion to the step."""
    matrix = np.eye(5)
    matrix[0, 4] = matrix[4, 0] = 0.1 + 0.01 * step
    return matrix


def root(matrix: Array, exponent: float) -> Array:
    values, vectors = np.linalg.eigh(matrix)
    result: Array = (vectors * values**exponent) @ vectors.T
    return result


def density(step: float, angle: float) -> Array:
    inverse = root(overlap(step), -0.5)
    return inverse @ turned(angle) @ inverse


def after(kind: str, steps: list[float], rate: float = 0.1) -> DensityGuess:
    guess = DensityGuess(kind)
    for step in steps:
        guess.remember(overlap(step), density(step, rate * step))
    return guess


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("known", [1, 2, 5])
def test_guesses_are_projectors_with_all_electrons(kind: str, known: int) -> None:
    predicted = after(kind, list(range(known))).predict(overlap(known))
    assert predicted is not None
    product = predicted @ overlap(known) @ predicted
    np.testing.assert_allclose(product, 2 * predicted, atol=1e-12)
    assert np.trace(predicted @ overlap(known)) == pytest.approx(4, abs=1e-12)


def test_the_grassmannian_is_exact_along_a_geodesic() -> None:
    predicted = after("grassmann", [0, 1, 2, 3]).predict(overlap(4))
    np.testing.assert_allclose(predicted, density(4, 0.4), atol=1e-9)


def test_both_spins_each_for_itself() -> None:
    guess = DensityGuess("grassmann")
    for step in range(3):
        inverse = root(overlap(step), -0.5)
        spins = [inverse @ turned(angle, 1.0) @ inverse for angle in (0.1 * step, -0.2 * step)]
        guess.remember(overlap(step), np.array(spins))
    inverse = root(overlap(3), -0.5)
    expected = [inverse @ turned(angle, 1.0) @ inverse for angle in (0.3, -0.6)]
    np.testing.assert_allclose(guess.predict(overlap(3)), expected, atol=1e-9)


@pytest.mark.parametrize("kind", ["aspc", "grassmann"])
@pytest.mark.parametrize("step", [2.0, 2.01, 40.0], ids=["none", "hardly any", "a long one"])
def test_after_a_jump_the_last_density_is_taken(kind: str, step: float) -> None:
    expected = after("last", [2]).predict(overlap(step))
    np.testing.assert_allclose(after(kind, [0, 1, 2]).predict(overlap(step)), expected, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_geometry_again_and_again(kind: str) -> None:
    np.testing.assert_allclose(after(kind, [1, 1, 1]).predict(overlap(1)), density(1, 0.1), atol=1e-12)
    assert np.isfinite(after(kind, [1, 1, 1]).predict(overlap(2))).all()


@pytest.mark.parametrize("kind", [*KINDS, "fresh"])
def test_nothing_is_predicted_of_nothing(kind: str) -> None:
    guess = after(kind, [0, 1, 2])
    guess.forget()
    assert guess.predict(overlap(3)) is None
