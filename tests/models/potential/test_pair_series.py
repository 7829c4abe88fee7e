"""The fitted pair potential: exact for forces of its own form, and the network contains it."""

from __future__ import annotations

import numpy as np
import torch

from kstep_models.potential import KStepPotential, PairStatistics, PotentialConfig, Topology
from kstep_models.potential.pair_series import ORDER, fit_pair_series, pair_series_energy
from tests.support.finite_differences import derivative
from tests.support.models import methanol

TOPOLOGY = Topology.build(methanol.NUMBERS, methanol.BONDS, 5)
POSITIONS = methanol.geometries(200, 4)
DISTANCES = np.linalg.norm(POSITIONS[:, :, None] - POSITIONS[:, None], axis=-1)


def coefficients() -> np.ndarray:
    """Symmetric, of every power that a pair may have, the same within a class."""
    values = np.random.default_rng(8).normal(scale=5.0, size=(ORDER, 200))
    result = values[:, TOPOLOGY.undirected_pair_class()]
    highest = np.select([TOPOLOGY.bond_distance == d for d in (1, 2, 3)], [4, 3, 2], 0)
    for power in range(ORDER):
        result[power][highest < power + 1] = 0.0
    return result


def scales() -> tuple[np.ndarray, np.ndarray]:
    """Mean and spread of the distances, by class."""
    statistics = PairStatistics.measure(
        TOPOLOGY, POSITIONS, np.zeros(200), np.zeros((200, 6, 3)), np.zeros((200, 6)), 0.0
    )
    return statistics.distance_mean, statistics.distance_spread


def numerical_forces(series: np.ndarray, positions: np.ndarray) -> np.ndarray:
    def energies(shift: np.ndarray) -> np.ndarray:
        return pair_series_energy(series, *scales(), positions + shift)

    return -np.moveaxis(derivative(energies, np.zeros((6, 3)), 1e-6, order=2), -1, 0)


def test_a_potential_of_its_own_form_is_found_again() -> None:
    true = coefficients()
    fitted = fit_pair_series(TOPOLOGY, *scales(), POSITIONS, numerical_forces(true, POSITIONS))
    assert np.array_equal(fitted == 0, true == 0)
    assert np.abs(fitted - true).max() < 0.01 * np.abs(true).max()


def test_the_potential_contains_it() -> None:
    true = coefficients()
    forces = numerical_forces(true, POSITIONS)
    energies = pair_series_energy(true, *scales(), POSITIONS)
    statistics = PairStatistics.measure(TOPOLOGY, POSITIONS, energies - 3e4, forces, np.zeros((200, 6)), 0.0)
    assert abs(statistics.energy_mean + 3e4) < 1.0
    model = KStepPotential(PotentialConfig(channels=4, cubic_channels=2, hidden=8, readout=4), TOPOLOGY, statistics)
    with torch.no_grad():
        model.output.weight.zero_()
        found = model.double().eval().energy_and_charges(torch.as_tensor(POSITIONS[:20]))[0].numpy()
    # The ridge keeps the fit from being exact.
    assert np.abs(found + statistics.energy_mean - (energies[:20] - 3e4)).max() < 0.02 * energies.std() + 1e-6


def test_nothing_to_fit() -> None:
    alone = Topology.build([8, 1], [])
    assert not fit_pair_series(alone, np.ones((2, 2)), np.ones((2, 2)), np.zeros((3, 2, 3)), np.zeros((3, 2, 3))).any()
