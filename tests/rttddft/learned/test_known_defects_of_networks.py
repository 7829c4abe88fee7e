"""Mistakes that are easily made in networks of a molecule's response, one test each."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from e3nn import o3
from pyscf import gto

from kstep_models.rttddft.auxiliary_basis import AuxiliaryBasis, Shell
from kstep_models.rttddft.blocks import AtomBlocks
from kstep_models.rttddft.network import Gate, Readout, ResponseNetworkConfig
from kstep_models.rttddft.response_file import ResponseRecord, ResponseSet
from kstep_training.rttddft.checkpoint import new_network
from kstep_training.rttddft.config import RefinementSection
from kstep_training.rttddft.evaluation import predicted, response_error
from kstep_training.rttddft.refinement import refine
from openmmkstep.rttddft import (
    DeltaKick,
    Magnus2,
    NoField,
)
from openmmkstep.rttddft.electronic_structure.auxiliary_fit import AuxiliaryFit, local_auxiliary_basis
from tests.support.electrons.systems import SKEWED_WATER, prepared

Array = np.ndarray


def rotation(seed: int) -> Array:
    matrix, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return matrix * np.sign(np.linalg.det(matrix))


@pytest.fixture
def double_precision() -> Iterator[None]:
    """For e3nn, which makes its matrices in the precision of the moment."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


AXES = [1, 2, 0]
"""The order of coordinates in which auxiliary functions are those of e3nn."""


def functions_of(l: int, points: Array) -> Array:
    """Values [points,2l+1] of an auxiliary shell around the origin."""
    basis = AuxiliaryBasis("one shell", {2: (Shell(l, (0.7,), (1.0,)),)})
    fit = AuxiliaryFit(gto.M(atom="He 0 0 0", basis="sto-3g", verbose=0), basis)
    return fit.values(points, False)[0]


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("l", range(5))
def test_order_of_e3nns_functions(l: int) -> None:
    """Defect: PySCF's functions taken for e3nn's, whose polar axis is y. The auxiliary functions are e3nn's of the
    coordinates y, z, x; in the order x, y, z, they would be no permutation of e3nn's from l = 2 on."""
    points = np.random.default_rng(3).normal(size=(60, 3))
    points /= np.linalg.norm(points, axis=1)[:, None]
    values = functions_of(l, points)

    def theirs(coordinates: Array) -> Array:
        return o3.spherical_harmonics([l], torch.tensor(coordinates), normalize=False, normalization="norm").numpy()

    norm = np.linalg.norm(values[0])
    np.testing.assert_allclose(values / norm, theirs(points[:, AXES]), atol=1e-12)
    mixing = np.linalg.lstsq(values / norm, theirs(points), rcond=None)[0]
    np.testing.assert_allclose(mixing @ mixing.T, np.eye(2 * l + 1), atol=1e-12)
    assert np.isclose(np.abs(mixing).max(axis=1), 1.0).all() == (l < 2)
    # Values at rotated points are the same functions mixed: Y(R r) = D Y(r).
    turn = rotation(5)
    own = np.linalg.lstsq(values, functions_of(l, points @ turn.T), rcond=None)[0].T
    expected = o3.Irrep(l, (-1) ** l).D_from_matrix(torch.tensor(turn[np.ix_(AXES, AXES)])).numpy()
    np.testing.assert_allclose(own, expected, atol=1e-10)


@pytest.mark.usefixtures("double_precision")
def test_matrices_rotate_by_e3nns_matrices() -> None:
    """The same for what a network predicts: matrices between s to f functions of a molecule and its rotated copy."""
    turn, basis = rotation(8), local_auxiliary_basis("def2-svp-ri", [1, 8])
    metrics = []
    for turned in (np.eye(3), turn):
        atoms = [(s, p @ turned.T) for s, p in zip("OHH", SKEWED_WATER.positions, strict=True)]
        metrics.append(AuxiliaryFit(gto.M(atom=atoms, unit="Bohr", basis="sto-3g", verbose=0), basis).metric)
    momenta = [l for number in SKEWED_WATER.numbers for l in basis.momenta(int(number))]
    axes = torch.tensor(turn[np.ix_(AXES, AXES)])
    whole = torch.block_diag(*[o3.Irrep(l, (-1) ** l).D_from_matrix(axes) for l in momenta]).numpy()
    assert max(momenta) == 3
    np.testing.assert_allclose(whole @ metrics[0] @ whole.T, metrics[1], atol=1e-8 * np.abs(metrics[0]).max())
    assert np.abs(metrics[0] - metrics[1]).max() > 0.1


