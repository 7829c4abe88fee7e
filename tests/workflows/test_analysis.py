"""Averages, drifts and dihedrals on series with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from openmmkstep.analysis.averages import block_average, drift
from openmmkstep.analysis.backbone import backbone_residues, dihedrals
from tests.support.qmmm.molecules import Molecule


def test_block_average_of_white_noise() -> None:
    noise = np.random.default_rng(1).normal(5.0, 2.0, size=16384)
    average = block_average(noise)
    assert average.mean == pytest.approx(5.0, abs=0.05)
    assert average.error == pytest.approx(2.0 / 128, rel=0.6)


def test_block_average_sees_correlation() -> None:
    generator = np.random.default_rng(2)
    series = np.zeros(16384)
    for t in range(1, len(series)):
        series[t] = 0.98 * series[t - 1] + generator.normal()
    naive = series.std() / np.sqrt(len(series))
    # Statistical inefficiency of this process: sqrt((1 + 0.98) / (1 - 0.98)) = 10.
    assert 6 * naive < block_average(series).error < 16 * naive


def test_drift() -> None:
    time = np.linspace(0, 10, 101)
    line = drift(time, 3.0 - 0.25 * time + 0.01 * (-1.0) ** np.arange(101))
    assert line.slope == pytest.approx(-0.25, abs=1e-3)
    assert line.residual_rms == pytest.approx(0.01, rel=0.05)


def test_error_of_the_drift_of_a_random_walk() -> None:
    """Slopes of straight lines through walks scatter by sqrt(6/5) times the width of a step per root of the time."""
    generator = np.random.default_rng(4)
    time = np.arange(1, 1001) * 0.01
    lines = [drift(time, 0.3 * time + np.cumsum(generator.normal(scale=0.1, size=1000))) for _ in range(400)]
    slopes = [line.slope for line in lines]
    scatter = np.sqrt(6 / 5) * 1.0 / np.sqrt(10)
    assert np.std(slopes) == pytest.approx(scatter, rel=0.1)
    assert np.mean(slopes) == pytest.approx(0.3, abs=4 * scatter / 20)
    assert np.sqrt(np.mean([line.error**2 for line in lines])) == pytest.approx(scatter, rel=0.1)


def test_error_of_the_drift_needs_segments() -> None:
    assert np.isnan(drift(np.arange(23), np.arange(23)).error)
    assert drift(np.arange(24), 2.0 * np.arange(24)).error == pytest.approx(0, abs=1e-12)


def test_short_series_are_refused() -> None:
    with pytest.raises(ValueError, match="at least two"):
        block_average([1.0])
    with pytest.raises(ValueError, match="at least three"):
        drift([0, 1], [0, 1])


def test_dihedrals_have_iupac_sign() -> None:
    def place(angle: float) -> np.ndarray:
        radians = np.radians(angle)
        return np.array([[[1, 0, 0], [0, 0, 0], [0, 0, 1], [np.cos(radians), np.sin(radians), 1]]])

    for angle in (-120.0, -60.0, 0.0, 45.0, 170.0):
        assert dihedrals(place(angle), (0, 1, 2, 3))[0] == pytest.approx(angle)


def test_backbone_of_alanine_dipeptide(ala2: Molecule) -> None:
    residues = backbone_residues(ala2.topology)
    assert [residue.name for residue in residues] == ["ALA 2"]
    assert residues[0].phi == (4, 6, 8, 14) and residues[0].psi == (6, 8, 14, 16)
    assert -180 <= dihedrals(np.asarray(ala2.positions)[None], residues[0].phi)[0] <= 180
