"""Steps in time: symmetries of molecule and field, and exact results; what every propagator must do is in a suite."""

from __future__ import annotations

import numpy as np
import pytest
from pyscf import scf

from openmmkstep.rttddft.electronic_structure.ground_state import solve_ground_state
from openmmkstep.rttddft.electronic_structure.hamiltonian import Hamiltonian
from openmmkstep.rttddft.electronic_structure.mean_field import create_mean_field
from openmmkstep.rttddft.propagation.fields import (
    DeltaKick,
    ElectricField,
    GaussianEnvelope,
    Pulse,
    SinSquaredEnvelope,
    UserField,
)
from openmmkstep.rttddft.propagation.propagators import CFM4, State
from openmmkstep.rttddft.systems.level_of_theory import LevelOfTheory
from openmmkstep.rttddft.systems.molecule import Molecule
from tests.support.electrons.systems import SKEWED_WATER, Prepared, dipoles, prepare, prepared, propagate


def density(hamiltonian: Hamiltonian, state: State) -> np.ndarray:
    return hamiltonian.density(state.orbitals)


def fine_one_electron(
    system: Prepared, orbital: np.ndarray, field: ElectricField, time: float, steps: int
) -> np.ndarray:
    """The exact orbital of an electron in a field: Gauss-Legendre collocation of fourth order, in many steps."""
    core = system.hamiltonian.to_loewdin(system.hamiltonian.core)
    size, step = len(core), time / steps
    root = np.sqrt(3.0)
    tableau = np.array([[0.25, 0.25 - root / 6], [0.25 + root / 6, 0.25]])
    for k in range(steps):
        stages = [
            -1j * (core + system.hamiltonian.coupling(field.at(step * (k + node))))
            for node in (0.5 - root / 6, 0.5 + root / 6)
        ]
        blocks = [[np.eye(size) * (i == j) - step * tableau[i, j] * stages[i] for j in range(2)] for i in range(2)]
        slopes = np.linalg.solve(np.block(blocks), np.concatenate([stage @ orbital for stage in stages]))
        orbital = orbital + 0.5 * step * (slopes[:size] + slopes[size:])
    return orbital


def test_one_electron_in_a_pulse_is_exact() -> None:
    system = prepared("HYDROGEN_CATION", "uhf", "6-31g")
    pulse = Pulse(0.05, SinSquaredEnvelope(0.0, 10.0), frequency=0.45)
    states = propagate(system, CFM4(0.01, tolerance=1e-14), 1000, field=pulse)
    exact = fine_one_electron(system, states[0].orbitals[0], pulse, 10.0, 4000)
    difference = density(system.hamiltonian, states[-1])[0] - system.hamiltonian.density((exact, exact))[0]
    assert np.abs(difference).max() < 1e-10


def test_mirror_image_of_a_kick_is_the_kick_of_opposite_sign() -> None:
    # Water lies in the yz plane: a kick along x changes sign with it, exactly.
    system = prepared("WATER", "rhf", "sto-3g")
    plus, minus = (
        dipoles(system, propagate(system, CFM4(0.2, tolerance=1e-13), 40, DeltaKick(strength, (1, 0, 0))))
        for strength in (0.05, -0.05)
    )
    assert np.abs(plus[:, 0]).max() > 5e-4
    assert np.abs(plus[:, 0] + minus[:, 0]).max() < 1e-10
    assert np.abs(plus[:, 1:] - minus[:, 1:]).max() < 1e-10


def rotation(seed: int) -> np.ndarray:
    matrix, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return matrix * np.sign(np.linalg.det(matrix))


@pytest.mark.parametrize("method", ["rhf", "uhf"])
def test_molecule_and_field_rotate_together(method: str) -> None:
    turn = rotation(7)
    base = SKEWED_WATER if method == "rhf" else Molecule(SKEWED_WATER.numbers, SKEWED_WATER.positions, 1, 2)
    moved = Molecule(base.numbers, base.positions @ turn.T, base.charge, base.multiplicity)
    results = []
    for molecule, turned in ((base, np.eye(3)), (moved, turn)):
        system = prepare(molecule, LevelOfTheory(method, "6-31g*"))
        pulse = Pulse(0.02, GaussianEnvelope(3.0, 1.0), turned @ np.array([1.0, -0.3, 0.6]), frequency=0.5)
        kick = DeltaKick(0.01, turned @ np.array([0.2, 1.0, 0.4]))
        states = propagate(system, CFM4(0.2, tolerance=1e-13), 30, kick, pulse)
        results.append((dipoles(system, states) @ turned, np.array([state.energy for state in states])))
    assert np.ptp(results[0][0], axis=0).min() > 1e-3
    assert np.abs(results[0][0] - results[1][0]).max() < 1e-10
    assert np.abs(results[0][1] - results[1][1]).max() < 1e-10