def pooled_keys(density: Array, counts: list[int]) -> Array:
    """Sums over the orbitals of pairs of atoms of the moduli of a density matrix: a pooled key of each pair."""
    edges = np.cumsum([0, *counts])
    return np.array(
        [[np.abs(density[a:b, c:d]).sum() for c, d in itertools.pairwise(edges)] for a, b in itertools.pairwise(edges)]
    )


def test_projection_tells_orbitals_apart() -> None:
    """Defect: keys pooled over the orbitals of an atom, which are the same for p_x and p_y and for 1s and 3s. The
    coefficients in auxiliary functions are not: they give back each density's dipole or extent."""
    shells = [[0, [5.0, 1.0]], [0, [1.0, 1.0]], [0, [0.2, 1.0]], [1, [0.6, 1.0]]]
    mol = gto.M(atom="He 0 0 0", basis={"He": shells}, verbose=0)
    fit = AuxiliaryFit(mol, local_auxiliary_basis("def2-qzvp-ri", [2]))
    densities = np.zeros((4, 6, 6))
    for density, orbital in zip(densities, (3, 4, 0, 2), strict=True):
        density[orbital, orbital] = 1.0
    keys = [pooled_keys(density, [6]) for density in densities]
    assert np.array_equal(keys[0], keys[1]) and np.array_equal(keys[2], keys[3])
    coefficients = fit.coefficients(densities).T
    products = fit.products(np.eye(6), np.eye(6)).reshape(-1, 6, 6)
    for one, other in ((0, 1), (2, 3)):
        difference = coefficients[one] - coefficients[other]
        size = coefficients[one] @ fit.metric @ coefficients[one]
        assert difference @ fit.metric @ difference > 0.03 * size
        orbitals = [int(np.argmax(np.diag(densities[each]))) for each in (one, other)]
        for each, orbital in zip((one, other), orbitals, strict=True):
            np.testing.assert_allclose(coefficients[each], products[:, orbital, orbital], atol=1e-10)


def test_density_and_its_conjugate_move_apart() -> None:
    """Defect: real features of a density, such as pooled moduli, which are the same for rho and its conjugate, two
    states that move in opposite directions. The steps here know the orbitals' phases: one goes forwards, the other
    backwards in time, from the same dipole on."""
    system = prepared("WATER", "rhf", "6-31g")
    start = DeltaKick(0.01, (0, 0, 1)).apply(system.hamiltonian, system.ground.orbitals)
    conjugate = tuple(part.conj() for part in start)
    densities = [system.hamiltonian.density(each)[0] for each in (start, conjugate)]
    assert np.abs(densities[0] - densities[1]).max() > 1e-3
    assert np.array_equal(pooled_keys(densities[0], [9, 2, 2]), pooled_keys(densities[1], [9, 2, 2]))
    moved = []
    for orbitals in (start, conjugate):
        state = Magnus2(0.1).start(system.hamiltonian, orbitals)
        before = system.hamiltonian.dipole(state.orbitals)[2]
        for _ in range(5):
            state = Magnus2(0.1).advance(system.hamiltonian, NoField(), state)
        moved.append(system.hamiltonian.dipole(state.orbitals)[2] - before)
    assert moved[0] > 1e-4 and moved[1] == pytest.approx(-moved[0], rel=0.01)


