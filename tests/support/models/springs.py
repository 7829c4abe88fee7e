"""A surrogate for tests: springs between bonded atoms and next neighbours, exported as the plugin wants it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from openmm import app


class Springs(torch.nn.Module):
    """Harmonic pair potential, with no charges."""

    def __init__(self, pairs: torch.Tensor, lengths: torch.Tensor, constants: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("pairs", pairs)
        self.register_buffer("lengths", lengths)
        self.register_buffer("constants", constants)

    def forward(
        self, positions: torch.Tensor, potential: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Energy, forces [N,3] and charges [N]."""
        return self.springs(positions)

    def springs(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        first, second = self.pairs[0], self.pairs[1]
        difference = positions[first] - positions[second]
        distance = torch.sqrt((difference * difference).sum(1))
        stretch = distance - self.lengths
        energy = (0.5 * self.constants * stretch * stretch).sum()
        pull = (self.constants * stretch / distance).unsqueeze(1) * difference
        forces = torch.zeros_like(positions).index_add(0, first, -pull).index_add(0, second, pull)
        return energy, forces, torch.zeros_like(positions[:, 0])


class FickleSprings(Springs):
    """The same, but of one geometry in four it knows nothing, and of none near it."""

    def forward(
        self, positions: torch.Tensor, potential: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        energy, forces, charges = self.springs(positions)
        if bool(torch.remainder(positions.sum() * 1e4, 8.0) > 6.0):
            raise RuntimeError("nothing is known of this geometry")
        return energy, forces, charges


def write_springs(
    path: Path, topology: app.Topology, positions: Any, module_class: type[Springs] = Springs, **changes: Any
) -> Path:
    """Write an archive for a molecule; ``changes`` replace fields of its contract."""
    numbers = [atom.element.atomic_number for atom in topology.atoms()]
    bonds = {frozenset((a.index, b.index)) for a, b in topology.bonds()}
    pairs = dict.fromkeys(bonds, 250000.0)
    for first in bonds:
        for second in bonds:
            if len(first & second) == 1:
                pairs.setdefault(first ^ second, 60000.0)
    ordered = sorted(tuple(sorted(pair)) for pair in pairs)
    x = np.asarray(positions)
    module = module_class(
        torch.tensor(ordered).T.contiguous(),
        torch.tensor([float(np.linalg.norm(x[i] - x[j])) for i, j in ordered], dtype=torch.float64),
        torch.tensor([pairs[frozenset(pair)] for pair in ordered], dtype=torch.float64),
    )
    contract = {
        "contract": "kstep-model",
        "version": 1,
        "kind": "potential",
        "units": {"length": "nm", "time": "ps", "energy": "kJ/mol", "mass": "amu", "charge": "e"},
        "inputs": ["positions", "potential"],
        "outputs": ["energy", "forces", "charges"],
        "elements": sorted(set(numbers)),
        "atomic_numbers": numbers,
        "cutoff": 0.5,
        "dtype": "float64",
        "charge": 0,
        "multiplicity": 1,
        "level_of_theory": {"method": "gfn2-xtb"},
        "training_data": {"digest": "none"},
        "validation": {},
        "versions": {},
        **changes,
    }
    torch.jit.save(torch.jit.script(module), str(path), _extra_files={"contract.json": json.dumps(contract)})
    return path
