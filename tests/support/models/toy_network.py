"""A second network, as small as one can be: sums over pairs of atoms, and charges that flow along them.

It shows what a new network has to bring, and that everything else serves it as it serves the first.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from kstep_models.potential import Topology
from kstep_models.potential.interface import MoleculeData, NetworkConfig, PotentialModel


class ToyConfig(NetworkConfig):
    """Size of the network."""

    name: Literal["toy"] = Field(default="toy", description="which network")
    functions: int = Field(default=6, ge=1, description="number of Gaussians of the distance")
    cutoff: float = Field(default=0.5, gt=0, description="nm; range of the Gaussians")


class ToyPotential(PotentialModel, name="toy"):
    """E = scale * sum_ij sum_k w_k(class_ij) g_k(r_ij), q_i = mean_i + sum_j (f_ij - f_ji) with f of the same form."""

    config_type = ToyConfig
    limits = ("Only sums over pairs of atoms.",)

    numbers: Tensor
    total_charge: Tensor
    pair_class: Tensor
    undirected_class: Tensor
    off_diagonal: Tensor
    centres: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, config: ToyConfig, scales: Mapping[str, Any]) -> None:
        super().__init__()
        topology = Topology.build(scales["numbers"], scales["bonds"])
        self.config = config
        self.scales = dict(scales)
        self.atoms = len(topology.numbers)
        self.cutoff = config.cutoff
        self.energy_mean = float(scales["energy_mean"])
        self.register_buffer("numbers", torch.as_tensor(topology.numbers))
        self.register_buffer("pair_class", torch.as_tensor(topology.pair_class))
        self.register_buffer("undirected_class", torch.as_tensor(topology.undirected_pair_class()))
        for name, value in {
            "total_charge": scales["total_charge"],
            "off_diagonal": 1 - np.eye(self.atoms),
            "centres": np.linspace(0.08, config.cutoff, config.functions),
            "mean": scales["charges"],
            "scale": scales["energy_scale"],
        }.items():
            self.register_buffer(name, torch.as_tensor(np.asarray(value), dtype=torch.get_default_dtype()))
        self.energy_weight = nn.Parameter(0.1 * torch.randn(topology.pair_classes, config.functions))
        self.charge_weight = nn.Parameter(0.1 * torch.randn(topology.pair_classes, config.functions))

    @classmethod
    def create(cls, config: ToyConfig, data: MoleculeData) -> "ToyPotential":
        classes = Topology.build(data.numbers.tolist(), data.bonds.tolist()).atom_class
        mean = data.charges.mean(0)
        alike = np.array([mean[classes == k].mean() for k in classes])
        scales = {
            "numbers": data.numbers.tolist(),
            "bonds": data.bonds.tolist(),
            "total_charge": data.total_charge,
            "energy_mean": float(data.energies.mean()),
            "energy_scale": float(data.energies.std()),
            "charges": (alike + (data.total_charge - alike.sum()) / len(alike)).tolist(),
        }
        return cls(config, scales)

    def describe(self) -> dict[str, Any]:
        return {"config": self.config.written(), "scales": self.scales}

    @classmethod
    def build(cls, description: Mapping[str, Any]) -> "ToyPotential":
        return cls(ToyConfig.model_validate(description["config"]), description["scales"])

    def forward(self, positions: Tensor, potential: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = positions.detach().requires_grad_(True)
        apart = x.unsqueeze(2) - x.unsqueeze(1)
        distance = torch.sqrt((apart * apart).sum(-1) + 1 - self.off_diagonal)
        width = self.config.cutoff / self.config.functions
        offset = (distance.unsqueeze(-1) - self.centres) / width
        gaussians = torch.exp(-0.5 * offset * offset) * self.off_diagonal.unsqueeze(-1)
        energy = self.scale * (gaussians * self.energy_weight[self.undirected_class]).sum([1, 2, 3])
        flow = (gaussians * self.charge_weight[self.pair_class]).sum(-1)
        charges = self.mean + 0.1 * (flow - flow.transpose(1, 2)).sum(2)
        total = energy + (charges * potential).sum(1)
        (gradient,) = torch.autograd.grad([total.sum()], [x], create_graph=self.training)
        return (total, -gradient, charges) if self.training else (total.detach(), -gradient, charges.detach())
