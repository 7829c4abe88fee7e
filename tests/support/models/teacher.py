"""Responses that a network with random weights gives, to learn from: what can be learned is known exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch

from kstep_models.rttddft.auxiliary_basis import AuxiliaryBasis, Shell
from kstep_models.rttddft.network import Readout, ResponseNetwork
from kstep_models.rttddft.response_file import ResponseRecord, ResponseSet, ResponseWriter

BASIS = AuxiliaryBasis(
    "small",
    {
        1: (Shell(0, (1.5, 0.4), (0.6, 0.5)), Shell(1, (0.8,), (1.0,))),
        8: (Shell(0, (9.0,), (1.0,)), Shell(0, (0.9,), (1.0,)), Shell(1, (1.2,), (1.0,)), Shell(2, (1.1,), (1.0,))),
    },
)
LEVEL = {"method": "rks", "functional": "pbe0", "basis": "6-31g", "grid_level": 1}
# bohr
MOLECULES = {
    "H2": (np.array([1, 1]), np.array([[0.0, 0.0, -0.7], [0.0, 0.0, 0.7]])),
    "H2O": (np.array([8, 1, 1]), np.array([[0.06, -0.04, 0.2], [0.2, 1.3, -0.9], [0.4, -1.5, -0.8]])),
    "H2O2": (
        np.array([1, 8, 8, 1]),
        np.array([[1.5, 1.6, 0.9], [1.3, 0.1, -0.1], [-1.4, -0.1, 0.1], [-1.7, -0.9, 1.6]]),
    ),
}
_CHANGES = 3


@torch.no_grad()
def prepare(network: ResponseNetwork, seed: int) -> ResponseNetwork:
    """Give all blocks scales, and those of one atom a mean, so that the responses have the size of true ones."""
    random = torch.Generator().manual_seed(seed)
    for readouts in (network.site_blocks, network.pair_blocks, network.densities):
        for part in readouts:
            if isinstance(part, Readout):
                shape = (6, part.blocks.rows, part.blocks.columns)
                blocks = 0.05 * torch.randn(shape, generator=random, dtype=torch.float64)
                # Blocks of pairs vanish with the distance.
                part.set_statistics(blocks, with_mean=readouts is not network.pair_blocks)
    return network


@torch.no_grad()
def responses(network: ResponseNetwork, name: str, count: int, seed: int, displacement: float = 0.1) -> ResponseSet:
    """What the network says of displaced geometries; all else is random, and the same for any network."""
    numbers, start = MOLECULES[name]
    random = np.random.default_rng(seed)
    positions = start + random.normal(0.0, displacement, (count, *start.shape))
    kernels, densities = (
        part.numpy() for part in network.batched(torch.as_tensor(numbers), torch.as_tensor(positions))
    )
    size = kernels.shape[1]
    fit = random.normal(size=(count, size, _CHANGES)) / np.sqrt(size)
    gaps = np.broadcast_to(np.diag([0.5, 0.7, 1.1]), (count, _CHANGES, _CHANGES))
    record = ResponseRecord(
        positions=positions,
        fit=fit,
        response=np.einsum("tMr,tMN,tNs->trs", fit, kernels, fit, optimize=True),
        kernel=kernels,
        sum=gaps + 0.3,
        difference=np.array(gaps),
        dipole=random.normal(size=(count, 3, _CHANGES)),
        density=densities,
        metric=np.broadcast_to(np.eye(size), (count, size, size)).copy(),
    )
    return ResponseSet(name, numbers, record)


def write(path: Path, sets: Sequence[ResponseSet], basis: AuxiliaryBasis = BASIS) -> Path:
    """A file of them."""
    writer = ResponseWriter(path, basis, LEVEL, {})
    for each in sets:
        for index in range(len(each)):
            arrays = {entry.name: getattr(each.records, entry.name)[index] for entry in fields(ResponseRecord)}
            writer.append(each.name, each.numbers, ResponseRecord(**arrays))
    return path
