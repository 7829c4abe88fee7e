"""Linear response by quadrature and densities in auxiliary functions, against PySCF and against what is exact."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pyscf import gto

from kstep_models.rttddft.auxiliary_basis import AuxiliaryBasis, AuxiliaryBasisError, Shell
from kstep_models.rttddft.export import _representation
from kstep_models.rttddft.linear_response import modes
from openmmkstep.rttddft import ElectronDynamics, ElectronDynamicsError, LevelOfTheory, Magnus2, Reduction
from openmmkstep.rttddft.electronic_structure.auxiliary_fit import AuxiliaryFit, local_auxiliary_basis
from openmmkstep.rttddft.electronic_structure.casida_matrices import response_matrices
from openmmkstep.rttddft.electronic_structure.xc_kernel import XCKernel
from openmmkstep.rttddft.learned.response_data import response_record
from tests.support.electrons.systems import HYDROGEN, SKEWED_WATER, WATER, WATER_CATION, Prepared, prepare

RealArray = NDArray[np.float64]
BASIS = local_auxiliary_basis("def2-svp-ri", [1, 8])


@lru_cache(maxsize=8)
def water(functional: str, basis: str = "sto-3g") -> Prepared:
    return prepare(SKEWED_WATER, LevelOfTheory("rks", basis, functional, grid_level=0))


@pytest.mark.parametrize("functional", ["lda,vwn", "pbe", "pbe0", "camb3lyp"])
def test_kernel_against_differences_of_the_potential(functional: str) -> None:
    """Central differences of the potential in every direction, extrapolated to vanishing steps."""
    system = water(functional)
    coefficients = np.asarray(system.mean_field.mo_coeff)  # type: ignore[attr-defined]
    size = len(coefficients)
    # Among them a square.
    first, second = np.repeat(np.arange(4), size - 3), np.tile(np.arange(3, size), 4)
    kernel = XCKernel(system.mean_field, system.ground.density[0])
    own = kernel.among_products(coefficients, first, second)
    products = np.einsum("pk,qk->kpq", coefficients[:, first], coefficients[:, second])
    products = 0.5 * (products + products.transpose(0, 2, 1))
    potential = system.hamiltonian._exchange_correlation

    def difference(change: RealArray, step: float) -> RealArray:
        ends = [potential.evaluate(system.ground.density + sign * step * change)[1][0] for sign in (1, -1)]
        return (ends[0] - ends[1]) / (2.0 * step)

    for index, change in enumerate(products):
        potentials = (4.0 * difference(change, 1e-3) - difference(change, 2e-3)) / 3.0
        expected = np.einsum("kpq,pq->k", products, potentials)
        np.testing.assert_allclose(own[index], expected, atol=3e-6 * np.abs(own).max())
    np.testing.assert_allclose(own, own.T, atol=1e-14)
    chosen = first != second
    some = kernel.among_products(coefficients, first, second, chosen)
    np.testing.assert_allclose(some, own[:, chosen], atol=1e-14)


def test_kernel_among_auxiliary_functions() -> None:
    """Products of orbitals on one atom that lie in the span of the auxiliary functions have the same response in
    both descriptions, whatever the blocks in which the grid is worked through are."""
    system = water("pbe0")
    kernel = XCKernel(system.mean_field, system.ground.density[0])
    fit = AuxiliaryFit(system.mean_field.mol, BASIS)  # type: ignore[attr-defined]
    mol = system.mean_field.mol  # type: ignore[attr-defined]

    def both(points: RealArray, derivatives: bool) -> RealArray:
        orbitals = mol.eval_gto("GTOval_sph_deriv1", points)
        auxiliary = fit.values(points, derivatives)
        product = orbitals[:, :, [2]] * orbitals[0, :, [3]].T
        product[1:] += orbitals[0, :, [2]].T * orbitals[1:, :, [3]]
        return np.concatenate([auxiliary, product], axis=2)

    count = len(fit.metric)
    joint = kernel.among_functions(both, count + 1)
    np.testing.assert_allclose(joint[:count, :count], kernel.among_functions(fit.values, count), rtol=0, atol=1e-12)
    expected = kernel.among_products(np.eye(mol.nao), np.array([2]), np.array([3]))
    np.testing.assert_allclose(joint[count:, count:], expected, rtol=1e-12)
    np.testing.assert_allclose(joint, joint.T, atol=1e-12 * np.abs(joint).max())


@pytest.mark.parametrize("functional", ["pbe0", "camb3lyp", "lda,vwn"])
def test_modes_are_those_of_pyscf(functional: str) -> None:
    """All excitations of water and their oscillator strengths."""
    system = water(functional)
    record = response_record(SKEWED_WATER, LevelOfTheory("rks", "sto-3g", functional, grid_level=0), BASIS)
    own = modes(record.sum, record.difference, record.dipole, record.response)
    reference: Any = system.mean_field.TDDFT()  # type: ignore[attr-defined]
    reference.nstates, reference.conv_tol, reference.verbose = 10, 1e-10, 0
    reference.kernel()
    assert len(own.frequencies) == 10
    np.testing.assert_allclose(own.frequencies, np.sort(reference.e), rtol=1e-6)
    strengths = 2.0 / 3.0 * np.sum(own.dipoles**2, axis=0)
    np.testing.assert_allclose(strengths, reference.oscillator_strength()[np.argsort(reference.e)], atol=1e-6)
    assert strengths.max() > 0.1
    # Each part counts.
    without = modes(record.sum, record.difference, record.dipole, np.zeros_like(record.response))
    assert np.abs(without.frequencies - own.frequencies).max() > 1e-3


def test_response_does_not_depend_on_the_choice_of_virtual_orbitals() -> None:
    """Rotated among themselves, they give the same total response."""
    system = water("pbe0", "6-31g")
    coefficients = np.asarray(system.mean_field.mo_coeff)  # type: ignore[attr-defined]
    occupied, virtual = coefficients[:, :5], coefficients[:, 5:]
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=2 * [virtual.shape[1]]))
    kernel = XCKernel(system.mean_field, system.ground.density[0])
    first, second = np.repeat(np.arange(5), virtual.shape[1]), np.tile(np.arange(5, len(coefficients)), 5)
    one, other = (
        np.linalg.eigvalsh(kernel.among_products(np.hstack([occupied, part]), first, second))
        for part in (virtual, virtual @ turn)
    )
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


def test_hartree_fock_needs_no_kernel() -> None:
    """The matrices alone are those of time-dependent Hartree-Fock: H2 against PySCF."""
    system = prepare(HYDROGEN, LevelOfTheory("rhf", "6-31g"))
    coefficients, energies = (np.asarray(part) for part in (system.mean_field.mo_coeff, system.mean_field.mo_energy))  # type: ignore[attr-defined]
    gaps = energies[None, 1:] - energies[:1, None]
    total, difference, dipole = response_matrices(system.mean_field, coefficients[:, :1], coefficients[:, 1:], gaps)
    own = modes(total, difference, dipole, np.zeros_like(total))
    reference: Any = system.mean_field.TDHF()  # type: ignore[attr-defined]
    reference.nstates, reference.conv_tol = 3, 1e-10
    reference.kernel()
    np.testing.assert_allclose(own.frequencies, reference.e, rtol=1e-7)


def helium(basis: Any, apart: float = 2.5) -> Any:
    return gto.M(atom=[("He", (0, 0, 0)), ("He", (0.3, -0.4, apart))], unit="Bohr", basis={"He": basis}, verbose=0)


def test_fit_of_densities_in_the_span_is_exact() -> None:
    """Products of s with s and of s with p functions of an atom with one exponent are Gaussian functions of twice the
    exponent, so that such a basis fits them to round-off, point by point."""
    mol = helium([[0, [0.7, 1.0]], [1, [0.7, 1.0]]])
    fit = AuxiliaryFit(mol, AuxiliaryBasis("exact", {2: (Shell(0, (1.4,), (1.0,)), Shell(1, (1.4,), (1.0,)))}))
    random = np.random.default_rng(2)
    density = np.zeros((2, 8, 8))
    for matrix in density:
        for start in (0, 4):
            matrix[start, start : start + 4] = random.normal(size=4)
        matrix += matrix.T
    points = random.normal(size=(40, 3)) + np.array([0, 0, 1.2])
    orbitals = mol.eval_gto("GTOval_sph", points)
    expected = np.einsum("gp,tpq,gq->gt", orbitals, density, orbitals)
    coefficients = fit.coefficients(density)
    np.testing.assert_allclose(fit.values(points, False)[0] @ coefficients, expected, atol=1e-10)
    # The same by products of orbitals, here of basis functions.
    unit = np.eye(8)
    products = fit.products(unit, unit).reshape(-1, 8, 8)
    np.testing.assert_allclose(np.einsum("Mpq,tpq->Mt", products, density), coefficients, atol=1e-10)
    # The Coulomb energy of the densities is that of the fit.
    energy = np.einsum("tpq,pqrs,trs->t", density, mol.intor("int2e"), density)
    np.testing.assert_allclose(np.einsum("Mt,MN,Nt->t", coefficients, fit.metric, coefficients), energy, rtol=1e-9)


def test_gradients_of_auxiliary_functions() -> None:
    fit = AuxiliaryFit(helium("sto-3g"), local_auxiliary_basis("def2-svp-ri", [2]))
    points, step = np.random.default_rng(0).normal(size=(20, 3)), 1e-5
    values = fit.values(points, True)
    np.testing.assert_allclose(values[0], fit.values(points, False)[0], rtol=0, atol=1e-14)
    for axis in range(3):
        shift = step * np.eye(3)[axis]
        ends = [fit.values(points + sign * shift, False)[0] for sign in (1, -1)]
        np.testing.assert_allclose(values[axis + 1], (ends[0] - ends[1]) / (2 * step), atol=1e-7)


def test_fit_turns_with_the_molecule() -> None:
    """Order and signs of the auxiliary functions, s to f, are those that a network's blocks have."""
    turn, _ = np.linalg.qr(np.random.default_rng(7).normal(size=(3, 3)))
    coefficients, metrics, kernels = [], [], []
    for positions in (SKEWED_WATER.positions, SKEWED_WATER.positions @ turn.T):
        mol = gto.M(atom=list(zip("OHH", positions.tolist(), strict=True)), unit="Bohr", basis="6-31g*", verbose=0)
        fit = AuxiliaryFit(mol, BASIS)
        # A density from overlaps alone, which turns exactly.
        density = np.linalg.inv(mol.intor("int1e_ovlp"))
        coefficients.append(fit.coefficients(density[None])[:, 0])
        metrics.append(fit.metric)
        kernels.append(fit.auxiliary.intor("int1e_ovlp")[np.ix_(fit._order, fit._order)])
    blocks = _representation(BASIS, torch.as_tensor(SKEWED_WATER.numbers), torch.as_tensor(turn)).numpy()
    assert max(BASIS.momenta(8)) == 3
    size = np.abs(coefficients[0]).max()
    np.testing.assert_allclose(blocks @ coefficients[0], coefficients[1], atol=1e-7 * size)
    for matrices in (metrics, kernels):
        np.testing.assert_allclose(blocks @ matrices[0] @ blocks.T, matrices[1], atol=1e-10 * np.abs(matrices[0]).max())
    assert np.abs(coefficients[0] - coefficients[1]).max() > 0.01 * size


