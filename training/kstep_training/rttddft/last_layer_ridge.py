"""The last layer of a response network, solved instead of trained.

Blocks are linear functions of a network's features, so that with a fixed encoder the best last layer is a ridge
regression, one for each kind of block and angular momentum, whose samples are all components of all tensors. It takes
seconds, has no learning rate, and finds the minimum. The encoder's weights may be random: features of that kind are
rich enough (random features: A. Rahimi, B. Recht, NIPS 2007), and the measured gain of training them is in the
documentation of the training configuration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kstep_models.rttddft.network import Readout, ResponseNetwork
from kstep_models.rttddft.response_file import ResponseSet

# Geometries whose features are computed at once.
_BATCH = 8
# What is smaller than this, relative to its kind, is zero by symmetry: round-off, from which nothing is learned.
_ROUND_OFF = 1e-10


@dataclass
class Samples:
    """Features [S,F] and blocks [S,rows,columns] of one kind."""

    features: list[Tensor]
    blocks: list[Tensor]

    def joined(self) -> tuple[Tensor, Tensor]:
        """Both in one piece."""
        return torch.cat(self.features), torch.cat(self.blocks)


class LastLayer:
    """Features of all atoms and pairs of a training set, and the regressions on them.

    Args:
        network: in double precision.
        sets: molecules.
        targets: of the response [T,M,M], for each of them.
    """

    @torch.no_grad()
    def __init__(
        self, network: ResponseNetwork, sets: Sequence[ResponseSet], targets: Sequence[NDArray[np.float64]]
    ) -> None:
        self._network = network
        self._samples: dict[tuple[str, int], Samples] = {}
        for molecule, kernels in zip(sets, targets, strict=True):
            self._gather(molecule, torch.as_tensor(kernels))

    @torch.no_grad()
    def solve(self, regularisation: float) -> None:
        """Set the last layer.

        Args:
            regularisation: ridge, relative to the mean square of the features.
        """
        for (part, kind), samples in self._samples.items():
            readouts = {
                "site": self._network.site_blocks,
                "pair": self._network.pair_blocks,
                "density": self._network.densities,
            }[part]
            readout = readouts[kind]
            if not isinstance(readout, Readout):
                raise TypeError(f"{part} {kind} is no readout")
            _regress(readout, *samples.joined(), part != "pair", regularisation)

    def _gather(self, molecule: ResponseSet, kernels: Tensor) -> None:
        network = self._network
        numbers = torch.as_tensor(molecule.numbers)
        elements = network.element_index[numbers].tolist()
        positions = torch.as_tensor(molecule.records.positions)
        batches = [network.features(numbers, part) for part in positions.split(_BATCH)]
        sites, pairs = (torch.cat(parts) for parts in zip(*batches, strict=True))
        densities = torch.as_tensor(molecule.records.density)
        ends = np.cumsum([network.sizes[element] for element in elements]).tolist()
        ranges = [slice(end - network.sizes[element], end) for element, end in zip(elements, ends, strict=True)]
        for atom, element in enumerate(elements):
            own = ranges[atom]
            self._add("site", element, sites[:, atom], kernels[:, own, own])
            self._add("density", element, sites[:, atom], densities[:, own].unsqueeze(2))
        first, second = (part.tolist() for part in network.ordered_pairs(len(numbers)))
        for pair, (one, other) in enumerate(zip(first, second, strict=True)):
            kind = elements[one] * len(network.elements) + elements[other]
            self._add("pair", kind, pairs[:, pair], kernels[:, ranges[one], ranges[other]])

    def _add(self, part: str, kind: int, features: Tensor, blocks: Tensor) -> None:
        samples = self._samples.setdefault((part, kind), Samples([], []))
        samples.features.append(features)
        samples.blocks.append(blocks)


def _regress(readout: Readout, features: Tensor, blocks: Tensor, with_mean: bool, regularisation: float) -> None:
    readout.set_statistics(blocks, with_mean)
    readout.scale[readout.scale < _ROUND_OFF * readout.scale.max()] = 0.0
    inverse = torch.where(readout.scale > 0, 1.0 / readout.scale, 0.0)
    targets = (readout.blocks.features_of(blocks) - readout.mean) * inverse
    smallest = _ROUND_OFF**2 * float(features.square().mean())
    linear = readout.linear
    inputs, outputs = linear.irreps_in, linear.irreps_out
    solved: dict[int, tuple[Tensor, Tensor]] = {}
    linear.weight.zero_()
    for weight, instruction in zip(
        linear.weight_views(), (each for each in linear.instructions if each.i_in >= 0), strict=True
    ):
        if instruction.i_in not in solved:
            columns = _components(features, inputs, instruction.i_in)
            if float(columns.square().mean()) <= smallest:
                columns = torch.zeros_like(columns)
            covariance = columns.T @ columns
            ridge = regularisation * covariance.diagonal().mean().clamp(min=1e-30)
            factor = torch.linalg.cholesky(covariance + ridge * torch.eye(len(covariance), dtype=covariance.dtype))
            solved[instruction.i_in] = (columns, factor)
        columns, factor = solved[instruction.i_in]
        wanted = _components(targets, outputs, instruction.i_out)
        weight.copy_(torch.cholesky_solve(columns.T @ wanted, factor) / instruction.path_weight)


def _components(values: Tensor, irreps: object, index: int) -> Tensor:
    """One representation's tensors as samples [S*(2l+1), multiplicity]."""
    multiplicity, irrep = irreps[index]  # type: ignore[index]
    part = values[:, irreps.slices()[index]]  # type: ignore[attr-defined]
    return part.reshape(len(part), multiplicity, irrep.dim).transpose(1, 2).reshape(-1, multiplicity)
