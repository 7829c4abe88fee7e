"""Frames of methanol under an analytic potential, in vacuum and among point charges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kstep_models.frames import Environment, Frame, FrameWriter, RegionDescription
from kstep_models.units import COULOMB

NUMBERS = [6, 8, 1, 1, 1, 1]
BONDS = [(0, 1), (0, 2), (0, 3), (0, 4), (1, 5)]
POSITIONS = torch.tensor(
    [
        [-0.0372, 0.0129, 0.0003],
        [0.0695, -0.0793, -0.0006],
        [-0.0283, 0.0771, 0.0891],
        [-0.1332, -0.0400, 0.0021],
        [-0.0303, 0.0758, -0.0902],
        [0.1521, -0.0291, 0.0011],
    ],
    dtype=torch.float64,
)
CHARGES = torch.tensor([0.15, -0.55, 0.0, 0.0, 0.0, 0.4], dtype=torch.float64)
REGION = RegionDescription(
    numbers=np.array(NUMBERS),
    masses=np.array([12.0, 16.0, 1.0, 1.0, 1.0, 1.0]),
    bonds=np.array(BONDS),
    charge=0,
    multiplicity=1,
    level_of_theory={"method": "analytic"},
    names=("C", "O", "H1", "H2", "H3", "HO"),
)
_ANGLES = [(0, 5)] + [(1, k) for k in (2, 3, 4)] + [(2, 3), (2, 4), (3, 4)]


def vacuum(x: Tensor) -> tuple[Tensor, Tensor]:
    """Energy (anharmonic bonds, springs across angles, coupled bonds) and charges that flow along the O-H bond."""
    energy = torch.zeros((), dtype=torch.float64)
    stretches = {(i, j): (x[i] - x[j]).norm() - (POSITIONS[i] - POSITIONS[j]).norm() for i, j in BONDS}
    # No sum over pairs of atoms can represent these.
    for one, other in (((0, 1), (1, 5)), ((0, 1), (0, 2)), ((0, 1), (0, 3)), ((0, 1), (0, 4))):
        energy = energy + 8e4 * stretches[one] * stretches[other]
    for pairs, strength in ((BONDS, 2e5), (_ANGLES, 2e4)):
        for i, j in pairs:
            stretch = (x[i] - x[j]).norm() - (POSITIONS[i] - POSITIONS[j]).norm()
            energy = energy + strength * stretch**2 * (0.5 - 4 * stretch)
    flow = 2.0 * ((x[1] - x[5]).norm() - (POSITIONS[1] - POSITIONS[5]).norm())
    charges = CHARGES + flow * torch.tensor([0.0, -1.0, 0.0, 0.0, 0.0, 1.0], dtype=torch.float64)
    return energy - 3e4, charges


def frame(random: np.random.Generator, trajectory: int, embedded: bool, temperature: float = 300.0) -> Frame:
    """A labelled random distortion."""
    x = (POSITIONS + torch.as_tensor(random.uniform(-0.005, 0.005, size=(6, 3)))).requires_grad_(True)
    energy, charges = vacuum(x)
    environment = None
    if embedded:
        direction = random.normal(size=(12, 3))
        sites = torch.as_tensor(direction / np.linalg.norm(direction, axis=1, keepdims=True))
        sites = (sites * torch.as_tensor(random.uniform(0.4, 0.7, size=(12, 1)))).requires_grad_(True)
        values = torch.as_tensor(random.choice([-0.4, 0.4], size=12))
        potential = COULOMB * (values / (x[:, None] - sites[None]).norm(dim=-1)).sum(1)
        energy = energy + (charges * potential).sum()
        pull = torch.autograd.grad(energy, sites, retain_graph=True)[0]
        gradient = torch.stack([torch.autograd.grad(potential[i], x, retain_graph=True)[0][i] for i in range(6)])
        environment = Environment(
            potential.detach().numpy(), gradient.numpy(), sites.detach().numpy(), values.numpy(), -pull.numpy()
        )
    forces = -torch.autograd.grad(energy, x)[0]
    return Frame(
        positions=x.detach().numpy(),
        energy=float(energy.detach()),
        forces=forces.numpy(),
        charges=charges.detach().numpy(),
        dipole=np.zeros(3),
        trajectory=trajectory,
        time=0.0,
        temperature=temperature,
        environment=environment,
    )


def write(path: Path, trajectories: int = 5, length: int = 20, embedded: bool = False, seed: int = 0) -> Path:
    """A frames file."""
    random = np.random.default_rng(seed)
    with FrameWriter(path, REGION, environment=embedded) as writer:
        for trajectory in range(trajectories):
            for _ in range(length):
                writer.append(frame(random, trajectory, embedded))
    return path
