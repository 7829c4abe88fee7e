"""The methods that ours are compared with: exact where they must be, and on water."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from numpy.typing import NDArray
from pyscf import tddft

from openmmkstep.rttddft import (
    CFM4,
    DeltaKick,
    ElectronDynamics,
    ElectronDynamicsError,
    LevelOfTheory,
    Observables,
    dipole_strength,
    polarizability,
)
from openmmkstep.rttddft.comparison.casida import LinearResponse
from openmmkstep.rttddft.comparison.dynamic_modes import dynamic_modes_dipole
from openmmkstep.rttddft.comparison.esprit import esprit_dipole
from openmmkstep.rttddft.comparison.oscillations import continued
from openmmkstep.rttddft.comparison.static_fock import static_fock_dipole
from openmmkstep.rttddft.electronic_structure.mean_field import create_mean_field
from openmmkstep.rttddft.observables.agreement import dipole_error, spectral_overlap
from tests.support.electrons.systems import WATER, WATER_CATION

LEVEL = LevelOfTheory("rks", "6-31g", "pbe0", grid_level=0)
KICK = DeltaKick(1e-3, (0, 0, 1))
STEPS, STEP = 500, 0.4
FREQUENCIES = np.arange(0.1, 1.0, 0.002)

RealArray = NDArray[np.float64]


@lru_cache(maxsize=1)
def water() -> tuple[ElectronDynamics, Observables, RealArray]:
    """A reference trajectory with its densities (real and imaginary parts of the deviations)."""
    dynamics = ElectronDynamics(WATER, LEVEL, CFM4(STEP, tolerance=1e-8), KICK)
    hamiltonian, orbitals = dynamics.hamiltonian, [KICK.apply(dynamics.hamiltonian, dynamics.ground_state.orbitals)]
    series = dynamics.run(STEPS, progress=lambda state: orbitals.append(state.orbitals))
    change = np.array([hamiltonian.density(part) for part in orbitals]) - dynamics.ground_state.density
    flat = change.reshape(len(change), -1)
    return dynamics, series, np.concatenate([flat.real, flat.imag], axis=1)


def strength(dipole: RealArray) -> RealArray:
    alpha = polarizability(np.arange(STEPS + 1) * STEP, dipole[:, 2], KICK.strength, FREQUENCIES)
    return dipole_strength(FREQUENCIES, alpha)


def test_continuation_is_exact_for_oscillations_and_does_not_decay() -> None:
    phases = np.array([0.0, 0.11, 0.23, 0.71])
    expected = np.cos(np.outer(np.arange(2000), phases) + 0.5) @ np.random.default_rng(0).normal(size=(4, 3))
    # Moduli that are not one are put right.
    series = continued(0.99 * np.exp(1j * np.concatenate([phases, -phases[1:]])), expected[:50], 2000)
    np.testing.assert_allclose(series, expected, atol=1e-8)


def test_dynamic_modes_continue_a_linear_motion() -> None:
    random = np.random.default_rng(0)
    phases = np.outer(np.arange(1000), [0.11, 0.23, 0.71])
    snapshots = np.concatenate([np.cos(phases), np.sin(phases)], axis=1) @ random.normal(size=(6, 20))
    dipole = 0.3 + np.sin(phases) @ random.normal(size=(3, 3))
    assert dipole_error(dynamic_modes_dipole(snapshots[:60], dipole[:60], 1000), dipole) < 1e-5


def test_esprit_finds_frequencies() -> None:
    times = np.arange(2000)
    signal = np.stack([np.sin(0.05 * times) + 0.2 * np.sin(0.9 * times), np.sin(0.31 * times)], axis=1)
    assert dipole_error(esprit_dipole(signal[:200], 2000), signal) < 1e-6


def test_too_short_beginnings() -> None:
    with pytest.raises(ElectronDynamicsError, match="four or more snapshots"):
        dynamic_modes_dipole(np.zeros((3, 5)), np.zeros((3, 3)), 10)
    with pytest.raises(ElectronDynamicsError, match="eight or more frames"):
        esprit_dipole(np.zeros((7, 3)), 10)


def test_static_fock_matrix_is_one_exponential() -> None:
    dynamics, _, _ = water()
    hamiltonian, ground = dynamics.hamiltonian, dynamics.ground_state.orbitals
    energies, vectors = np.linalg.eigh(hamiltonian.evaluate(ground).fock[0])
    (kicked,) = KICK.apply(hamiltonian, ground)
    steps = 40
    moved = vectors @ (np.exp(-1j * energies * steps * STEP)[:, None] * (vectors.conj().T @ kicked))
    series = static_fock_dipole(dynamics, steps)
    assert series.shape == (steps + 1, 3)
    np.testing.assert_allclose(series[-1], hamiltonian.dipole((moved,)), atol=1e-11)


def test_linear_response_is_pyscfs() -> None:
    level = LevelOfTheory("rks", "6-31g", "pbe0", grid_level=1)
    response = LinearResponse.create(WATER, level)
    peer = tddft.TDDFT(create_mean_field(WATER, level).run(conv_tol=1e-11))
    peer.nstates = 12
    peer.kernel()
    np.testing.assert_allclose(response.energies[:12], peer.e, atol=1e-5)
    np.testing.assert_allclose(response.oscillator_strengths()[:12], peer.oscillator_strength(), atol=1e-4)


def test_linear_response_is_for_closed_shells() -> None:
    with pytest.raises(ElectronDynamicsError, match="closed shells"):
        LinearResponse.create(WATER_CATION, LevelOfTheory("uhf", "sto-3g"))


def test_on_water() -> None:
    """Each method on the trajectory of a kick: those that know no trajectory, and those that know its beginning."""
    dynamics, series, snapshots = water()
    dipole, frames = series.dipole, STEPS + 1
    response = LinearResponse.create(WATER, LEVEL).induced_dipole(KICK.vector, series.time)
    # The time step shifts core excitations; everything else is the same.
    assert dipole_error(response, dipole) < 0.02
    assert spectral_overlap(strength(response), strength(dipole)) > 0.9999
    static = static_fock_dipole(dynamics, STEPS)
    assert dipole_error(static, dipole) > 0.5
    assert spectral_overlap(strength(static), strength(dipole)) < 0.9
    trained = int(80.0 / STEP)
    assert dipole_error(dynamic_modes_dipole(snapshots[:trained], dipole[:trained], frames), dipole) < 0.02
    trained = int(100.0 / STEP)
    assert dipole_error(esprit_dipole(dipole[:trained], frames), dipole) < 0.05