def test_functional_rotates_with_its_grid() -> None:
    # The grid's angular points are fixed in space, so that its error depends on orientation; turned along, it must not.
    turn = rotation(11)
    level = LevelOfTheory("rks", "sto-3g", "pbe0", grid_level=0)
    grid = create_mean_field(SKEWED_WATER, level).grids
    results = []
    for turned in (np.eye(3), turn):
        molecule = Molecule(SKEWED_WATER.numbers, SKEWED_WATER.positions @ turned.T)
        mean_field = create_mean_field(molecule, level)
        mean_field.grids.coords, mean_field.grids.weights = grid.coords @ turned.T, grid.weights
        hamiltonian = Hamiltonian(mean_field)
        system = Prepared(mean_field, hamiltonian, solve_ground_state(mean_field, hamiltonian))
        kick = DeltaKick(0.01, turned @ np.array([0.2, 1.0, 0.4]))
        states = propagate(system, CFM4(0.2, tolerance=1e-13), 10, kick)
        results.append(dipoles(system, states) @ turned)
    assert np.ptp(results[0], axis=0).min() > 1e-4
    assert np.abs(results[0] - results[1]).max() < 1e-10


@pytest.mark.parametrize("functional", ["", "pbe0"])
def test_unrestricted_equals_restricted_for_a_closed_shell(functional: str) -> None:
    results = []
    for method in ("r", "u"):
        system = prepared("WATER", method + ("ks" if functional else "hf"), "sto-3g", functional, 0)
        states = propagate(system, CFM4(0.2, tolerance=1e-12), 30, DeltaKick(0.01, (1, 1, 1)))
        results.append(dipoles(system, states))
    assert np.abs(results[0] - results[1]).max() < 1e-8


def test_density_fitting_is_close_to_exact() -> None:
    results = []
    for fitting in (False, True):
        system = prepare(SKEWED_WATER, LevelOfTheory("rhf", "6-31g", density_fitting=fitting))
        states = propagate(system, CFM4(0.2), 100, DeltaKick(1e-3, (1, 1, 1)))
        results.append(dipoles(system, states) - system.hamiltonian.dipole(system.ground.orbitals))
    assert np.linalg.norm(results[0] - results[1]) < 0.01 * np.linalg.norm(results[0])


def test_early_response_to_a_kick_has_the_right_sign() -> None:
    # The field pushes electrons against its direction: charge -1 times displacement -k t is +k t per electron, so that
    # the dipole begins as N k t (exact in a complete basis; the sign and size are meant here).
    system = prepared("WATER", "rhf", "6-31g")
    states = propagate(system, CFM4(0.005), 4, DeltaKick(1e-3, (0, 1, 0)))
    change = dipoles(system, states)[-1] - dipoles(system, states)[0]
    assert 0.3 * 10 * 1e-3 * 0.02 < change[1] < 1.1 * 10 * 1e-3 * 0.02


def test_static_field_gives_the_polarisation_of_the_scf() -> None:
    # A field that is turned on slowly leaves the molecule in the ground state of that field.
    system = prepared("HYDROGEN", "rhf", "6-31g")
    ramp = 120.0
    strength = 0.002
    field = UserField(
        lambda time: (0.0, 0.0, strength * (np.sin(0.5 * np.pi * time / ramp) ** 2 if time < ramp else 1.0)), "ramp"
    )
    states = propagate(system, CFM4(0.5), 240, field=field)
    induced = (dipoles(system, states)[-1] - dipoles(system, states)[0])[2]
    mean_field = scf.RHF(system.mean_field.mol)  # type: ignore[attr-defined]
    core = mean_field.get_hcore() + strength * system.hamiltonian.position[2]
    mean_field.get_hcore = lambda *_: core
    mean_field.kernel()
    expected = -np.einsum("ij,ji", system.hamiltonian.position[2], mean_field.make_rdm1())
    assert expected > 0
    assert induced == pytest.approx(expected, rel=1e-3)
