"""The training loss, uncompiled and as one compiled step."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from kstep_models.potential.interface import PotentialModel
from kstep_training.potential.config import LossSection
from kstep_training.potential.data import Batch

_LOG = logging.getLogger(__name__)
# Charges are of interest to about this accuracy (e).
_CHARGE_SCALE = 0.01

StepLoss = Callable[[PotentialModel, Batch], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Scales:
    """Natural sizes of the labels: kJ/mol/nm and kJ/mol."""

    force: float
    energy: float

    @classmethod
    def measure(cls, frames: Batch) -> Scales:
        """RMS force and standard deviation of the energy over the training frames."""
        spread = float(frames.energy.std()) if len(frames.energy) > 1 else 1.0
        return cls(max(float(frames.forces.square().mean().sqrt()), 1.0), max(spread, 1.0))


def predict(model: PotentialModel, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Energy [B], forces [B,n,3] at fixed environment charges, charges dU/dphi [B,n].

    The model's forces are at fixed potential; when an atom moves, it also sees another potential, hence -q grad(phi).
    """
    energy, forces, charges = model(batch.positions, batch.potential)
    return energy, forces - charges.unsqueeze(-1) * batch.potential_gradient, charges


class PotentialLoss:
    """Weighted sum of mean squared errors, each over its squared scale."""

    def __init__(self, weights: LossSection, scales: Scales) -> None:
        self._weights = weights
        self._scales = scales

    def __call__(self, model: PotentialModel, batch: Batch) -> tuple[Tensor, Tensor]:
        """Loss [] and its parts [3]: mean squared errors of forces, energy and charges, in their units."""
        energy, forces, charges = predict(model, batch)
        parts = torch.stack(
            [
                (forces - batch.forces).square().mean(),
                (energy - batch.energy).square().mean(),
                (charges - batch.charges).square().mean(),
            ]
        )
        weights, scales = self._weights, self._scales
        factors = [
            weights.forces / scales.force**2,
            weights.energy / scales.energy**2,
            weights.charges / _CHARGE_SCALE**2,
        ]
        return parts[0] * factors[0] + parts[1] * factors[1] + parts[2] * factors[2], parts.detach()


class CompiledLoss:
    """A loss whose forward pass and gradients with respect to the weights are one compiled function.

    Forces are a derivative, so their loss needs second derivatives, which torch.compile does not differentiate itself.
    Here the whole step, gradients included, is traced into plain operations first and then compiled. Two to three times
    faster for small molecules.

    Args:
        loss: what to compile.
        model: example of the model; only its structure is kept.
        batch: example batch; every later one must have its shapes.
    """

    def __init__(self, loss: PotentialLoss, model: PotentialModel, batch: Batch) -> None:
        self._names = [name for name, _ in model.named_parameters()]
        buffers = {name: value.detach() for name, value in model.named_buffers()}
        wrapped = _LossModule(loss, model)

        def step(parameters: list[Tensor], tensors: list[Tensor]) -> tuple[Tensor, Tensor, list[Tensor]]:
            values = {f"model.{n}": p for n, p in zip(self._names, parameters, strict=True)}
            values.update({f"model.{n}": b for n, b in buffers.items()})
            total, parts = torch.func.functional_call(wrapped, values, (tensors,))
            gradients = torch.autograd.grad(total, parameters, allow_unused=True)
            return (
                total.detach(),
                parts,
                [torch.zeros_like(p) if g is None else g for g, p in zip(gradients, parameters, strict=True)],
            )

        example = [p.detach().clone().requires_grad_(True) for p in model.parameters()]
        graph = make_fx(step)(example, list(batch))
        self._step = torch.compile(graph, fullgraph=True, dynamic=False)
        # Compile now rather than in the first step, so that failures surface where they can be handled.
        with torch.no_grad():
            self._step([p.detach() for p in example], list(batch))

    def __call__(self, model: PotentialModel, batch: Batch) -> tuple[Tensor, Tensor]:
        """As :class:`PotentialLoss`."""
        total, parts = _Precomputed.apply(self._step, list(batch), *model.parameters())
        return total, parts


def make_loss(weights: LossSection, scales: Scales, compilation: str, model: PotentialModel, batch: Batch) -> StepLoss:
    """The loss to train with.

    Args:
        weights: of the parts.
        scales: of the labels.
        compilation: "on", "off", or "auto", which falls back to "off" with a warning.
        model: example for compilation.
        batch: example for compilation.

    Raises:
        RuntimeError: compilation is "on" and fails.
    """
    loss = PotentialLoss(weights, scales)
    if compilation == "off":
        return loss
    try:
        return CompiledLoss(loss, model, batch)
    # torch.compile fails in many ways (no compiler, unsupported platform), with types of its own for most.
    except Exception as error:
        if compilation == "on":
            raise RuntimeError(
                f"the training step cannot be compiled ({error}): install a C++ compiler, or say compile: off"
            ) from error
        _LOG.warning("The training step cannot be compiled (%s); training goes on uncompiled, 2-3 times slower.", error)
        return loss


class _LossModule(torch.nn.Module):
    """The loss as a module of the model's parameters, which functional_call can replace."""

    def __init__(self, loss: PotentialLoss, model: PotentialModel) -> None:
        super().__init__()
        self.loss = loss
        self.model = model

    def forward(self, tensors: list[Tensor]) -> tuple[Tensor, Tensor]:
        return self.loss(self.model, Batch(*tensors))


class _Precomputed(torch.autograd.Function):
    """Hands gradients that are known already to autograd."""

    @staticmethod
    def forward(ctx: Any, step: Any, batch: list[Tensor], *parameters: Tensor) -> tuple[Tensor, Tensor]:
        total, parts, gradients = step([p.detach() for p in parameters], batch)
        ctx.save_for_backward(*gradients)
        ctx.mark_non_differentiable(parts)
        return total, parts

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *(outputs[0] * gradient for gradient in ctx.saved_tensors)
