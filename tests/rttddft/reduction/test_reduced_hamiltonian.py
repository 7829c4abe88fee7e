"""The reduced Hamiltonian: its regression, agreement with the full one, what it saves."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from openmmkstep.rttddft import (
    DeltaKick,
    ElectronDynamics,
    ElectronDynamicsError,
    GaussianEnvelope,
    LevelOfTheory,
    Magnus2,
    Molecule,
    Pulse,
    Reduction,
)
from openmmkstep.rttddft.observables.agreement import dipole_error
from openmmkstep.rttddft.reduction.polynomial_regression import PolynomialRegression
from openmmkstep.rttddft.reduction.reduced_hamiltonian import ReducedHamiltonian
from tests.support.electrons.systems import ETHENE, WATER, Prepared, prepare

LEVEL = LevelOfTheory("rks", "6-31g", "pbe0", grid_level=1)


class Cubic:
    """y(x) with linear, quadratic and cubic parts."""

    def __init__(self, size: int, seed: int) -> None:
        random = np.random.default_rng(seed)
        self.linear = random.normal(size=(size, size))
        self.quadratic = random.normal(size=(size, size, size))
        self.cubic = random.normal(size=(size, size, size, size))

    def __call__(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        quadratic = np.einsum("ijk,j,k->i", self.quadratic, x, x)
        return self.linear @ x + quadratic + np.einsum("ijkl,j,k,l->i", self.cubic, x, x, x)


def test_regression_reproduces_cubic_functions() -> None:
    """Exact once all 3 + 6 + 10 monomials of three variables are known; the variance vanishes with the error."""
    random = np.random.default_rng(2)
    function, regression = Cubic(3, 1), PolynomialRegression(1.0)
    point = random.normal(size=3)
    deviations = []
    for count in range(25):
        prediction = regression.predict(point)
        deviations.append(prediction.deviation)
        sample = random.normal(size=3)
        regression.add(sample, function(sample))
        assert len(regression) == count + 1
    # The root of a difference: round-off of 1e-13 shows as some 1e-7.
    assert all(later <= earlier + 1e-5 * deviations[0] for earlier, later in pairwise(deviations))
    assert deviations[0] == prediction.size and deviations[-1] < 1e-4 * deviations[0]
    prediction = regression.predict(point)
    np.testing.assert_allclose(prediction.value, function(point), rtol=1e-6)
    nodes, weights = np.polynomial.legendre.leggauss(8)
    work = sum(w / 2 * function((x + 1) / 2 * point) @ point for x, w in zip(nodes, weights, strict=True))
    assert prediction.work == pytest.approx(work, rel=1e-6)


def test_regression_is_a_projection_for_small_points() -> None:
    """With one sample: the residual of the projection onto it, and the linear response along it."""
    regression = PolynomialRegression(1.0)
    sample = 1e-6 * np.array([1.0, 0.0, 0.0])
    regression.add(sample, np.array([2e-6, 0.0, 0.0]))
    prediction = regression.predict(1e-6 * np.array([0.6, 0.8, 0.0]))
    assert prediction.deviation == pytest.approx(0.8e-6, rel=1e-5)
    assert prediction.size == pytest.approx(1e-6, rel=1e-5)
    np.testing.assert_allclose(prediction.value, [1.2e-6, 0, 0], atol=1e-12)


@pytest.fixture(scope="module")
def water() -> Prepared:
    return prepare(WATER, LEVEL)


def moved(prepared: Prepared, strength: float) -> NDArray[np.complex128]:
    """A density away from the ground state, with real and imaginary changes."""
    random = np.random.default_rng(4)
    size = prepared.hamiltonian.size
    rotation = random.normal(size=(size, size)) + 1j * random.normal(size=(size, size))
    values, vectors = np.linalg.eigh(rotation + rotation.conj().T)
    unitary = (vectors * np.exp(1j * strength * values)) @ vectors.conj().T
    return prepared.hamiltonian.density(tuple(unitary @ part for part in prepared.ground.orbitals))


def test_equals_the_full_hamiltonian_at_samples(water: Prepared) -> None:
    reduced = ReducedHamiltonian(water.hamiltonian, water.ground.density)
    density = moved(water, 0.05)
    full, own = water.hamiltonian.evaluate_density(density), reduced.evaluate_density(density)
    np.testing.assert_allclose(own.fock, full.fock, atol=1e-10)
    # The energy is an integral along a straight line, of which one point is known.
    change = abs(full.energy - water.ground.energy)
    assert abs(own.energy - full.energy) < 0.02 * change
    # For the ground state, for the linear response, and, of so large a deviation, for what it leaves.
    assert (reduced.fock_builds, reduced.evaluations) == (3, 1)
    reduced.evaluate_density(density)
    assert reduced.fock_builds == 3


def test_new_directions_are_sampled_near_the_ground_state(water: Prepared) -> None:
    """What is learned of a small deviation is the linear response: wrong by its square, whatever its size is."""
    errors = []
    for strength in (1e-3, 5e-4):
        reduced = ReducedHamiltonian(water.hamiltonian, water.ground.density)
        density = moved(water, strength)
        full, own = water.hamiltonian.evaluate_density(density), reduced.evaluate_density(density)
        assert reduced.fock_builds == 2
        errors.append(np.abs(own.fock - full.fock).max())
        assert abs(own.energy - full.energy) < 1e-3 * abs(full.energy - water.ground.energy)
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.1)


def test_ground_state(water: Prepared) -> None:
    reduced = ReducedHamiltonian(water.hamiltonian, water.ground.density)
    own = reduced.evaluate_density(water.ground.density.astype(complex))
    full = water.hamiltonian.evaluate_density(water.ground.density)
    np.testing.assert_allclose(own.fock, full.fock, atol=1e-12)
    assert own.energy == pytest.approx(full.energy, abs=1e-11)


def test_refuses_what_makes_no_sense(water: Prepared) -> None:
    with pytest.raises(ElectronDynamicsError, match="tolerance"):
        Reduction(tolerance=0.0)
    with pytest.raises(ElectronDynamicsError, match="nonlinearity"):
        Reduction(nonlinearity=-1.0)
    with pytest.raises(ElectronDynamicsError, match="Hartree-Fock has no functional"):
        ElectronDynamics(WATER, LevelOfTheory("rhf", "sto-3g"), Magnus2(0.2), reduction=Reduction())


@pytest.mark.parametrize("method", ["rks", "uks"])
def test_kick(method: str) -> None:
    """Dipole within 1 %, a tenth of the functional evaluations even in this short a run."""
    level = LevelOfTheory(method, "6-31g", "pbe0", grid_level=0)
    arguments = (WATER, level, Magnus2(0.2, tolerance=1e-7), DeltaKick(1e-3, (0, 0, 1)))
    full, reduced = ElectronDynamics(*arguments), ElectronDynamics(*arguments, reduction=Reduction())
    expected, own = full.run(150), reduced.run(150)
    assert dipole_error(own.dipole, expected.dipole) < 0.01
    np.testing.assert_allclose(own.energy, expected.energy, atol=1e-7)
    assert 10 * own.fock_builds.sum() < expected.fock_builds.sum()


def test_strong_pulse() -> None:
    level = LevelOfTheory("rks", "6-31g", "pbe0", grid_level=0)
    field = Pulse(0.03, GaussianEnvelope(10.0, 3.0), (0, 0, 1), frequency=0.3)
    arguments = (WATER, level, Magnus2(0.2, tolerance=1e-7), None, field)
    expected = ElectronDynamics(*arguments).run(150)
    own = ElectronDynamics(*arguments, reduction=Reduction(tolerance=0.02)).run(150)
    assert dipole_error(own.dipole, expected.dipole) < 0.01
    assert 5 * own.fock_builds.sum() < expected.fock_builds.sum()


def test_long_rollouts_stay_physical() -> None:
    """10,000 steps: finite, trace and idempotency to 1e-10, whatever the error of the potential is."""
    level = LevelOfTheory("rks", "sto-3g", "pbe0", grid_level=0)
    run = ElectronDynamics(
        WATER, level, Magnus2(0.4, tolerance=1e-6), DeltaKick(0.05, (0, 0, 1)), reduction=Reduction(tolerance=0.2)
    )
    last = []
    observables = run.run(10_000, progress=lambda state: last.append(state) or last.__delitem__(slice(0, -1)))
    assert np.all(np.isfinite(observables.dipole)) and np.all(np.isfinite(observables.energy))
    (orbitals,) = last[-1].orbitals
    overlap = orbitals.conj().T @ orbitals
    assert abs(np.trace(overlap).real - 5) < 1e-10
    density = orbitals @ orbitals.conj().T
    assert np.abs(density @ density - density).max() < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize(
    ("molecule", "amplitude", "tolerance", "savings"),
    [
        (WATER, 0.0, 0.05, 100),
        (WATER, 0.01, 0.05, 90),
        (WATER, 0.03, 0.03, 60),
        (ETHENE, 0.0, 0.05, 50),
        (ETHENE, 0.01, 0.05, 45),
        (ETHENE, 0.03, 0.05, 25),
    ],
)
def test_savings(molecule: Molecule, amplitude: float, tolerance: float, savings: int) -> None:
    """200 atomic units after a kick and in resonant pulses: dipole within 1 %, so many times fewer Fock builds, with
    the four to six that only compare."""
    level = LevelOfTheory("rks", "6-31g", "pbe0", grid_level=2)
    pulse = Pulse(amplitude, GaussianEnvelope(20.0, 6.0), (0, 0, 1), frequency=0.3)
    kick, field = (None, pulse) if amplitude else (DeltaKick(1e-3, (0, 0, 1)), None)
    arguments = (molecule, level, Magnus2(0.2, tolerance=1e-7), kick, field)
    expected = ElectronDynamics(*arguments).run(1000)
    own = ElectronDynamics(*arguments, reduction=Reduction(tolerance)).run(1000)
    assert dipole_error(own.dipole, expected.dipole) < 0.01
    assert savings * own.fock_builds.sum() < expected.fock_builds.sum()
