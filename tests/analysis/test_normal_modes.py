"""Normal modes of a molecule whose frequencies are known, and what kinetic energy they have."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kstep_models.units import BOLTZMANN
from openmmkstep.analysis.ensemble.normal_modes import (
    SPEED_OF_LIGHT,
    best_fit_rotations,
    doubled_kinetic_of_modes,
    normal_modes,
)
from tests.support.qmmm.systems import random_rotation

MASSES = np.array([15.999, 12.011, 15.999])
LINE = np.array([[-0.116, 0.0, 0.0], [0.0, 0.0, 0.0], [0.116, 0.0, 0.0]])
SPRING = 9.0e5  # kJ/mol/nm^2


def hessian_of_a_line() -> np.ndarray:
    """Two springs along x."""
    hessian = np.zeros((9, 9))
    for i, j in ((0, 1), (1, 2)):
        hessian[3 * i, 3 * i] += SPRING
        hessian[3 * j, 3 * j] += SPRING
        hessian[3 * i, 3 * j] -= SPRING
        hessian[3 * j, 3 * i] -= SPRING
    return hessian


def test_stretches_of_a_linear_molecule() -> None:
    modes = normal_modes(hessian_of_a_line(), MASSES, LINE)
    symmetric = math.sqrt(SPRING / MASSES[0])
    antisymmetric = math.sqrt(SPRING / MASSES[0] * (1 + 2 * MASSES[0] / MASSES[1]))
    expected = np.array([symmetric, antisymmetric]) / (2 * math.pi * SPEED_OF_LIGHT)
    assert modes.wave_numbers[-2:] == pytest.approx(expected)
    assert modes.wave_numbers[:-2] == pytest.approx(0, abs=1e-3)
    flat = modes.vectors.reshape(9, 9)
    assert flat @ flat.T == pytest.approx(np.eye(9), abs=1e-12)


def test_a_mode_keeps_its_energy_in_a_turning_frame() -> None:
    """Velocities along one mode of a molecule that lies anyhow belong to this mode alone."""
    rng = np.random.default_rng(1)
    bent = LINE + np.array([[0.0, 0.03, 0.0], [0.0, 0.0, 0.01], [0.0, -0.01, 0.02]])
    modes = normal_modes(hessian_of_a_line(), MASSES, bent)
    positions, velocities = [], []
    for mode in range(9):
        rotation = random_rotation(rng)
        positions.append(bent @ rotation.T + rng.normal(size=3))
        velocities.append(modes.vectors[mode] / np.sqrt(MASSES)[:, None] @ rotation.T)
    kinetic = doubled_kinetic_of_modes(modes, MASSES, np.array(positions), np.array(velocities))
    assert kinetic == pytest.approx(np.eye(9), abs=1e-10)


def test_equipartition_holds_wherever_the_molecule_is() -> None:
    """Maxwell's velocities on positions far from the minimum."""
    rng = np.random.default_rng(2)
    modes = normal_modes(hessian_of_a_line(), MASSES, LINE + 0.01 * rng.normal(size=(3, 3)))
    positions = LINE + 0.05 * rng.normal(size=(20_000, 3, 3))
    kt = BOLTZMANN * 300
    velocities = rng.normal(size=positions.shape) * np.sqrt(kt / MASSES)[:, None]
    kinetic = doubled_kinetic_of_modes(modes, MASSES, positions, velocities)
    assert kinetic.mean(axis=0) / kt == pytest.approx(1, abs=4 * math.sqrt(2 / 20_000))


def test_rotations_are_proper_also_of_mirror_images() -> None:
    rng = np.random.default_rng(3)
    reference = rng.normal(size=(5, 3))
    images = np.array([reference @ random_rotation(rng).T, reference * [1, 1, -1]])
    rotations = best_fit_rotations(images, reference, np.ones(5))
    assert np.linalg.det(rotations) == pytest.approx(1)
    fitted = np.einsum("ij,nj->ni", rotations[0], images[0] - images[0].mean(axis=0))
    assert fitted == pytest.approx(reference - reference.mean(axis=0), abs=1e-12)


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="do not fit 3 masses"):
        normal_modes(np.eye(6), MASSES, LINE)
