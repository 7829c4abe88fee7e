"""The Lightning module: one optimisation step, averaged weights, validation per kind of data."""

from __future__ import annotations

import copy
import logging
from typing import Any

import lightning
import torch
from torch import Tensor

from kstep_models.potential.interface import PotentialModel
from kstep_models.units import MEV_PER_ANGSTROM
from kstep_training.methods import POTENTIAL
from kstep_training.potential.checkpoint import VERSION
from kstep_training.potential.config import OptimizerSection
from kstep_training.potential.data import Batch
from kstep_training.potential.optimisation.budget import Budget, learning_rate
from kstep_training.potential.optimisation.losses import StepLoss, predict
from kstep_training.potential.optimisation.stability import StabilityMonitor

_LOG = logging.getLogger(__name__)


class PotentialModule(lightning.LightningModule):
    """Trains ``model`` and keeps ``average``, the moving average of its weights that is validated and exported.

    Args:
        model: the network, with initial weights.
        loss: see :func:`kstep_training.potential.optimisation.losses.make_loss`.
        options: of the optimiser.
        budget: decides the learning rate and the end.
        kinds: names of the validation sets, in the order of the validation loaders.
        description: whatever a checkpoint needs besides weights (:mod:`kstep_training.potential.checkpoint`).
    """

    def __init__(
        self,
        model: PotentialModel,
        loss: StepLoss,
        options: OptimizerSection,
        budget: Budget,
        kinds: list[str],
        description: dict[str, Any],
    ) -> None:
        super().__init__()
        self.model = model
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        self.history: list[dict[str, float]] = []
        self._loss = loss
        self._options = options
        self._budget = budget
        self._kinds = kinds
        self._description = description
        self._averaged: list[Tensor] = list(self.average.parameters())
        self._parts = torch.zeros(3)
        self._count = 0
        self._sums: dict[str, list[float]] = {}
        self._monitor = StabilityMonitor(options.skip_factor)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW; without weight decay, plain Adam."""
        options = self._options
        return torch.optim.AdamW(
            self.model.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay, fused=True
        )

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """One step; sets the rate first, because it depends on the time used."""
        options = self._options
        rate = learning_rate(
            options.learning_rate,
            options.final_fraction,
            options.warmup_steps,
            self.global_step,
            self._budget.progress(self.global_step),
        )
        for group in self.optimizers().param_groups:  # type: ignore[union-attr]
            group["lr"] = rate * self._monitor.rate_factor
        total, parts = self._loss(self.model, batch)
        if self._monitor.diverged(float(total.detach())):
            return self._roll_back()
        self._parts += parts
        self._count += 1
        return total

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient, and leave out a step whose gradient is far beyond the usual.

        One batch on which the network blows up would otherwise throw it off for good, at any clipped length.
        """
        norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), self._options.clip_norm))
        if self._monitor.is_outlier(norm):
            optimizer.zero_grad(set_to_none=True)

    def _roll_back(self) -> Tensor:
        """Return to the averaged weights with a lower rate; the loss returned changes nothing."""
        _LOG.warning(
            "The loss jumped at step %d: training goes back to the averaged weights, at %.2f of the learning rate.",
            self.global_step,
            self._monitor.rate_factor,
        )
        with torch.no_grad():
            for parameter, averaged in zip(self.model.parameters(), self._averaged, strict=True):
                parameter.copy_(averaged)
        self.optimizers().optimizer.state.clear()  # type: ignore[union-attr]
        return torch.stack([parameter.sum() for parameter in self.model.parameters()]).sum() * 0.0

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Average the weights; stop when the budget is used up."""
        step = self.global_step
        # Starts fast, so that the random initial weights are forgotten.
        decay = min(self._options.average, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._averaged, [p.detach() for p in self.model.parameters()], 1 - decay)
        if self._budget.progress(step) >= 1:
            self.trainer.should_stop = True

    def on_validation_epoch_start(self) -> None:
        """Forget the errors of the last validation."""
        self._sums = {kind: [0.0, 0.0, 0.0, 0.0] for kind in self._kinds}

    def validation_step(self, batch: Batch, index: int, dataloader_idx: int = 0) -> None:
        """Add up squared errors of the averaged weights."""
        with torch.enable_grad():
            energy, forces, charges = predict(self.average, batch)
        sums = self._sums[self._kinds[dataloader_idx]]
        size = len(batch.energy)
        sums[0] += size
        sums[1] += size * float((forces - batch.forces).square().mean())
        sums[2] += float((energy - batch.energy).abs().sum())
        sums[3] += size * float((charges - batch.charges).square().mean())

    def on_validation_epoch_end(self) -> None:
        """Append a record to the history."""
        if self.trainer.sanity_checking:
            return
        record = {"step": float(self.global_step), "seconds": self._budget.elapsed}
        if self._count:
            record["train_force_rmse_meV_per_A"] = float((self._parts[0] / self._count).sqrt()) * MEV_PER_ANGSTROM
        for kind, (size, force, energy, charge) in self._sums.items():
            record[f"{kind}_force_rmse_meV_per_A"] = (force / size) ** 0.5 * MEV_PER_ANGSTROM
            record[f"{kind}_energy_mae_kJ_per_mol"] = energy / size
            record[f"{kind}_charge_rmse_e"] = (charge / size) ** 0.5
        self._parts.zero_()
        self._count = 0
        self.history.append(record)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what a model is rebuilt from, the history and the time used."""
        checkpoint["format"], checkpoint["version"] = POTENTIAL.checkpoint_format, VERSION
        checkpoint["kstep"] = {**self._description, "history": self.history, "elapsed": self._budget.elapsed}
        checkpoint["kstep"]["stability"] = self._monitor.state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue history and clock."""
        self.history = list(checkpoint["kstep"]["history"])
        self._budget.start(float(checkpoint["kstep"]["elapsed"]))
        self._monitor.restore(checkpoint["kstep"]["stability"])
