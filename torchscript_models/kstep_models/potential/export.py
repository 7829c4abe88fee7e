"""From a trained potential to an archive for the plugin, with checks before anything is written.

The derivative is worked out at export: energy, forces and charges are traced into one graph of plain tensor operations,
which TorchScript then runs without its autograd. That is about 2.5 times faster for small molecules than
differentiating at run time, and the archive works whatever the caller's gradient mode.
"""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from kstep_models.archive import DTYPES, ExportError, check_target, load_archive, write_archive
from kstep_models.contract import ContractError
from kstep_models.potential.contract import PotentialContract
from kstep_models.potential.interface import PotentialModel

__all__ = ["ExportChecks", "ExportError", "ExportedPotential", "compile_graph", "export", "load"]

# Relative to the largest force component. Central differences of a double-precision energy reach about 1e-8.
_FINITE_DIFFERENCE_TOLERANCE = 1e-6
_EAGER_TOLERANCE = 1e-9
_SINGLE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class ExportChecks:
    """Largest deviations found at export, relative to the largest force component.

    Attributes:
        finite_difference: double-precision exported forces against central differences of the exported energy.
        eager: double-precision exported forces against the model run eagerly.
        precision: forces of the archive as written against double precision (0 for a float64 archive).
    """

    finite_difference: float
    eager: float
    precision: float