def test_fit_does_not_depend_on_the_orbital_basis() -> None:
    """The same density, written in STO-3G and in a larger basis that contains it."""
    small = gto.M(atom=list(zip("OHH", WATER.positions.tolist(), strict=True)), unit="Bohr", basis="sto-3g", verbose=0)
    more = {symbol: gto.basis.load("sto-3g", symbol) + gto.basis.load("6-31g", symbol) for symbol in "OH"}
    large = gto.M(atom=list(zip("OHH", WATER.positions.tolist(), strict=True)), unit="Bohr", basis=more, verbose=0)
    random = np.random.default_rng(3).normal(size=(small.nao, small.nao))
    density = random + random.T
    inclusion = np.linalg.solve(large.intor("int1e_ovlp"), gto.intor_cross("int1e_ovlp", large, small))
    assert large.nao > 2 * small.nao
    one = AuxiliaryFit(small, BASIS).coefficients(density[None])
    other = AuxiliaryFit(large, BASIS).coefficients((inclusion @ density @ inclusion.T)[None])
    np.testing.assert_allclose(one, other, atol=1e-8 * np.abs(one).max())


def test_functions_of_an_atom_are_orthogonal() -> None:
    """In the Coulomb metric, and with the span of the fitting basis they were made from."""
    mol = gto.M(atom="O 0 0 0", basis="sto-3g", verbose=0)
    fit = AuxiliaryFit(mol, BASIS)
    np.testing.assert_allclose(fit.metric, np.diag(np.diag(fit.metric)), atol=1e-9 * np.diag(fit.metric).max())
    plain = gto.M(atom="O 0 0 0", basis="def2-svp-ri", verbose=0)
    assert plain.nao == BASIS.functions(8)
    points = np.random.default_rng(1).normal(size=(400, 3))
    theirs, own = plain.eval_gto("GTOval_sph", points), fit.values(points, False)[0]
    residual = theirs - own @ np.linalg.lstsq(own, theirs, rcond=None)[0]
    assert np.abs(residual).max() < 1e-9 * np.abs(theirs).max()


