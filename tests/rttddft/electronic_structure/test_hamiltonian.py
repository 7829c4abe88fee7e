"""Fock matrices, energies and dipoles, against PySCF."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from openmmkstep.rttddft.electronic_structure.coulomb_exchange import (
    DirectCoulombExchange,
    create_coulomb_exchange,
    exchange_mix,
)
from openmmkstep.rttddft.electronic_structure.exchange_correlation import create_exchange_correlation
from openmmkstep.rttddft.electronic_structure.ground_state import solve_ground_state
from openmmkstep.rttddft.electronic_structure.hamiltonian import Hamiltonian
from openmmkstep.rttddft.electronic_structure.mean_field import create_mean_field
from openmmkstep.rttddft.errors import ConvergenceError, ElectronDynamicsError
from openmmkstep.rttddft.systems.level_of_theory import LevelOfTheory
from tests.support.electrons.systems import HYDROXYL, SKEWED_WATER, WATER, prepare, prepared, random_densities

LEVELS = [
    LevelOfTheory("rhf", "6-31g"),
    LevelOfTheory("uhf", "6-31g"),
    LevelOfTheory("rks", "6-31g", "lda,vwn", grid_level=0),
    LevelOfTheory("rks", "6-31g", "pbe0", grid_level=0),
    LevelOfTheory("uks", "6-31g", "b3lyp", grid_level=0),
    LevelOfTheory("rks", "6-31g", "camb3lyp", grid_level=0),
    LevelOfTheory("uks", "6-31g", "hse06", grid_level=0),
    LevelOfTheory("rks", "sto-3g", "tpss", grid_level=0),
    LevelOfTheory("rks", "6-31g*", "pbe0", grid_level=0, density_fitting=True),
    LevelOfTheory("uks", "6-31g", "camb3lyp", grid_level=0, density_fitting=True),
    LevelOfTheory("uks", "6-31g", "hse06", grid_level=0, density_fitting=True),
    LevelOfTheory("rks", "6-31g", "pbe", grid_level=0, density_fitting=True, auxiliary_basis="def2-universal-jkfit"),
]


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: "-".join(str(v) for v in level.describe().values()))
def test_fock_matrix_of_a_complex_density_is_pyscfs(level: LevelOfTheory) -> None:
    molecule = SKEWED_WATER if level.is_restricted else HYDROXYL
    mean_field = create_mean_field(molecule, level)
    hamiltonian = Hamiltonian(mean_field)
    density = random_densities(hamiltonian, 3)
    evaluation = hamiltonian.evaluate_density(density)
    # PySCF's own Fock matrix, put together from its parts for the real and the imaginary part of the density.
    real, imaginary = density.real.copy(), density.imag.copy()
    arguments = (real[0], imaginary[0]) if len(density) == 1 else (real, imaginary)
    potential = np.asarray(mean_field.get_veff(dm=arguments[0]))
    fock = (hamiltonian.core + potential).astype(complex)
    mix = exchange_mix(mean_field)
    scale = 0.5 if len(density) == 1 else 1.0
    for factor, omega in mix.terms:
        fock = fock - 1j * scale * factor * np.asarray(mean_field.get_k(dm=arguments[1], hermi=2, omega=omega or None))
    expected = np.stack([hamiltonian.to_loewdin(matrix) for matrix in fock.reshape(density.shape)])
    assert np.abs(evaluation.fock - expected).max() < 1e-9
    assert np.array_equal(evaluation.fock, evaluation.fock.conj().transpose(0, 2, 1))


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: "-".join(str(v) for v in level.describe().values()))
def test_fock_matrix_is_the_derivative_of_the_energy(level: LevelOfTheory) -> None:
    hamiltonian = Hamiltonian(create_mean_field(SKEWED_WATER if level.is_restricted else HYDROXYL, level))
    density, other = random_densities(hamiltonian, 5), random_densities(hamiltonian, 6)
    change, step = other - density, 1e-4
    ahead, behind = (hamiltonian.evaluate_density(density + sign * step * change).energy for sign in (1, -1))
    # Densities transform with S^1/2, the inverse of what Fock matrices transform with.
    root = np.linalg.inv(hamiltonian.to_loewdin(np.eye(hamiltonian.size)))
    half = _square_root(root)
    orthonormal = half @ change @ half
    slope = np.einsum("sij,sji->", hamiltonian.evaluate_density(density).fock, orthonormal).real
    assert (ahead - behind) / (2 * step) == pytest.approx(slope, rel=1e-7)


def _square_root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values)) @ vectors.T


@pytest.mark.parametrize("functional", ["", "camb3lyp"])
@pytest.mark.parametrize("closed", [True, False])
def test_integrals_on_the_fly_give_the_same(functional: str, closed: bool) -> None:
    method = ("r" if closed else "u") + ("ks" if functional else "hf")
    mean_field = create_mean_field(WATER, LevelOfTheory(method, "6-31g", functional, grid_level=0))
    density = random_densities(Hamiltonian(mean_field), 1)
    direct = create_coulomb_exchange(mean_field, closed, dense_limit=0)
    assert isinstance(direct, DirectCoulombExchange)
    dense = create_coulomb_exchange(mean_field, closed)
    assert np.abs(direct.potential(density) - dense.potential(density)).max() < 1e-10


def test_functional_without_cache_gives_the_same() -> None:
    for method in ("rks", "uks"):
        mean_field = create_mean_field(WATER, LevelOfTheory(method, "6-31g", "pbe0", grid_level=0))
        density = random_densities(Hamiltonian(mean_field), 2).real.copy()
        cached = create_exchange_correlation(mean_field)
        uncached = create_exchange_correlation(mean_field, cache_limit=0)
        assert cached is not None and uncached is not None and type(cached) is not type(uncached)
        energy, potential = cached.evaluate(density)
        other_energy, other_potential = uncached.evaluate(density)
        assert energy == pytest.approx(other_energy, abs=1e-10)
        assert np.abs(potential - other_potential).max() < 1e-10


@pytest.mark.parametrize(
    "arguments",
    [("WATER", "rhf", "6-31g"), ("HYDROXYL", "uhf", "6-31g"), ("WATER", "rks", "6-31g", "pbe0")],
)
def test_ground_state_is_pyscfs_and_stationary(arguments: tuple[str, ...]) -> None:
    mean_field, hamiltonian, ground = prepared(*arguments)
    assert ground.energy == pytest.approx(mean_field.e_tot, abs=1e-10)  # type: ignore[attr-defined]
    assert ground.residual < 1e-8
    dipole = mean_field.dip_moment(unit="AU", verbose=0)  # type: ignore[attr-defined]
    assert np.abs(hamiltonian.dipole(ground.orbitals) - dipole).max() < 1e-7
    expected = np.asarray(mean_field.make_rdm1()).reshape(ground.density.shape)  # type: ignore[attr-defined]
    assert np.abs(ground.density - expected).max() < 1e-7


@pytest.mark.parametrize("functional", ["", "pbe0"])
def test_unrestricted_equals_restricted_for_a_closed_shell(functional: str) -> None:
    kind = "ks" if functional else "hf"
    restricted = prepared("WATER", "r" + kind, "6-31g", functional)
    unrestricted = prepared("WATER", "u" + kind, "6-31g", functional)
    assert restricted.ground.energy == pytest.approx(unrestricted.ground.energy, abs=1e-10)
    density = random_densities(restricted.hamiltonian, 4)
    closed = restricted.hamiltonian.evaluate_density(density)
    open_ = unrestricted.hamiltonian.evaluate_density(np.repeat(0.5 * density, 2, axis=0))
    assert closed.energy == pytest.approx(open_.energy, abs=1e-10)
    assert np.abs(open_.fock - closed.fock).max() < 1e-10


def test_density_fitting_is_close_to_exact() -> None:
    exact = prepare(WATER, LevelOfTheory("rks", "6-31g", "pbe0", grid_level=0))
    fitted = prepare(WATER, LevelOfTheory("rks", "6-31g", "pbe0", grid_level=0, density_fitting=True))
    assert abs(exact.ground.energy - fitted.ground.energy) < 1e-4
    density = random_densities(exact.hamiltonian, 8)
    difference = exact.hamiltonian.evaluate_density(density).fock - fitted.hamiltonian.evaluate_density(density).fock
    assert np.abs(difference).max() < 5e-3


def test_scf_that_does_not_converge_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    mean_field = create_mean_field(HYDROXYL, LevelOfTheory("uhf", "6-31g"))
    monkeypatch.setattr("openmmkstep.rttddft.electronic_structure.ground_state._MAX_CYCLES", 1)
    solver = SimpleNamespace(kernel=lambda *_: None, converged=False)
    monkeypatch.setattr(type(mean_field), "newton", lambda _: solver)
    with pytest.raises(ConvergenceError, match="did not converge"):
        solve_ground_state(mean_field, Hamiltonian(mean_field))


def test_linearly_dependent_basis_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openmmkstep.rttddft.electronic_structure.hamiltonian._SMALLEST_OVERLAP", 0.5)
    with pytest.raises(ElectronDynamicsError, match="linearly dependent"):
        Hamiltonian(create_mean_field(WATER, LevelOfTheory("rhf", "6-31g")))