class ExportedPotential(nn.Module):
    """Calling convention of the archive around the traced graph."""

    def __init__(self, graph: nn.Module, atoms: int) -> None:
        super().__init__()
        self.graph = graph
        self.atoms = atoms

    # Optional[...]: TorchScript does not know the newer spelling.
    def forward(
        self,
        positions: Tensor,
        potential: Optional[Tensor] = None,  # noqa: UP045
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Energy [] (kJ/mol), forces [N,3] at fixed potential (kJ/mol/nm) and charges dU/dphi [N] (e).

        Args:
            positions: [N,3] nm.
            potential: of the environment at the atoms [N], kJ/mol/e; None is vacuum.
        """
        if positions.size(0) != self.atoms:
            raise ValueError("this model is for another number of atoms")
        x = positions.detach().to(torch.float64)
        if potential is None:
            phi = torch.zeros([self.atoms], dtype=torch.float64, device=x.device)
        else:
            phi = potential.detach().to(torch.float64)
        energy, forces, charges = self.graph(x, phi)
        return energy, forces, charges


def export(
    model: PotentialModel,
    contract: PotentialContract,
    path: str | os.PathLike[str],
    positions: NDArray[np.float64],
) -> ExportChecks:
    """Check the model and write its archive, atomically.

    Args:
        model: the trained potential.
        contract: what the archive promises; ``dtype`` decides the precision it computes in.
        path: the archive to write, usually ``*.pt``.
        positions: a few typical geometries [T,N,3] in nm, T >= 1, on which the exported module is checked.

    Returns:
        the deviations found.

    Raises:
        ContractError: the contract is not for this model.
        ExportError: the exported module deviates; nothing is written.
    """
    contract.check_atoms(model.numbers.tolist())
    total_charge = float(model.total_charge)
    # Two methods give the region the same charge, so that their difference has none.
    expected = 0 if "minus" in contract.level_of_theory else contract.charge
    if expected != round(total_charge):
        raise ContractError(f"contract says charge {expected}, the model has {total_charge:g}")
    check_target(path)
    double = compile_graph(model, torch.float64)
    written = double if contract.dtype == "float64" else compile_graph(model, DTYPES[contract.dtype])
    checks = _checked(model, double, written, np.asarray(positions, dtype=np.float64))

    write_archive(written, contract, path)
    return checks


def compile_graph(model: PotentialModel, dtype: torch.dtype) -> Any:
    """The scripted module as it goes into the archive, computing in ``dtype``."""
    network = copy.deepcopy(model).to(dtype).eval().requires_grad_(False)
    mean = network.energy_mean

    def evaluate(positions: Tensor, potential: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        # Centred in double precision first, so that single precision does not lose digits to where the molecule is.
        x = (positions - positions.mean(0, keepdim=True)).to(dtype).unsqueeze(0)
        energy, forces, charges = network(x, potential.to(dtype).unsqueeze(0))
        return (
            energy.to(torch.float64).sum() + mean,
            forces.squeeze(0).to(torch.float64),
            charges.squeeze(0).to(torch.float64),
        )

    atoms = network.atoms
    example = (torch.randn(atoms, 3, dtype=torch.float64), torch.randn(atoms, dtype=torch.float64))
    with warnings.catch_warnings():
        # TorchScript is the format the contract prescribes; its deprecation is known.
        warnings.simplefilter("ignore")
        graph = make_fx(evaluate)(*example)
        with torch.no_grad():
            traced = torch.jit.trace(graph, example, check_trace=False)
            return torch.jit.freeze(torch.jit.script(ExportedPotential(traced, atoms).eval()))


def load(path: str | os.PathLike[str]) -> tuple[Callable[..., tuple[Tensor, Tensor, Tensor]], PotentialContract]:
    """An archive of a potential for use from Python: the module (called as in the contract) and its contract.

    Raises:
        ContractError: see :func:`kstep_models.archive.load_archive`.
    """
    return load_archive(path, PotentialContract)


def _checked(model: PotentialModel, double: Any, written: Any, positions: NDArray[np.float64]) -> ExportChecks:
    if positions.ndim != 3 or positions.shape[1:] != (model.atoms, 3) or len(positions) == 0:
        raise ExportError(f"checking needs geometries [T,{model.atoms},3], got shape {list(positions.shape)}")
    reference = copy.deepcopy(model).to(torch.float64).eval().requires_grad_(False)
    # An uneven potential of realistic size, so that charge derivatives count.
    potential = torch.linspace(-200, 200, model.atoms, dtype=torch.float64)[torch.randperm(model.atoms)]
    deviations: dict[str, list[Tensor]] = {"finite_difference": [], "eager": [], "precision": []}
    for geometry in positions[:3]:
        x = torch.as_tensor(geometry)
        _, forces, charges = double(x, potential)
        scale = float(forces.abs().max())
        with torch.enable_grad():
            _, expected, expected_charges = reference(x.unsqueeze(0), potential.unsqueeze(0))
        deviations["eager"] += [(forces - expected[0]).abs().max() / scale, (charges - expected_charges[0]).abs().max()]
        deviations["finite_difference"].append((_differences(double, x, potential) - forces).abs().max() / scale)
        deviations["precision"].append((written(x, potential)[1] - forces).abs().max() / scale)
    # Of tensors, because their maximum is NaN if one of them is.
    checks = ExportChecks(**{name: float(torch.stack(values).max()) for name, values in deviations.items()})
    for name, value, limit in (
        ("finite differences of its energy", checks.finite_difference, _FINITE_DIFFERENCE_TOLERANCE),
        ("the model run eagerly", checks.eager, _EAGER_TOLERANCE),
        ("its double-precision version", checks.precision, _SINGLE_TOLERANCE),
    ):
        # "not <=" so that a NaN is refused too.
        if not value <= limit:
            raise ExportError(f"exported forces deviate by {value:.1e} (relative) from {name}, allowed is {limit:.0e}")
    return checks


def _differences(module: Any, x: Tensor, potential: Tensor) -> Tensor:
    """Forces by central differences of fourth order [N,3]."""
    step = 2e-5
    forces = torch.zeros_like(x)
    for atom in range(x.size(0)):
        for axis in range(3):
            values = []
            for shift in (-2, -1, 1, 2):
                moved = x.clone()
                moved[atom, axis] += shift * step
                values.append(module(moved, potential)[0])
            forces[atom, axis] = -(values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
    return forces