def test_what_has_no_kernel_is_refused() -> None:
    meta = prepare(HYDROGEN, LevelOfTheory("rks", "sto-3g", "tpss", grid_level=0))
    open_shell = prepare(HYDROGEN, LevelOfTheory("uks", "sto-3g", "pbe", grid_level=0))
    nonlocal_ = prepare(HYDROGEN, LevelOfTheory("rks", "sto-3g", "wb97x-v", grid_level=0))
    fock = prepare(HYDROGEN, LevelOfTheory("rhf", "sto-3g"))
    for system in (meta, open_shell, nonlocal_, fock):
        with pytest.raises(ElectronDynamicsError, match="closed shells with an LDA or GGA functional"):
            XCKernel(system.mean_field, system.ground.density[0])


@pytest.mark.parametrize(
    ("molecule", "level"),
    [
        (WATER, LevelOfTheory("rks", "sto-3g", "tpss")),
        (WATER, LevelOfTheory("rks", "sto-3g", "m06-2x")),
        (WATER, LevelOfTheory("rks", "sto-3g", "wb97x-v")),
        (WATER, LevelOfTheory("uks", "sto-3g", "pbe0")),
        (WATER_CATION, LevelOfTheory("uks", "sto-3g", "pbe0")),
    ],
)
def test_they_are_refused_before_any_work(molecule: Any, level: LevelOfTheory) -> None:
    with pytest.raises(ElectronDynamicsError, match=r"closed shell.*leave it out"):
        ElectronDynamics(molecule, level, Magnus2(0.2), reduction=Reduction(response="computed"))


def test_unknown_auxiliary_bases_and_elements() -> None:
    with pytest.raises(ElectronDynamicsError, match="'no-such-ri' is not known to PySCF for O"):
        local_auxiliary_basis("no-such-ri", [8])
    mol = gto.M(atom="N 0 0 0; N 0 0 1.1", basis="sto-3g", verbose=0)
    with pytest.raises(AuxiliaryBasisError, match="no element 7"):
        AuxiliaryFit(mol, BASIS)
