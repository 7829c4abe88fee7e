"""Packed Coulomb and exchange against the matrices in the atomic basis, dense, fitted and on the fly."""

from __future__ import annotations

import numpy as np
import pytest

from openmmkstep.rttddft import DeltaKick, ElectronDynamics, LevelOfTheory, Magnus2, Molecule, Reduction
from openmmkstep.rttddft.electronic_structure.coulomb_exchange import (
    DenseCoulombExchange,
    DirectCoulombExchange,
    FittedCoulombExchange,
    create_coulomb_exchange,
)
from openmmkstep.rttddft.electronic_structure.hamiltonian import Hamiltonian
from openmmkstep.rttddft.electronic_structure.mean_field import create_mean_field
from openmmkstep.rttddft.electronic_structure.packed_coulomb_exchange import (
    AtomicPackedExchange,
    DensePackedExchange,
    create_kernel,
)
from openmmkstep.rttddft.electronic_structure.packed_matrices import Packing
from openmmkstep.rttddft.observables.agreement import dipole_error
from tests.support.electrons.systems import HYDROXYL, SKEWED_WATER, random_densities

LEVELS = [
    (SKEWED_WATER, LevelOfTheory("rks", "6-31g", "pbe0", grid_level=0)),
    (SKEWED_WATER, LevelOfTheory("rks", "6-31g", "camb3lyp", density_fitting=True, grid_level=0)),
    (SKEWED_WATER, LevelOfTheory("rks", "sto-3g", "pbe", grid_level=0)),
    (HYDROXYL, LevelOfTheory("uks", "6-31g", "pbe0", grid_level=0)),
    (HYDROXYL, LevelOfTheory("uks", "sto-3g", "pbe0", density_fitting=True, grid_level=0)),
    (HYDROXYL, LevelOfTheory("uks", "sto-3g", "pbe", grid_level=0)),
]


@pytest.mark.parametrize("spins", [1, 2])
def test_packing(spins: int) -> None:
    random = np.random.default_rng(0)
    matrices = random.normal(size=(2, spins, 5, 5)) + 1j * random.normal(size=(2, spins, 5, 5))
    first, second = matrices + matrices.conj().swapaxes(-1, -2)
    packing = Packing(spins, 5)
    real, imaginary = packing.parts(first)
    assert (len(real), len(imaginary)) == (15 * spins, 10 * spins) and packing.length == len(real)
    np.testing.assert_allclose(packing.matrices(real, imaginary), first, atol=1e-14)
    np.testing.assert_allclose(packing.matrices(real), first.real, atol=1e-14)
    np.testing.assert_allclose(packing.real(first.real), real, atol=1e-14)
    # Scalar products are trace products.
    others = packing.parts(second)
    assert real @ others[0] + imaginary @ others[1] == pytest.approx(np.einsum("spq,sqp->", first, second).real)


@pytest.mark.parametrize(("molecule", "level"), LEVELS)
def test_kernels_are_the_builders_matrices(molecule: Molecule, level: LevelOfTheory) -> None:
    mean_field = create_mean_field(molecule, level)
    hamiltonian = Hamiltonian(mean_field)
    exchange, inverse_root = hamiltonian._coulomb_exchange, hamiltonian._inverse_root
    packing = Packing(hamiltonian.spins, hamiltonian.size)
    density = random_densities(hamiltonian, 1)
    expected = inverse_root @ exchange.potential(density) @ inverse_root
    parts = packing.parts(hamiltonian._root @ density @ hamiltonian._root)
    dense = create_kernel(exchange, inverse_root, packing)
    assert isinstance(dense, DensePackedExchange)
    for kernel in (dense, AtomicPackedExchange(exchange, inverse_root, packing, None)):
        real, imaginary = kernel.apply(*parts)
        assert (imaginary is None) == (not np.iscomplexobj(expected))
        np.testing.assert_allclose(packing.matrices(real, imaginary), expected, atol=1e-9)


def test_linear_part_is_added() -> None:
    molecule, level = LEVELS[0]
    hamiltonian = Hamiltonian(create_mean_field(molecule, level))
    exchange, inverse_root = hamiltonian._coulomb_exchange, hamiltonian._inverse_root
    packing, random = Packing(1, hamiltonian.size), np.random.default_rng(2)
    linear = random.normal(size=(packing.length, packing.length))
    parts = packing.parts(hamiltonian._root @ random_densities(hamiltonian, 1) @ hamiltonian._root)
    plain, _ = create_kernel(exchange, inverse_root, packing).apply(*parts)
    for kernel in (
        create_kernel(exchange, inverse_root, packing, linear + linear.T),
        AtomicPackedExchange(exchange, inverse_root, packing, linear + linear.T),
    ):
        np.testing.assert_allclose(kernel.apply(*parts)[0], plain + (linear + linear.T) @ parts[0], atol=1e-9)


def test_integrals_that_do_not_fit_in_memory() -> None:
    fitted = create_coulomb_exchange(create_mean_field(*LEVELS[1]), True)
    assert isinstance(fitted, FittedCoulombExchange)
    needed = DenseCoulombExchange.bytes_needed(13)
    for limit, kind in ((needed, DensePackedExchange), (needed - 1, AtomicPackedExchange)):
        assert isinstance(create_kernel(fitted, np.eye(13), Packing(1, 13), limit=limit), kind)
    direct = create_coulomb_exchange(create_mean_field(*LEVELS[0]), True, dense_limit=0)
    assert isinstance(direct, DirectCoulombExchange)
    assert isinstance(create_kernel(direct, np.eye(13), Packing(1, 13)), AtomicPackedExchange)


def test_kicks_that_share_what_they_learn() -> None:
    """Without symmetry one kick moves what the others do: fewer evaluations, the same dipoles to the tolerance."""
    level = LevelOfTheory("rks", "6-31g", "pbe0", grid_level=0)
    start = ElectronDynamics(SKEWED_WATER, level, Magnus2(0.2, tolerance=1e-7), reduction=Reduction())
    full = ElectronDynamics(SKEWED_WATER, level, Magnus2(0.2, tolerance=1e-7))
    start.kicked(DeltaKick(1e-3, (0, 1, 0)), sharing=True).run(100)
    kick = DeltaKick(1e-3, (0, 0, 1))
    expected = full.kicked(kick).run(100).dipole
    sharing, alone = start.kicked(kick, sharing=True).run(100), start.kicked(kick).run(100)
    assert sharing.fock_builds.sum() < alone.fock_builds.sum()
    for own in (sharing, alone):
        assert dipole_error(own.dipole, expected) < 0.01
    # A run that does not share depends on none before it.
    np.testing.assert_array_equal(start.kicked(kick).run(100).dipole, alone.dipole)
