"""Populations of orbitals and atoms: sum rules, PySCF's own, and two levels in a resonant field."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pyscf import lo
from scipy.integrate import solve_ivp

from openmmkstep.rttddft import (
    CFM4,
    DeltaKick,
    ElectronDynamics,
    GaussianEnvelope,
    GroundOrbitals,
    LevelOfTheory,
    Magnus2,
    Molecule,
    Populations,
    Pulse,
    TrajectoryError,
    TrajectoryFile,
    UserField,
    populations,
)
from tests.support.electrons.systems import HYDROGEN, HYDROGEN_CATION, HYDROXYL, SKEWED_WATER, WATER

HF = LevelOfTheory("rhf", "6-31g")
PULSE = Pulse(0.05, GaussianEnvelope(3.0, 1.0), (1, 1, 1), frequency=0.4)


def along(run: ElectronDynamics, steps: int, path: Path, interval: int = 1) -> Populations:
    run.run(steps, path, density_interval=interval)
    with TrajectoryFile(path) as file:
        return populations(file, GroundOrbitals.of(run))


@pytest.mark.parametrize(
    ("molecule", "level"),
    [
        (SKEWED_WATER, HF),
        (Molecule(WATER.numbers, WATER.positions, charge=1, multiplicity=2), LevelOfTheory("uhf", "sto-3g")),
        (HYDROXYL, LevelOfTheory("uks", "sto-3g", "pbe", grid_level=0)),
    ],
    ids=["H2O", "H2O+", "OH"],
)
def test_sum_rules(molecule: Molecule, level: LevelOfTheory, tmp_path: Path) -> None:
    # More densities than are read at once.
    found = along(ElectronDynamics(molecule, level, Magnus2(0.1), None, PULSE), 270, tmp_path / "t.h5")
    assert found.time.shape == (271,) and found.time[-1] == pytest.approx(27.0)
    np.testing.assert_allclose(found.orbitals.reshape(271, -1).sum(axis=1), molecule.electrons, atol=1e-10)
    for charges in (found.mulliken, found.loewdin):
        assert charges.shape == (271, len(molecule.numbers))
        np.testing.assert_allclose(charges.sum(axis=1), molecule.charge, atol=1e-10)
        assert np.ptp(charges, axis=0).min() > 1e-3
    full = 2.0 if level.is_restricted else 1.0
    assert found.orbitals.min() > -1e-10 and found.orbitals.max() < full + 1e-10
    assert np.ptp(found.orbitals, axis=0).max() > 1e-3


def test_ground_state_is_pyscfs(tmp_path: Path) -> None:
    run = ElectronDynamics(SKEWED_WATER, HF, Magnus2(0.2))
    found, orbitals = along(run, 0, tmp_path / "t.h5"), GroundOrbitals.of(run)
    mean_field = run._mean_field
    np.testing.assert_allclose(orbitals.energies[0], mean_field.mo_energy, atol=1e-7)
    np.testing.assert_allclose(found.orbitals[0], mean_field.mo_occ, atol=1e-7)
    np.testing.assert_allclose(found.mulliken[0], mean_field.mulliken_pop(verbose=0)[1], atol=1e-7)
    basis = lo.orth.lowdin(run.hamiltonian.overlap)
    inverse = np.linalg.inv(basis)
    density = inverse @ mean_field.make_rdm1() @ inverse.T
    atom = np.array([label[0] for label in mean_field.mol.ao_labels(fmt=None)])
    electrons = np.array([np.diag(density)[atom == index].sum() for index in range(3)])
    np.testing.assert_allclose(found.loewdin[0], [8, 1, 1] - electrons, atol=1e-7)


def test_nothing_moves_without_a_field(tmp_path: Path) -> None:
    found = along(ElectronDynamics(WATER, HF, CFM4(0.2)), 40, tmp_path / "t.h5", interval=5)
    assert found.time.tolist() == pytest.approx(np.arange(9).tolist())
    np.testing.assert_allclose(found.orbitals, np.tile([2.0] * 5 + [0.0] * 8, (9, 1)), atol=1e-9)
    # Charges are linear in what the SCF left undone (1e-8), occupations quadratic.
    assert max(np.ptp(found.mulliken, axis=0).max(), np.ptp(found.loewdin, axis=0).max()) < 1e-8


def test_small_changes_keep_their_digits(tmp_path: Path) -> None:
    """After a kick k the occupations change by k^2: a hundredfold smaller for a tenth of the kick."""
    change = []
    for strength in (1e-3, 1e-4):
        run = ElectronDynamics(WATER, HF, Magnus2(0.2, tolerance=1e-12), DeltaKick(strength, (0, 0, 1)))
        found = along(run, 10, tmp_path / f"{strength}.h5")
        change.append(found.orbitals[-1, 5:])
    assert change[0].max() > 1e-7
    np.testing.assert_allclose(change[1] * 100, change[0], atol=1e-3 * change[0].max())


def levels(run: ElectronDynamics) -> tuple[float, float]:
    """Gap and transition dipole of the two orbitals of a molecule with two basis functions."""
    orbitals = GroundOrbitals.of(run)
    first, second = orbitals.coefficients[0].T
    return float(np.ptp(orbitals.energies[0])), float(first @ run.hamiltonian.position[2] @ second)


def test_one_electron_on_two_levels(tmp_path: Path) -> None:
    """H2+ in a minimal basis, resonant field: the exact two-level problem, and Rabi's sin^2(Omega t / 2) nearby.

    The electron does not act on itself in Hartree-Fock. Its empty orbital does feel it, so that the levels are those of
    the core Hamiltonian rather than of the Fock matrix.
    """
    level = LevelOfTheory("uhf", "sto-3g")
    quiet = ElectronDynamics(HYDROGEN_CATION, level, CFM4(0.2))
    _, dipole = levels(quiet)
    coefficients = GroundOrbitals.of(quiet).coefficients[0]
    low, high = np.diag(coefficients.T @ quiet.hamiltonian.core @ coefficients)
    gap, amplitude = high - low, 0.02
    field = UserField(lambda time: (0.0, 0.0, amplitude * np.cos(gap * time)), "resonant")
    rabi = amplitude * abs(dipole)
    steps = round(np.pi / rabi / 0.2)
    found = along(ElectronDynamics(HYDROGEN_CATION, level, CFM4(0.2), None, field), steps, tmp_path / "t.h5")

    def derivative(time: float, c: np.ndarray) -> np.ndarray:
        coupling = amplitude * np.cos(gap * time) * dipole
        return -1j * np.array([[low, coupling], [coupling, high]]) @ c

    exact = solve_ivp(
        derivative, (0.0, found.time[-1]), [1.0 + 0j, 0j], t_eval=found.time, method="DOP853", rtol=1e-11, atol=1e-12
    )
    np.testing.assert_allclose(found.orbitals[:, 0], np.abs(exact.y.T) ** 2, atol=1e-6)
    np.testing.assert_allclose(found.orbitals[:, 1], 0.0, atol=1e-12)
    np.testing.assert_allclose(found.orbitals[:, 0, 1], np.sin(0.5 * rabi * found.time) ** 2, atol=0.03)
    assert found.orbitals[-1, 0, 1] > 0.97


def test_two_electrons_on_two_levels(tmp_path: Path) -> None:
    """H2 in a minimal basis, strong pulse: the two coupled equations of time-dependent Hartree-Fock.

    From integrals over the molecular orbitals, of which symmetry leaves (gg|gg), (uu|uu), (gg|uu) and (gu|gu).
    """
    level, pulse = LevelOfTheory("rhf", "sto-3g"), Pulse(0.15, GaussianEnvelope(12.0, 4.0), (0, 0, 1), frequency=0.8)
    run = ElectronDynamics(HYDROGEN, level, CFM4(0.1), None, pulse)
    found = along(run, 240, tmp_path / "t.h5")
    _, dipole = levels(run)
    c = GroundOrbitals.of(run).coefficients[0]
    integrals = np.einsum("pqrs,pi,qj,rk,sl->ijkl", run._mean_field.mol.intor("int2e"), c, c, c, c)
    core = np.diag(c.T @ run.hamiltonian.core @ c)

    def derivative(time: float, a: np.ndarray) -> np.ndarray:
        g, u = a
        mixed = g * u.conjugate()
        fock = np.diag(core).astype(complex)
        # J of two electrons minus half of K; each counted with the spin that acts.
        fock[0, 0] += abs(g) ** 2 * integrals[0, 0, 0, 0]
        fock[0, 0] += abs(u) ** 2 * (2 * integrals[0, 0, 1, 1] - integrals[0, 1, 0, 1])
        fock[1, 1] += abs(u) ** 2 * integrals[1, 1, 1, 1]
        fock[1, 1] += abs(g) ** 2 * (2 * integrals[0, 0, 1, 1] - integrals[0, 1, 0, 1])
        coulomb = 4 * mixed.real * integrals[0, 1, 0, 1]
        exchange = mixed * integrals[0, 0, 1, 1] + mixed.conjugate() * integrals[0, 1, 0, 1]
        fock[0, 1] += coulomb - exchange + pulse.at(time)[2] * dipole
        fock[1, 0] = fock[0, 1].conjugate()
        return -1j * fock @ a

    exact = solve_ivp(
        derivative, (0.0, found.time[-1]), [1.0 + 0j, 0j], t_eval=found.time, method="DOP853", rtol=1e-11, atol=1e-12
    )
    assert found.orbitals[:, 1].max() > 0.05
    np.testing.assert_allclose(found.orbitals, 2.0 * np.abs(exact.y.T) ** 2, atol=1e-5)


def test_what_cannot_be(tmp_path: Path) -> None:
    run = ElectronDynamics(WATER, HF, Magnus2(0.2))
    run.run(0, tmp_path / "t.h5", density_interval=1)
    run.run(0, tmp_path / "empty.h5", density_interval=0)
    own = GroundOrbitals.of(run)
    moved = GroundOrbitals.of(ElectronDynamics(SKEWED_WATER, HF, Magnus2(0.2)))
    smaller = GroundOrbitals.of(ElectronDynamics(WATER, LevelOfTheory("rhf", "sto-3g"), Magnus2(0.2)))
    with TrajectoryFile(tmp_path / "empty.h5") as file, pytest.raises(TrajectoryError, match="density_interval"):
        populations(file, own)
    with TrajectoryFile(tmp_path / "t.h5") as file:
        with pytest.raises(TrajectoryError, match="another geometry"):
            populations(file, moved)
        with pytest.raises(TrajectoryError, match="have shape"):
            populations(file, smaller)
