"""A small molecule for the tests: methanol, with three equivalent hydrogens."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from kstep_models.potential import KStepPotential, PotentialConfig
from kstep_models.potential.interface import MoleculeData

NUMBERS = [6, 8, 1, 1, 1, 1]
BONDS = [(0, 1), (0, 2), (0, 3), (0, 4), (1, 5)]
POSITIONS = np.array(
    [
        [-0.0372, 0.0129, 0.0003],
        [0.0695, -0.0793, -0.0006],
        [-0.0283, 0.0771, 0.0891],
        [-0.1332, -0.0400, 0.0021],
        [-0.0303, 0.0758, -0.0902],
        [0.1521, -0.0291, 0.0011],
    ]
)
SMALL = PotentialConfig(
    channels=4, message_channels=3, vector_channels=2, cubic_channels=2, hidden=6, readout=4, cutoff=0.6
)


def geometries(count: int, seed: int, spread: float = 0.005) -> NDArray[np.float64]:
    """Distorted geometries [count, 6, 3], nm."""
    return POSITIONS + np.random.default_rng(seed).normal(scale=spread, size=(count, 6, 3))


def data(total_charge: float = 0.0) -> MoleculeData:
    """Frames as if each atom hung on a spring."""
    x = geometries(50, 2)
    return MoleculeData(
        numbers=np.array(NUMBERS),
        bonds=np.array(BONDS),
        total_charge=total_charge,
        positions=x,
        energies=np.linspace(-3e4, -3e4 + 40, 50),
        forces=-2e5 * (x - POSITIONS),
        charges=np.random.default_rng(0).normal(scale=0.2, size=(50, 6)),
        geometries=x,
    )


def potential(config: PotentialConfig | None = None, total_charge: float = 0.0) -> KStepPotential:
    """A network with random weights, in torch's default precision."""
    torch.manual_seed(1)
    config = config or PotentialConfig(
        channels=8, message_channels=6, vector_channels=4, cubic_channels=4, hidden=16, readout=8, cutoff=0.6
    )
    return KStepPotential.create(config, data(total_charge))
