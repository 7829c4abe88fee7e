"""A small response network from e3nn's tensor products, with random weights, for tests of what is around networks.

Atoms get features of their surroundings by one equivariant convolution; linear maps of their own for each element make
from them the density's coefficients and R vectors v over the auxiliary functions, and the response is -sum of v v^T.
"""

from __future__ import annotations

import numpy as np
import torch
from e3nn import o3
from torch import Tensor, nn

from kstep_models.provenance import MODEL_PACKAGES, software_versions
from kstep_models.rttddft.auxiliary_basis import AuxiliaryBasis, Shell
from kstep_models.rttddft.contract import ResponseContract

BASIS = AuxiliaryBasis(
    "small",
    {
        1: (Shell(0, (1.5, 0.4), (0.6, 0.5)), Shell(1, (0.8,), (1.0,))),
        8: (Shell(0, (9.0,), (1.0,)), Shell(0, (0.9,), (1.0,)), Shell(1, (1.2,), (1.0,)), Shell(2, (1.1,), (1.0,))),
    },
)
# bohr, without symmetry
WATER = (np.array([8, 1, 1]), np.array([[0.06, -0.04, 0.2], [0.2, 1.3, -0.9], [0.4, -1.5, -0.8]]))
PEROXIDE = (
    np.array([1, 8, 8, 1]),
    np.array([[1.5, 1.6, 0.9], [1.3, 0.1, -0.1], [-1.4, -0.1, 0.1], [-1.7, -0.9, 1.6]]),
)


class ResponseNetwork(nn.Module):
    """See the module.

    Args:
        basis: auxiliary basis.
        vectors: R.
        seed: of the weights.
        twisted: add what does not turn with the molecule, to test that it is found.
    """

    def __init__(self, basis: AuxiliaryBasis, vectors: int = 3, seed: int = 0, twisted: bool = False) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.elements = sorted(basis.elements)
        self.twisted = twisted
        hidden = o3.Irreps("4x0e+4x1o+4x2e")
        harmonics = o3.Irreps("0e+1o+2e")
        self.embedding = nn.Embedding(len(self.elements), 4)
        self.convolution = o3.FullyConnectedTensorProduct("4x0e", harmonics, hidden)
        self.harmonics = o3.SphericalHarmonics(harmonics, normalize=True, normalization="component")
        self.readouts = nn.ModuleList()
        for number in self.elements:
            shells = o3.Irreps([(1, (l, (-1) ** l)) for l in basis.momenta(number)])
            self.readouts.append(nn.ModuleList([o3.Linear(hidden, shells) for _ in range(vectors + 1)]))

    def forward(self, numbers: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        count = numbers.size(0)
        species = torch.zeros_like(numbers)
        for index, element in enumerate(self.elements):
            species = torch.where(numbers == element, index, species)
        embedded = self.embedding(species)
        apart = positions.unsqueeze(1) - positions.unsqueeze(0)
        distance = apart.square().sum(-1).add(1e-6).sqrt()
        # The auxiliary functions are ordered for axes y, z, x.
        angular = self.harmonics(apart[:, :, [1, 2, 0]])
        weights = torch.exp(-0.3 * distance.square()) * (1.0 - torch.eye(count, dtype=distance.dtype))
        senders = embedded.unsqueeze(0).expand(count, count, -1) * weights.unsqueeze(-1)
        features = self.convolution(senders, angular).sum(1)
        if self.twisted:
            features = features + 0.01 * positions[:, 0:1]
        columns = []
        for readout in self.readouts:
            vectors = torch.stack([linear(features) for linear in readout], dim=-1)
            columns.append(vectors)
        pieces = []
        for atom in range(count):
            pieces.append(columns[int(species[atom])][atom])
        stacked = torch.cat(pieces)
        response = -torch.mm(stacked[:, 1:], stacked[:, 1:].t())
        return response, stacked[:, 0]


def network(seed: int = 0, twisted: bool = False) -> ResponseNetwork:
    """In double precision, constants included."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        return ResponseNetwork(BASIS, seed=seed, twisted=twisted)
    finally:
        torch.set_default_dtype(before)


def response_contract(dtype: str = "float64", atomic_numbers: tuple[int, ...] | None = None) -> ResponseContract:
    return ResponseContract.of(
        BASIS,
        cutoff=12.0,
        dtype=dtype,
        level_of_theory={"method": "rks", "functional": "pbe0", "basis": "6-31g"},
        training_data={"digest": "sha256:0", "geometries": 1},
        validation={},
        versions=software_versions(MODEL_PACKAGES),
        atomic_numbers=atomic_numbers,
    )
