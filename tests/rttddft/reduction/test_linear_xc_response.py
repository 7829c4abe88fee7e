"""A known linear response: what it saves, and what its error costs."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from numpy.typing import NDArray

from openmmkstep.rttddft import DeltaKick, ElectronDynamicsError, LevelOfTheory, Magnus2, Reduction
from openmmkstep.rttddft.electronic_structure.packed_matrices import Packing
from openmmkstep.rttddft.observables.agreement import dipole_error
from openmmkstep.rttddft.reduction.linear_xc_response import LinearXCResponse
from openmmkstep.rttddft.reduction.polynomial_regression import PolynomialRegression
from openmmkstep.rttddft.reduction.reduced_hamiltonian import ReducedHamiltonian
from tests.support.electrons.systems import WATER, Prepared, dipoles, prepare, propagate

KICK = DeltaKick(1e-3, (0, 0, 1))
PROPAGATOR = Magnus2(0.2, tolerance=1e-7)
STEPS = 150


@lru_cache(maxsize=2)
def water(method: str) -> Prepared:
    return prepare(WATER, LevelOfTheory(method, "6-31g", "pbe0", grid_level=0))


@lru_cache(maxsize=2)
def kernel(method: str) -> NDArray[np.float64]:
    """Derivative of the functional's potential by central differences; packed, Loewdin basis."""
    system = water(method)
    hamiltonian, functional = system.hamiltonian, system.hamiltonian._exchange_correlation
    packing, root = Packing(hamiltonian.spins, hamiltonian.size), hamiltonian._inverse_root
    step, rows = 1e-4, []
    for unit in np.eye(packing.length):
        change = root @ packing.matrices(step * unit) @ root
        ends = [functional.evaluate(system.ground.density + sign * change)[1] for sign in (1, -1)]
        rows.append(packing.real(root @ ((ends[0] - ends[1]) / (2 * step)) @ root))
    return 0.5 * (np.array(rows) + np.array(rows).T)


@lru_cache(maxsize=2)
def reference(method: str) -> NDArray[np.float64]:
    return dipoles(water(method), propagate(water(method), PROPAGATOR, STEPS, KICK))


def run(method: str, prior: LinearXCResponse | None, strength: float = 1e-3) -> tuple[ReducedHamiltonian, float]:
    """The Hamiltonian after a run, and the dipole error relative to the full one's."""
    system = water(method)
    reduced = ReducedHamiltonian(system.hamiltonian, system.ground.density, Reduction(), prior)
    states = propagate(system._replace(hamiltonian=reduced), PROPAGATOR, STEPS, DeltaKick(strength, (0, 0, 1)))
    if strength != KICK.strength:
        return reduced, np.nan
    return reduced, dipole_error(dipoles(system, states), reference(method))


@pytest.mark.parametrize("method", ["rks", "uks"])
def test_exact_kernel_needs_no_evaluation_in_a_weak_field(method: str) -> None:
    reduced, error = run(method, LinearXCResponse(kernel(method), 0.0))
    assert reduced.fock_builds == 1 and reduced.evaluations > STEPS
    assert error < 0.002


def test_strong_fields_are_still_noticed() -> None:
    reduced, _ = run("rks", LinearXCResponse(kernel("rks"), 0.0), strength=0.3)
    assert reduced.fock_builds > 1


def test_wrong_kernel_is_corrected() -> None:
    """Ten per cent of noise: left alone it spoils the dipole; with its uncertainty named, evaluations repair it."""
    exact, random = kernel("rks"), np.random.default_rng(3)
    noise = random.normal(size=exact.shape)
    wrong = exact * (1.0 + 0.1 * (noise + noise.T) / np.sqrt(2.0))
    trusting, spoiled = run("rks", LinearXCResponse(wrong, 0.0))
    assert trusting.fock_builds == 1
    knowing, error = run("rks", LinearXCResponse(wrong, 0.1))
    unaware, _ = run("rks", None)
    assert 1 < knowing.fock_builds < unaware.fock_builds
    assert error < 0.01
    assert error < spoiled


def test_prior_leaves_samples_as_they_are() -> None:
    """Where the functional was evaluated, Fock matrix and energy are the full ones, however wrong the prior is."""
    system, random = water("rks"), np.random.default_rng(1)
    matrix = random.normal(size=kernel("rks").shape)
    reduced = ReducedHamiltonian(
        system.hamiltonian, system.ground.density, prior=LinearXCResponse(0.1 * (matrix + matrix.T), 1.0)
    )
    orbitals = DeltaKick(0.05, (1, 1, 1)).apply(system.hamiltonian, system.ground.orbitals)
    (moved,) = propagate(system, PROPAGATOR, 3, orbitals=orbitals)[-1:]
    own, full = reduced.evaluate(moved.orbitals), system.hamiltonian.evaluate(moved.orbitals)
    np.testing.assert_allclose(own.fock, full.fock, atol=1e-9)


def test_weight_of_the_linear_term() -> None:
    """The deviation of a small point shrinks with the root of the weight; size and interpolation do not change."""
    point, value = 1e-4 * np.array([0.6, 0.8, 0.0]), np.array([1.0, -2.0, 3.0])
    for weight in (1.0, 0.01, 0.0):
        regression = PolynomialRegression(1.0, weight)
        prediction = regression.predict(point)
        assert prediction.size == pytest.approx(1e-4, rel=1e-4)
        assert prediction.deviation == pytest.approx(1e-4 * max(weight**0.5, 1e-4), rel=1e-4)
        regression.add(point, value)
        np.testing.assert_allclose(regression.predict(point).value, value, rtol=1e-9)


@pytest.mark.parametrize(
    ("matrix", "uncertainty", "message"),
    [
        (np.zeros((3, 2)), 0.1, "square"),
        (np.full((2, 2), np.nan), 0.1, "finite"),
        (np.array([[0.0, 1.0], [0.5, 0.0]]), 0.1, "not symmetric"),
        (np.eye(2), 1.5, "from 0 to 1"),
        (np.eye(2), np.nan, "finite"),
    ],
)
def test_impossible_priors(matrix: NDArray[np.float64], uncertainty: float, message: str) -> None:
    with pytest.raises(ElectronDynamicsError, match=message):
        LinearXCResponse(matrix, uncertainty)


def test_prior_of_another_basis_set() -> None:
    system = water("rks")
    with pytest.raises(ElectronDynamicsError, match="another basis set"):
        ReducedHamiltonian(system.hamiltonian, system.ground.density, prior=LinearXCResponse(np.eye(5), 0.1))
