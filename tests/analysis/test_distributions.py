"""Distributions of coordinates, torsions and distances to solvent, on samples with known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kstep_models.units import BOLTZMANN
from openmmkstep.analysis.ensemble.distributions import (
    angles,
    compare_distributions,
    compare_torsions,
    distances,
    jensen_shannon,
)
from openmmkstep.analysis.ensemble.radial import compare_radial, neighbour_counts, radial_distribution
from openmmkstep.analysis.ensemble.torsion_states import KJ_PER_KCAL, most_visited, state_free_energy
from openmmkstep.analysis.ensemble.verdict import Verdict, judge, judge_against_noise, judge_twice, sigmas_of_many


def test_distances_and_angles() -> None:
    positions = np.array([[[1.0, 0, 0], [0, 0, 0], [0, 2.0, 0], [-3.0, 0, 0]]])
    assert distances(positions, [(0, 1), (0, 2)])[0] == pytest.approx([1, math.sqrt(5)])
    assert angles(positions, [(0, 1, 2), (0, 1, 3), (1, 0, 2)])[0] == pytest.approx(
        [90, 180, math.degrees(math.atan(2))]
    )


def test_jensen_shannon_divergence() -> None:
    assert jensen_shannon([3, 4, 5], [6, 8, 10]) == 0
    assert jensen_shannon([1, 0], [0, 7]) == 1
    # By hand: p = (1/2, 1/2), q = (1, 0), m = (3/4, 1/4).
    expected = 0.5 * (0.5 * math.log2(2 / 3) + 0.5 * math.log2(2)) + 0.5 * math.log2(4 / 3)
    assert jensen_shannon([1, 1], [1, 0]) == pytest.approx(expected)
    with pytest.raises(ValueError, match="empty"):
        jensen_shannon([0, 0], [1, 1])


def test_divergence_of_the_same_distribution_is_that_of_chance() -> None:
    rng = np.random.default_rng(1)
    found = [jensen_shannon(rng.multinomial(4000, [0.1] * 10), rng.multinomial(4000, [0.1] * 10)) for _ in range(200)]
    assert np.mean(found) == pytest.approx(9 / (8 * math.log(2)) * 2 / 4000, rel=0.1)


def test_shifts_of_distributions() -> None:
    rng = np.random.default_rng(2)
    reference = rng.normal([0.10, 0.15], 0.003, size=(4000, 2))
    same = compare_distributions(rng.normal([0.10, 0.15], 0.003, size=(4000, 2)), reference)
    assert same.rmse < 3 * same.expected_rmse and same.divergence < 0.005
    shifted = compare_distributions(rng.normal([0.10, 0.153], 0.003, size=(4000, 2)), reference)
    assert shifted.shifts == pytest.approx([0, 0.003], abs=2e-4)
    assert shifted.rmse == pytest.approx(0.003 / math.sqrt(2), rel=0.1)
    assert shifted.divergences[1] > 0.1 > 10 * shifted.divergences[0]
    with pytest.raises(ValueError, match="same coordinates"):
        compare_distributions(reference, reference[:, :1])


def test_torsions_wrap() -> None:
    rng = np.random.default_rng(3)
    at_the_edge = rng.normal(180, 10, size=(3000, 1))
    assert compare_torsions(at_the_edge, rng.normal(-180, 10, size=(3000, 1)))[0] < 0.01
    assert compare_torsions(at_the_edge, rng.normal(60, 10, size=(3000, 1)))[0] > 0.95
    assert most_visited(at_the_edge[:, 0]) in (-177.5, 177.5)


def test_free_energy_of_a_state() -> None:
    """Two states of known populations, visited in turns."""
    rng = np.random.default_rng(4)
    state = rng.random(20_000) < 0.2
    result = state_free_energy(np.where(state, 60.0, 180.0) + rng.normal(0, 8, 20_000), 60.0, 300.0)
    expected = BOLTZMANN * 300 / KJ_PER_KCAL * math.log(4)
    assert result.free_energy is not None and result.error is not None
    assert abs(result.free_energy - expected) < 4 * result.error < 0.1
    assert result.transitions == pytest.approx(2 * 0.2 * 0.8 * 20_000, rel=0.1)
    never = state_free_energy(np.full(50, 180.0), 60.0, 300.0)
    assert never.free_energy is None and never.population == 0


def test_radial_distribution_of_an_ideal_gas() -> None:
    rng = np.random.default_rng(5)
    box = np.array([[2.0, 0, 0], [0.3, 2.1, 0], [-0.4, 0.5, 1.95]])
    edges = np.linspace(0, 0.9, 19)
    counts = np.mean(
        [neighbour_counts(rng.random((3, 3)) @ box, rng.random((400, 3)) @ box, box, edges) for _ in range(200)],
        axis=(0, 1),
    )
    density = 400 / np.linalg.det(box)
    g = radial_distribution(counts, edges, density)
    assert g[4:] == pytest.approx(1, abs=0.08)
    assert compare_radial(counts, counts, edges, density).l1 == 0
    volumes = 4 / 3 * np.pi * np.diff(edges**3)
    off = compare_radial(1.1 * volumes * density, volumes * density, edges, density)
    assert off.l1 == pytest.approx(0.1)
    assert off.number_of_neighbours == pytest.approx(0.1 * density * 4 / 3 * np.pi * 0.9**3)


def test_images_count() -> None:
    box = np.diag([2.0, 2.0, 2.0])
    edges = np.linspace(0, 1, 11)
    counts = neighbour_counts(np.array([[0.05, 1.0, 1.0]]), np.array([[1.9, 1.0, 1.0], [4.60, 1.0, 1.0]]), box, edges)
    assert counts[0].tolist() == [0, 1, 0, 0, 0, 1, 0, 0, 0, 0]


def test_verdicts() -> None:
    assert judge(0.2, 0.1, 1.0) is Verdict.INSIDE
    assert judge(-2.0, 0.1, 1.0) is Verdict.OUTSIDE
    assert judge(0.9, 0.1, 1.0) is judge(1.1, 0.1, 1.0) is judge(None, None, 1.0) is Verdict.TOO_SHORT
    assert sigmas_of_many(1) == pytest.approx(2)
    assert 3 < sigmas_of_many(60) < 4
    assert judge_against_noise(0.01, 0.02, 0.008, 0.004) is Verdict.INSIDE
    assert judge_against_noise(0.01, 0.02, 0.002, 0.004) is Verdict.OUTSIDE
    assert judge_against_noise(0.03, 0.02, 0.001, 0.002) is Verdict.OUTSIDE
    assert judge_against_noise(0.03, 0.02, 0.02, 0.002) is Verdict.TOO_SHORT


def test_drifts_are_judged_beside_others() -> None:
    assert judge_twice((0.1, 0.02), (0.2, 0.03)) is Verdict.INSIDE
    assert judge_twice((-1.0, 0.1), (0.2, 0.1)) is Verdict.OUTSIDE
    assert judge_twice((0.5, 0.1), (0.2, 0.1)) is judge_twice((0.1, math.nan), (0.2, 0.1)) is Verdict.TOO_SHORT
    # The reference drifts by no more than its error, which is all that is known of it.
    assert judge_twice((0.05, 0.01), (0.0, 0.3)) is Verdict.TOO_SHORT
