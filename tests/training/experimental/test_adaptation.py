"""Adaptation of response networks to a few true responses, against dense linear algebra and direct propagation."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.linalg import expm

from kstep_models.rttddft.auxiliary_basis import AuxiliaryBasis, Shell
from kstep_models.rttddft.linear_response import modes
from kstep_models.rttddft.network import ResponseNetwork, ResponseNetworkConfig
from kstep_models.rttddft.response_file import ResponseRecord, ResponseSet
from kstep_training.experimental.adaptation import (
    GROUPS,
    LastLayerProblem,
    Shots,
    adapted_response,
    function_space_update,
    geometry,
    gradient_update,
    last_layer_update,
    meta_learned_rates,
    shots_of,
    visited_directions,
)
from kstep_training.rttddft.checkpoint import new_network

RealArray = NDArray[np.float64]

BASIS = AuxiliaryBasis(
    "small",
    {
        1: (Shell(0, (1.5,), (1.0,)),),
        8: (Shell(0, (0.9,), (1.0,)), Shell(1, (1.2,), (1.0,))),
    },
)
SIZE = ResponseNetworkConfig(
    channels=(4, 3, 2), pseudo_channels=(2,), pair_channels=2, product_channels=2, rounds=1, radial=3, hidden=4
)
NUMBERS = np.array([8, 1, 1])
POSITIONS = np.array([[0.06, -0.04, 0.2], [0.2, 1.3, -0.9], [0.4, -1.5, -0.8]])
CHANGES = 5


def symmetric(generator: np.random.Generator, size: int) -> RealArray:
    matrix = generator.normal(size=(size, size))
    return 0.5 * (matrix + matrix.T)


def positive(generator: np.random.Generator, size: int) -> RealArray:
    matrix = generator.normal(size=(size, size))
    return matrix @ matrix.T / size + np.eye(size)


def orthonormal(generator: np.random.Generator, rows: int, columns: int) -> RealArray:
    return np.linalg.qr(generator.normal(size=(rows, columns)))[0]


@lru_cache
def network(seed: int) -> ResponseNetwork:
    return new_network(BASIS, SIZE, seed)


def kernel_of(own: ResponseNetwork) -> RealArray:
    with torch.no_grad():
        return own(torch.as_tensor(NUMBERS), torch.as_tensor(POSITIONS))[0].numpy()


def with_other_last_layer(own: ResponseNetwork, seed: int) -> RealArray:
    """The kernel of the same encoder with other weights behind it."""
    generator = torch.Generator().manual_seed(seed)
    problem = LastLayerProblem(own, shots(kernel_of(own), seed=0))
    with torch.no_grad():
        for part in problem.weights.values():
            for weight in part.values():
                weight.add_(0.3 * torch.randn(weight.shape, generator=generator, dtype=weight.dtype))
        return problem.kernel().numpy()


def shots(true_kernel: RealArray, seed: int, count: int = 2) -> Shots:
    generator = np.random.default_rng(seed)
    fit = generator.normal(size=(len(true_kernel), CHANGES))
    directions = orthonormal(generator, CHANGES, count)
    return Shots(NUMBERS, POSITIONS, fit, directions, fit.T @ true_kernel @ fit @ directions)


def error(kernel: RealArray, given: Shots) -> float:
    return float(np.linalg.norm(given.fit.T @ kernel @ given.fit @ given.directions - given.potentials))


def test_update_in_function_space_is_the_nearest_that_fits() -> None:
    generator = np.random.default_rng(0)
    size, count = 7, 3
    predicted, true = symmetric(generator, size), symmetric(generator, size)
    directions = orthonormal(generator, size, count)
    updated = function_space_update(predicted, directions, true @ directions)
    np.testing.assert_allclose(updated, updated.T, atol=1e-13)
    np.testing.assert_allclose(updated @ directions, true @ directions, atol=1e-12)

    # The same by least squares over an orthonormal basis of the symmetric matrices.
    rows, columns = np.triu_indices(size)
    basis = np.zeros((len(rows), size, size))
    for matrix, row, column in zip(basis, rows, columns, strict=True):
        matrix[row, column] = matrix[column, row] = 1.0 if row == column else np.sqrt(0.5)
    constraints = np.einsum("kpq,qs->psk", basis, directions).reshape(-1, len(rows))
    missing = ((true - predicted) @ directions).ravel()
    smallest = np.linalg.lstsq(constraints, missing, rcond=1e-10)[0]
    np.testing.assert_allclose(updated - predicted, np.einsum("k,kpq->pq", smallest, basis), atol=1e-11)


def test_all_responses_leave_nothing_to_the_network() -> None:
    generator = np.random.default_rng(1)
    true = symmetric(generator, 4)
    directions = orthonormal(generator, 4, 4)
    updated = function_space_update(symmetric(generator, 4), directions, true @ directions)
    np.testing.assert_allclose(updated, true, atol=1e-12)


def test_last_layer_is_the_most_probable_one() -> None:
    own = network(3)
    before = {name: value.clone() for name, value in own.state_dict().items()}
    given = shots(with_other_last_layer(own, 4), seed=5)
    ridge = 1e-2
    found = last_layer_update(own, given, ridge, iterations=300)
    assert all(torch.equal(value, before[name]) for name, value in own.state_dict().items())

    # The ridge regression by a dense solution of its normal equations.
    problem = LastLayerProblem(own, given)
    weights = problem.vector()
    errors = problem.errors()
    start = errors.detach().numpy().ravel()
    jacobian = np.stack(
        [
            torch.cat(
                [part.reshape(-1) for part in problem.gradients(problem.errors().reshape(-1)[row]).values()]
            ).numpy()
            for row in range(start.size)
        ]
    )
    strength = ridge * np.sum((jacobian.T @ start) ** 2) / np.sum(start**2)
    dual = np.linalg.solve(jacobian @ jacobian.T + strength * np.eye(start.size), -start)
    problem.set_vector(weights + jacobian.T @ dual)
    with torch.no_grad():
        expected = problem.kernel().numpy()
    assert error(found, given) < 0.5 * error(kernel_of(own), given)
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())


def test_default_fulfils_the_responses_and_uses_them_elsewhere() -> None:
    own = network(3)
    true = with_other_last_layer(own, 4)
    given = shots(true, seed=5)
    response, before = given.fit.T @ true @ given.fit, given.fit.T @ kernel_of(own) @ given.fit
    found = adapted_response([own], given)
    np.testing.assert_allclose(found, found.T, atol=1e-12)
    np.testing.assert_allclose(found @ given.directions, given.potentials, atol=1e-10)
    plain = function_space_update(before, given.directions, given.potentials)
    assert np.linalg.norm(found - response) < np.linalg.norm(plain - response)


def test_nothing_to_adapt_changes_nothing() -> None:
    own = network(3)
    kernel = kernel_of(own)
    np.testing.assert_allclose(last_layer_update(own, shots(kernel, seed=5)), kernel, atol=1e-12)


def test_gradient_steps_reduce_the_error_and_rates_are_learned() -> None:
    tasks, start = [], []
    for seed in (3, 6):
        own = network(seed)
        true = with_other_last_layer(own, seed + 1)
        tasks.append((own, shots(true, seed=5), shots(true, seed=8, count=CHANGES)))
        start.append(error(kernel_of(own), tasks[-1][1]))
    slow = dict.fromkeys(GROUPS, 0.02)

    def query_error(rates: dict[str, float]) -> float:
        return sum(np.log(error(gradient_update(own, support, rates), query)) for own, support, query in tasks)

    for (own, support, _), before in zip(tasks, start, strict=True):
        few, more = (error(gradient_update(own, support, slow, steps), support) for steps in (2, 6))
        assert more < few < before
    learned = meta_learned_rates(tasks, rounds=5)
    assert set(learned) == set(GROUPS)
    assert query_error(learned) < query_error(slow)
    assert query_error(learned) < query_error(dict.fromkeys(GROUPS, 0.5))


def synthetic(seed: int) -> ResponseSet:
    generator = np.random.default_rng(seed)
    size = sum(BASIS.functions(int(number)) for number in NUMBERS)
    kernel = symmetric(generator, size)
    fit = 0.1 * generator.normal(size=(size, CHANGES))
    record = ResponseRecord(
        POSITIONS[None],
        fit[None],
        (fit.T @ kernel @ fit)[None],
        kernel[None],
        positive(generator, CHANGES)[None],
        positive(generator, CHANGES)[None],
        generator.normal(size=(1, 3, CHANGES)),
        np.zeros((1, size)),
        np.eye(size)[None],
    )
    return ResponseSet("water", NUMBERS, record)


def test_directions_are_those_of_a_propagated_kick() -> None:
    molecule = synthetic(9)
    record = geometry(molecule, 0)
    directions = visited_directions(record, record.response, 2)
    np.testing.assert_allclose(directions.T @ directions, np.eye(2), atol=1e-12)

    # Real and imaginary part of the density's change, dx/dt = (A - B) y, dy/dt = -(A + B) x, after kicks y = d.
    total = record.sum + 2.0 * record.response
    zero = np.zeros_like(total)
    step = 0.25
    propagator = expm(step * np.block([[zero, record.difference], [-total, zero]]))
    state = np.concatenate([np.zeros((CHANGES, 3)), record.dipole.T])
    found = modes(record.sum, record.difference, record.dipole, record.response)
    path = []
    for index in range(1, 4000):
        state = propagator @ state
        path.append(state[:CHANGES])
        if index == 40:
            phases = np.sin(found.frequencies * step * index) / found.frequencies
            np.testing.assert_allclose(found.changes @ (found.dipoles * phases).T, state[:CHANGES], atol=1e-9)
    visited = np.concatenate(path, 1)
    best = np.linalg.svd(visited, full_matrices=False)[1]
    assert np.linalg.norm(directions.T @ visited) > 0.999 * np.linalg.norm(best[:2])


def test_shots_are_the_true_responses() -> None:
    molecule = synthetic(10)
    record = geometry(molecule, 0)
    directions = visited_directions(record, record.response, 3)
    found = shots_of(molecule, 0, directions)
    np.testing.assert_array_equal(found.potentials, record.response @ directions)
    assert found.potentials == pytest.approx(record.fit.T @ record.kernel @ record.fit @ directions)
