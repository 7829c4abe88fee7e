"""Small TorchScript archives with contracts, made for tests."""

from __future__ import annotations

import io
import json
from typing import Any

import torch
from torch import Tensor


class PairEnergy(torch.nn.Module):
    """Springs between all atoms; only an energy."""

    def forward(self, positions: Tensor) -> Tensor:
        d = positions.unsqueeze(0) - positions.unsqueeze(1)
        r2 = (d * d).sum(-1)
        return 1000.0 * ((r2 - 0.02) ** 2).sum()


class PairEnergyAndForces(torch.nn.Module):
    """The same, with forces."""

    def __init__(self, stiffness: float = 1000.0) -> None:
        super().__init__()
        self.stiffness = stiffness

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        d = positions.unsqueeze(0) - positions.unsqueeze(1)
        r2 = (d * d).sum(-1)
        energy = self.stiffness * ((r2 - 0.02) ** 2).sum()
        forces = (8 * self.stiffness * (r2 - 0.02).unsqueeze(-1) * d).sum(1)
        return energy, forces


class Coupled(torch.nn.Module):
    """Springs, and charges that depend on the geometry, coupled to a potential."""

    def __init__(self, stiffness: float = 1000.0) -> None:
        super().__init__()
        self.stiffness = stiffness

    def forward(self, positions: Tensor, potential: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        x = positions.detach().requires_grad_(True)
        d = x.unsqueeze(0) - x.unsqueeze(1)
        r2 = (d * d).sum(-1)
        raw = torch.tanh(20 * r2.sum(1)) * torch.linspace(-1.0, 1.0, x.size(0), dtype=x.dtype)
        charges = raw - raw.mean()
        energy = self.stiffness * ((r2 - 0.02) ** 2).sum()
        if potential is not None:
            energy = energy + (charges * potential).sum()
        gradient = torch.autograd.grad([energy], [x])[0]
        if gradient is None:
            raise RuntimeError("no gradient")
        return energy.detach(), -gradient, charges.detach()


class Returns(torch.nn.Module):
    """Returns whatever it was given, to test what happens with nonsense."""

    def __init__(self, energy: float, forces: Tensor) -> None:
        super().__init__()
        self.energy = energy
        self.register_buffer("forces", forces)

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        return torch.tensor(self.energy, dtype=torch.float64), self.forces


class Raises(torch.nn.Module):
    """Fails in forward."""

    def forward(self, positions: Tensor) -> Tensor:
        if positions.size(0) > 0:
            raise RuntimeError("out of its depth")
        return positions.sum()


def contract(**changes: Any) -> dict[str, Any]:
    """A valid contract of a potential with energy and forces, with some fields changed (None removes one)."""
    document = {
        "contract": "kstep-model",
        "version": 1,
        "kind": "potential",
        "units": {"length": "nm", "time": "ps", "energy": "kJ/mol", "mass": "amu", "charge": "e"},
        "inputs": ["positions"],
        "outputs": ["energy", "forces"],
        "elements": [1, 6, 8],
        "atomic_numbers": None,
        "cutoff": 1.0,
        "dtype": "float64",
        "charge": 0,
        "multiplicity": 1,
    }
    document.update(changes)
    return {key: value for key, value in document.items() if value is not None or key == "atomic_numbers"}


def archive(module: torch.nn.Module, document: dict[str, Any] | str | None) -> bytes:
    """The bytes of an archive with a contract (None for no contract)."""
    stream = io.BytesIO()
    text = document if isinstance(document, str) else json.dumps(document)
    extra = {} if document is None else {"contract.json": text}
    torch.jit.save(torch.jit.script(module.eval()), stream, _extra_files=extra)
    return stream.getvalue()


COUPLED = {"inputs": ["positions", "potential"], "outputs": ["energy", "forces", "charges"]}