def test_loss_is_on_responses(small_size: ResponseNetworkConfig) -> None:
    """Defect: a derivative loss |(p - rho_t)/dt - (rho_t+1 - rho_t)/dt|^2 with the true rho_t is the reconstruction
    loss |p - rho_t+1|^2 over dt^2, and teaches nothing new. The loss here is on the response between density changes:
    a network with another matrix but the same response has no loss, and no gradient."""
    random = np.random.default_rng(0)
    p, now, after = random.normal(size=(3, 7, 7))
    derivative = np.sum(((p - now) / 0.2 - (after - now) / 0.2) ** 2)
    assert derivative == pytest.approx(np.sum((p - after) ** 2) / 0.2**2, rel=1e-12)
    basis = local_auxiliary_basis("def2-svp-ri", [1])
    network, numbers = new_network(basis, small_size, 1), np.array([1, 1])
    positions = np.array([[[0.0, 0.0, -0.7], [0.1, 0.0, 0.7]]])
    with torch.no_grad():
        kernel = network.batched(torch.as_tensor(numbers), torch.as_tensor(positions))[0].numpy()
    size = kernel.shape[1]
    fit = random.normal(size=(1, size, 2))
    # Another matrix that is the same where densities change.
    away = np.eye(size) - fit[0] @ np.linalg.pinv(fit[0])
    other = kernel + away @ away.T
    assert np.linalg.norm(other - kernel) > 0.1
    response = fit.transpose(0, 2, 1) @ other @ fit
    zero = np.zeros((1, 2, 2))
    records = ResponseRecord(
        positions, fit, response, other, zero, zero, np.zeros((1, 3, 2)), np.zeros((1, size)), kernel
    )
    molecule, losses = ResponseSet("H2", numbers, records), []
    assert response_error(predicted(network, molecule)[0], records) < 1e-12
    refine(network, [molecule], RefinementSection(steps=1), 0, lambda _, loss: losses.append(loss))
    assert losses[0] < 1e-12
    twice = ResponseSet("H2", numbers, dataclasses.replace(records, response=2.0 * response))
    refine(network, [twice], RefinementSection(steps=1), 0, lambda _, loss: losses.append(loss))
    assert losses[1] == pytest.approx(0.5, rel=0.05)


@pytest.mark.usefixtures("double_precision")
def test_blocks_between_s_and_p_functions() -> None:
    """Defect: blocks decoded from scalars, which do not turn, so that a block between s and p functions must be zero.
    Here such a block is made from vectors: any one exactly, and none from scalars alone."""
    blocks = AtomBlocks((0, 1), (0, 1), 4)
    wanted = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(1))
    features = blocks.features_of(wanted)
    torch.testing.assert_close(blocks(features), wanted, rtol=0, atol=1e-7)
    scalars = torch.zeros_like(features)
    for (_, irrep), part in zip(blocks.irreps, blocks.irreps.slices(), strict=True):
        if irrep.l == 0:
            scalars[:, part] = features[:, part]
    decoded = blocks(scalars)
    assert float(decoded[:, 0, 1:].abs().max()) == float(decoded[:, 1:, 0].abs().max()) == 0.0
    assert float(decoded[:, 0, 0].abs().min()) > 0.0 < float(decoded[:, 1:, 1:].abs().max())


@pytest.mark.usefixtures("double_precision")
def test_gates_multiply_tensors_by_scalars() -> None:
    """Defect: LayerNorm, or a sigmoid, on the components of tensors with L > 0, which depends on the axes."""
    irreps = o3.Irreps("2x0e+3x1o+2x2e")
    gate = Gate(irreps)
    turn = torch.tensor(rotation(4))
    inside, outside = (each.D_from_matrix(turn) for each in (gate.irreps_in, irreps))
    features = torch.randn(5, gate.irreps_in.dim, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(gate(features @ inside.T), gate(features) @ outside.T, rtol=0, atol=1e-6)
    tensors = torch.randn(5, irreps.dim, generator=torch.Generator().manual_seed(4))
    for broken in (
        lambda x: x * torch.sigmoid(x),
        lambda x: torch.nn.functional.layer_norm(x, [irreps.dim]),
    ):
        assert float((broken(tensors @ outside.T) - broken(tensors) @ outside.T).abs().max()) > 0.05


@pytest.mark.usefixtures("double_precision")
def test_scales_of_tensors_know_no_direction() -> None:
    """Defect: dividing every matrix element by its own deviation over the training set, which depends on how the
    molecules lie. The scales here are of whole tensors: the training set turned has the same."""
    blocks = AtomBlocks((0, 1), (0, 1), 4)
    turn = o3.Irreps("0e+1o").D_from_matrix(torch.tensor(rotation(6)))
    samples = torch.randn(40, 4, 4, generator=torch.Generator().manual_seed(5)) * torch.tensor([1.0, 0.1, 1.0, 5.0])
    moved = turn @ samples @ turn.T
    assert float((moved.std(0) / samples.std(0)).max()) > 2.0
    readouts = []
    for values in (samples, moved):
        readouts.append(Readout(blocks.irreps, blocks))
        readouts[-1].set_statistics(values, True)
    torch.testing.assert_close(readouts[1].scale, readouts[0].scale, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(readouts[1].mean, readouts[0].mean, rtol=0, atol=1e-6)
