"""Notices when training runs away, and keeps single bad batches from causing it."""

from __future__ import annotations

import math
from collections.abc import Mapping

# A loss this many times the recent average is a divergence: batches of one size differ by factors of two or three.
_JUMP = 15.0
# So many in a row: one bad batch is no divergence, its gradient is left out anyway.
_PATIENCE = 5
# Steps before anything is judged, and weight of a step in the averages.
_SETTLE = 200
_WEIGHT = 0.01
# Learning rate after a divergence, relative to before.
_SLOWER = 0.7


class StabilityMonitor:
    """Running averages of loss and gradient norm.

    Args:
        skip_factor: a gradient with more than this many usual norms is an outlier.

    Attributes:
        rate_factor: what the learning rate is multiplied with; falls after every divergence.
    """

    def __init__(self, skip_factor: float) -> None:
        self.rate_factor = 1.0
        self._skip_factor = skip_factor
        self._loss = 0.0
        self._norm = 0.0
        self._losses = 0
        self._norms = 0
        self._jumps = 0

    def diverged(self, loss: float) -> bool:
        """Whether the loss has been out of proportion for several steps, or is no number; lowers the rate if so."""
        if not math.isfinite(loss) or (self._losses >= _SETTLE and loss > _JUMP * self._loss):
            self._jumps += 1
            if math.isfinite(loss) and self._jumps < _PATIENCE:
                return False
            self._jumps = 0
            self.rate_factor *= _SLOWER
            return True
        self._jumps = 0
        self._losses += 1
        self._loss += max(_WEIGHT, 1 / self._losses) * (loss - self._loss)
        return False

    def is_outlier(self, norm: float) -> bool:
        """Whether the norm of a gradient (before clipping) is far beyond the usual."""
        if not math.isfinite(norm):
            return True
        settled = self._norms >= _SETTLE
        outlier = settled and norm > self._skip_factor * self._norm
        # The usual norm may grow, but not at the pace of one outlier.
        seen = min(norm, 2 * self._norm) if settled else norm
        self._norms += 1
        self._norm += max(_WEIGHT, 1 / self._norms) * (seen - self._norm)
        return outlier

    def state(self) -> dict[str, float]:
        """For a checkpoint."""
        return {
            "rate_factor": self.rate_factor,
            "usual_loss": self._loss,
            "usual_norm": self._norm,
            "losses": self._losses,
            "norms": self._norms,
            "jumps": self._jumps,
        }

    def restore(self, state: Mapping[str, float]) -> None:
        """From a checkpoint."""
        self.rate_factor = float(state["rate_factor"])
        self._loss, self._norm = float(state["usual_loss"]), float(state["usual_norm"])
        self._losses, self._norms, self._jumps = int(state["losses"]), int(state["norms"]), int(state["jumps"])
