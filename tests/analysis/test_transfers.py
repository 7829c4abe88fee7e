"""Transfers between two partners, on series whose transfers are known."""

from __future__ import annotations

import numpy as np
import pytest

from openmmkstep.analysis.transfers import distance_difference, find_transfers


def test_the_difference_is_that_of_the_distances() -> None:
    """Three atoms on a line, and one off it (3-4-5)."""
    positions = np.zeros((2, 4, 3))
    positions[:, 1, 0] = 3.0
    positions[0, 2, 0], positions[1, 2, :2] = 1.0, (3.0, 4.0)
    np.testing.assert_allclose(distance_difference(positions, 2, 0, 1), [1 - 2, 5 - 4])
    np.testing.assert_allclose(distance_difference(positions, 2, 1, 0), [2 - 1, 4 - 5])


def test_what_turns_back_is_no_transfer() -> None:
    found = find_transfers([-3, -1, 0.5, -0.5, -3, -1, 0, 1, 3, 0.5, -0.5, 3, 1, -3], margin=2)
    assert found.count == 2 and list(found.frames) == [8, 13]
    assert found.crossings == 6
    assert found.on_first == pytest.approx(7 / 14)
    every = find_transfers([-3, -1, 0.5, -0.5, -3, -1, 0, 1, 3, 0.5, -0.5, 3, 1, -3], margin=0)
    assert every.count == every.crossings == 6


def test_a_start_between_the_sides_is_on_neither() -> None:
    assert find_transfers([0.5, 3, 1, 4], margin=2).count == 0
    assert find_transfers([0.5, -3, -1, -4], margin=2).count == 0
    assert find_transfers([0.5, -0.5, 0.5], margin=2).count == 0


def test_jumps_are_found_under_noise() -> None:
    """A telegraph signal of known jumps, with noise that crosses zero while it is on its way, and only then."""
    generator = np.random.default_rng(3)
    jumps = np.cumsum(generator.integers(40, 90, size=30))
    signal = np.ones(jumps[-1] + 50)
    for number, place in enumerate(jumps):
        signal[place:] = -1.0 if number % 2 == 0 else 1.0
    way = np.convolve(signal, np.ones(21) / 21, mode="same")[25:-25]
    noisy = way + generator.uniform(-0.35, 0.35, size=way.shape)
    found = find_transfers(noisy, margin=0.4)
    assert found.count == 30
    assert found.crossings > 30
    assert np.all(np.abs(found.frames - (jumps - 25)) <= 10)


def test_mistakes_are_named() -> None:
    with pytest.raises(ValueError, match="at least one number"):
        find_transfers([], 0.1)
    with pytest.raises(ValueError, match="at least one number"):
        find_transfers([1.0, np.nan], 0.1)
    with pytest.raises(ValueError, match="must not be negative"):
        find_transfers([1.0], -0.1)
