"""What the response network cannot get wrong, whatever its weights are."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from e3nn import o3
from torch import Tensor

from kstep_models.rttddft.blocks import AtomBlocks, ShellBlocks
from kstep_models.rttddft.ensemble import ResponseEnsemble
from kstep_models.rttddft.export import _functions_in_order, _representation, script_response
from kstep_models.rttddft.network import Gate, RadialFunctions, Readout, ResponseNetwork, ResponseNetworkConfig
from kstep_training.rttddft.checkpoint import new_network
from tests.support.models.response_network import BASIS, PEROXIDE, WATER

Geometry = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def network(small_size: ResponseNetworkConfig) -> ResponseNetwork:
    """With statistics that differ from tensor to tensor, as after training."""
    made = new_network(BASIS, small_size, 3).requires_grad_(False)
    random = torch.Generator().manual_seed(5)
    for part in made.modules():
        if isinstance(part, Readout):
            shape = (4, part.blocks.rows, part.blocks.columns)
            part.set_statistics(torch.randn(shape, generator=random, dtype=torch.float64), True)
    return made


def tensors(geometry: Geometry) -> tuple[Tensor, Tensor]:
    return torch.as_tensor(geometry[0]), torch.as_tensor(geometry[1])


def turned(seed: int, mirrored: bool) -> Tensor:
    matrix, _ = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)))
    return matrix * torch.linalg.det(matrix).sign() * (-1.0 if mirrored else 1.0)


def deviation(value: Tensor, expected: Tensor) -> float:
    return float((value - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("geometry", [WATER, PEROXIDE])
def test_turned_mirrored_and_moved(network: ResponseNetwork, geometry: Geometry, mirrored: bool) -> None:
    numbers, positions = tensors(geometry)
    turn = turned(2, mirrored)
    response, density = network(numbers, positions)
    blocks = _representation(BASIS, numbers, turn)
    moved_response, moved_density = network(numbers, positions @ turn.T + torch.tensor([3.0, -20.0, 0.7]))
    assert deviation(moved_response, blocks @ response @ blocks.T) < 1e-10
    assert deviation(moved_density, blocks @ density) < 1e-10
    # The comparison means something: the molecule's response itself does change.
    assert deviation(moved_response, response) > 0.1


@pytest.mark.parametrize("order", [[3, 2, 1, 0], [1, 3, 0, 2]])
def test_atoms_in_another_order(network: ResponseNetwork, order: list[int]) -> None:
    numbers, positions = tensors(PEROXIDE)
    response, density = network(numbers, positions)
    places = torch.tensor(order)
    functions = _functions_in_order(BASIS, numbers, places)
    other, other_density = network(numbers[places], positions[places])
    assert deviation(other, response[functions][:, functions]) < 1e-10
    assert deviation(other_density, density[functions]) < 1e-10


def test_symmetric_and_of_the_right_size(network: ResponseNetwork) -> None:
    for geometry in (WATER, PEROXIDE, (np.array([8]), np.zeros((1, 3)))):
        response, density = network(*tensors(geometry))
        size = BASIS.size(geometry[0])
        assert list(response.shape) == [size, size] and list(density.shape) == [size]
        assert torch.equal(response, response.T)
        assert bool(torch.isfinite(response).all()) and float(density.abs().max()) > 0.0


def test_geometries_at_once(network: ResponseNetwork) -> None:
    numbers, positions = tensors(WATER)
    random = torch.Generator().manual_seed(0)
    several = positions + 0.1 * torch.randn(3, 3, 3, dtype=torch.float64, generator=random)
    responses, densities = network.batched(numbers, several)
    for index, each in enumerate(several):
        response, density = network(numbers, each)
        assert deviation(responses[index], response) < 1e-12 and deviation(densities[index], density) < 1e-12
    assert deviation(responses[1], responses[0]) > 1e-3


def test_smooth_across_the_cutoff(network: ResponseNetwork, small_size: ResponseNetworkConfig) -> None:
    """Values, first and second derivatives of everything that depends on the distance go to zero there."""
    numbers = torch.tensor([8, 1])
    cutoff = small_size.cutoff

    def response(distance: Tensor) -> Tensor:
        along = torch.tensor([0.3, 0.5, 0.2], dtype=torch.float64)
        along = along / along.norm()
        values, density = network(numbers, torch.stack([torch.zeros_like(along), along * distance]))
        return torch.cat([values.flatten(), density])

    def at(distance: float) -> tuple[Tensor, Tensor]:
        return torch.func.jvp(
            response, (torch.tensor(distance, dtype=torch.float64),), (torch.tensor(1.0, dtype=torch.float64),)
        )

    beyond, beyond_slope = at(cutoff + 1e-3)
    assert float(beyond_slope.abs().max()) == 0.0
    assert deviation(at(cutoff + 5.0)[0], beyond) < 1e-14
    inside, slope = at(cutoff - 1e-3)
    size = float(beyond.abs().max())
    assert float((inside - beyond).abs().max()) < 1e-9 * size
    assert float(slope.abs().max()) < 1e-6 * size
    near, near_slope = at(3.0)
    assert float((near - beyond).abs().max()) > 1e-2 * size and float(near_slope.abs().max()) > 1e-3 * size


def test_envelope_has_two_derivatives_at_the_cutoff() -> None:
    radial = RadialFunctions(5, 10.0)

    def last(distance: Tensor) -> Tensor:
        return radial(distance.reshape(1))[0, -1]

    for order, derivative in enumerate((last, torch.func.grad(last), torch.func.grad(torch.func.grad(last)))):
        values = [float(derivative(torch.tensor(10.0 - step, dtype=torch.float64))) for step in (1e-2, 1e-3)]
        # Cubic zero: each ten times nearer, a factor of 10^(3 - order) smaller.
        assert abs(values[1]) < 1.2 * abs(values[0]) * 10.0 ** (order - 3)
        assert float(derivative(torch.tensor(10.5, dtype=torch.float64))) == 0.0


def test_scripted_is_eager(network: ResponseNetwork) -> None:
    scripted = script_response([network], torch.float64)
    with torch.jit.optimized_execution(False):
        for geometry in (WATER, PEROXIDE):
            numbers, positions = tensors(geometry)
            expected = network(numbers, positions)
            for value, reference in zip(scripted(numbers, positions), expected, strict=True):
                assert deviation(value, reference) < 1e-12
            assert deviation(scripted.members(numbers, positions)[0], expected[0]) < 1e-12
        with pytest.raises(Exception, match="does not cover an element"):
            scripted(torch.tensor([6, 1, 1]), positions[:3])


def test_unknown_elements_are_refused(network: ResponseNetwork) -> None:
    with pytest.raises(ValueError, match="does not cover an element"):
        network(torch.tensor([8, 1, 2]), tensors(WATER)[1])


def test_ensemble_is_the_mean(network: ResponseNetwork) -> None:
    class Scaled(torch.nn.Module):
        def forward(self, numbers: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
            response, density = network(numbers, positions)
            return 3.0 * response, -density

    geometry = tensors(WATER)
    response, density = network(*geometry)
    ensemble = ResponseEnsemble([network, Scaled()])
    mean, mean_density = ensemble(*geometry)
    torch.testing.assert_close(mean, 2.0 * response)
    torch.testing.assert_close(mean_density, torch.zeros_like(density))
    assert ensemble.all_members(*geometry)[0].shape == (2, *response.shape)


@pytest.mark.parametrize(("l1", "l2"), [(0, 0), (0, 1), (1, 1), (2, 1), (3, 3)])
def test_blocks_of_shells_round_trip(l1: int, l2: int) -> None:
    """Any block is representable, and features and blocks have the same norm."""
    blocks = ShellBlocks(l1, l2, 2, 3, 6)
    assert blocks.irreps.dim == 2 * (2 * l1 + 1) * 3 * (2 * l2 + 1)
    values = torch.randn(4, 2 * (2 * l1 + 1), 3 * (2 * l2 + 1), dtype=torch.float64)
    features = blocks.features_of(values)
    torch.testing.assert_close(blocks(features), values, rtol=0, atol=1e-6)
    assert float(features.norm() / values.norm()) == pytest.approx(1.0, abs=1e-6)


def test_blocks_of_atoms_round_trip() -> None:
    left, right = BASIS.momenta(8), BASIS.momenta(1)
    blocks = AtomBlocks(left, right, 6)
    assert (blocks.rows, blocks.columns) == (BASIS.functions(8), BASIS.functions(1))
    features = torch.randn(5, blocks.irreps.dim, dtype=torch.float64)
    values = blocks(features)
    assert list(values.shape) == [5, blocks.rows, blocks.columns]
    torch.testing.assert_close(blocks.features_of(values), features, rtol=0, atol=1e-6)


def test_long_tensors_that_are_left_out_are_zero() -> None:
    """With a limit below l1 + l2, the rest of a block is still the nearest one."""
    blocks, values = ShellBlocks(2, 2, 1, 1, 2), torch.randn(3, 5, 5, dtype=torch.float64)
    nearest = blocks(blocks.features_of(values))
    again = blocks(blocks.features_of(nearest))
    torch.testing.assert_close(again, nearest, rtol=0, atol=1e-6)
    assert float(nearest.norm()) < float(values.norm())
    assert blocks.irreps.lmax == 2


def oriented(momenta: tuple[int, ...], turn: Tensor) -> Tensor:
    return torch.block_diag(*(_shell(l, turn) for l in momenta))


def _shell(l: int, turn: Tensor) -> Tensor:
    points = torch.randn(40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    before, after = (o3.spherical_harmonics(l, x[:, [1, 2, 0]], True) for x in (points, points @ turn.T))
    return torch.linalg.lstsq(before, after).solution.T


@pytest.mark.parametrize("with_mean", [True, False])
def test_statistics_know_no_direction(with_mean: bool) -> None:
    """All training data turned: mean and scale stay, and so they do if every sample is turned differently. A mean and
    a scale for each element of the blocks would change."""
    left, right = BASIS.momenta(8), BASIS.momenta(1)
    blocks = AtomBlocks(left, right, 6)
    random = torch.Generator().manual_seed(1)
    # Far from isotropic.
    values = torch.randn(30, blocks.rows, blocks.columns, dtype=torch.float64, generator=random)
    values = values * torch.linspace(0.1, 3.0, blocks.columns, dtype=torch.float64) + 1.0
    turns: list[Callable[[int], Tensor]] = [lambda _: turned(3, False), lambda index: turned(index, index % 2 == 0)]
    for turn in turns:
        moved = torch.stack(
            [oriented(left, turn(index)) @ each @ oriented(right, turn(index)).T for index, each in enumerate(values)]
        )
        readouts = []
        for samples in (values, moved):
            readout = Readout(blocks.irreps, copy.deepcopy(blocks)).double()
            readout.set_statistics(samples, with_mean)
            readouts.append(readout)
        torch.testing.assert_close(readouts[1].mean, readouts[0].mean, rtol=0, atol=1e-6)
        torch.testing.assert_close(readouts[1].scale, readouts[0].scale, rtol=1e-6, atol=1e-6)
        assert float((moved.std(0) - values.std(0)).abs().max()) > 0.1
    assert (float(readouts[0].mean.abs().max()) > 0.1) == with_mean


def test_gate_keeps_equivariance() -> None:
    irreps = o3.Irreps("3x0e+2x1o+2x2e+1x1e")
    gate = Gate(irreps)
    features = torch.randn(6, gate.irreps_in.dim, dtype=torch.float64)
    turn = turned(4, True).float()
    inside, outside = (each.D_from_matrix(turn).double() for each in (gate.irreps_in, irreps))
    torch.testing.assert_close(gate(features @ inside.T), gate(features) @ outside.T, rtol=0, atol=1e-5)
