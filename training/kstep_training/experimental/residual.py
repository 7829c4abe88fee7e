"""A sequence model for what is left of a potential between two evaluations of it; an experiment, used nowhere.

Along a trajectory the change of the exchange-correlation potential, less its linear response, is known at anchors only,
where the functional was evaluated. The density is known at every step. The model predicts the channels of the residual
(components along the leading modes of other trajectories' residuals, which do not change when the molecule is turned
together with its modes) in between: Mamba over the steps from an anchor on, with FiLM by the strength of the field and
the size of the density's change. Several steps are one token (temporal bundling), in and out. Its output is a
correction to the value at the anchor, and zero before training.

How it compares with extrapolation and with regression over visited densities is in
``examples/electron_dynamics/ablations``; reduced Hamiltonians use the latter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kstep_models.experimental.mamba import FiLM, Mamba

RealArray = NDArray[np.float64]


@dataclass(frozen=True)
class ResidualSeries:
    """One trajectory of T steps, all channels in units of their root mean square over the training trajectories.

    Attributes:
        residual: K channels of the residual [T,K].
        density: D channels of the density's change [T,D].
        context: of each step [T,C].
    """

    residual: RealArray
    density: RealArray
    context: RealArray


@dataclass(frozen=True)
class Windows:
    """B pieces of trajectories between anchors, H steps from the first after an anchor on.

    Attributes:
        anchors: residual at the anchor and at that H steps before it [B,2,K].
        start: density at the anchor [B,D].
        density: [B,H,D].
        context: [B,H,C].
        residual: what is to be predicted [B,H,K].
    """

    anchors: Tensor
    start: Tensor
    density: Tensor
    context: Tensor
    residual: Tensor


def windows(series: ResidualSeries, horizon: int, stride: int) -> Windows:
    """All windows of a trajectory.

    Args:
        series: the trajectory.
        horizon: H.
        stride: steps between the anchors of two windows.

    Raises:
        ValueError: the trajectory is too short for one.
    """
    anchors = np.arange(horizon, len(series.residual) - horizon, stride)
    if not len(anchors):
        raise ValueError(f"a series of {len(series.residual)} steps has no window of twice {horizon}")
    steps = anchors[:, None] + np.arange(1, horizon + 1)
    parts = (
        np.stack([series.residual[anchors], series.residual[anchors - horizon]], 1),
        series.density[anchors],
        series.density[steps],
        series.context[steps],
        series.residual[steps],
    )
    return Windows(*(torch.as_tensor(part) for part in parts))


class ResidualModel(nn.Module):
    """See the module.

    Args:
        channels: K.
        densities: D.
        context: C.
        bundle: steps in one token.
        width: of the sequence model.
    """

    def __init__(self, channels: int, densities: int, context: int, bundle: int = 4, width: int = 48) -> None:
        super().__init__()
        self.channels, self.bundle = channels, bundle
        self.embed = nn.Sequential(
            nn.Linear((bundle + 1) * densities + 2 * channels + 1, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.before, self.after = FiLM(context, width), FiLM(context, width)
        self.norm = nn.LayerNorm(width)
        self.mamba = Mamba(width)
        last = nn.Linear(width, bundle * channels)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.readout = nn.Sequential(nn.Linear(width, width), nn.SiLU(), last)

    def forward(self, given: Windows) -> Tensor:
        """Residuals [B,H,K] from everything of the windows but the residual.

        Raises:
            ValueError: the horizon is no multiple of the bundle.
        """
        batch, horizon, _ = given.density.shape
        tokens, rest = divmod(horizon, self.bundle)
        if rest:
            raise ValueError(f"a horizon of {horizon} steps is no multiple of the bundle of {self.bundle}")
        known = torch.cat([given.anchors.flatten(1), given.start], 1).unsqueeze(1).expand(-1, tokens, -1)
        age = torch.linspace(0.0, 1.0, tokens, dtype=known.dtype).reshape(1, -1, 1).expand(batch, -1, -1)
        x = self.embed(torch.cat([given.density.reshape(batch, tokens, -1), known, age], 2))
        context = given.context[:, self.bundle - 1 :: self.bundle]
        x = self.before(x, context)
        x = x + self.after(self.mamba(self.norm(x)), context)
        return given.anchors[:, :1] + self.readout(x).reshape(batch, horizon, self.channels)


def scaled_loss(predicted: Tensor, given: Windows) -> Tensor:
    """Mean squared error in units of how far the residual moves from the anchor, the same for all horizons.

    Args:
        predicted: [B,H,K].
        given: the truth.
    """
    moved = (given.residual - given.anchors[:, :1]).square().mean()
    return (predicted - given.residual).square().mean() / moved.clamp(min=1e-12)


def train_residual_model(
    model: ResidualModel,
    training: Sequence[ResidualSeries],
    horizons: Sequence[int] = (16, 32, 64),
    steps: int = 600,
    learning_rate: float = 3e-3,
    batch: int = 32,
    seed: int = 0,
) -> float:
    """Train with a growing horizon; returns the last loss, smoothed.

    The first part of the steps is for the first horizon, the second for the first two in turn, and so on.

    Args:
        model: in double precision.
        training: trajectories.
        horizons: steps between anchors, ascending.
        steps: of Adam.
        learning_rate: at the start; falls to zero.
        batch: windows in a step.
        seed: of their choice.
    """
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    pieces = {
        horizon: [windows(series, horizon, 1) for series in training if len(series.residual) > 2 * horizon]
        for horizon in horizons
    }
    smoothed = float("nan")
    for step in range(steps):
        allowed = horizons[: 1 + step * len(horizons) // steps]
        candidates = pieces[allowed[step % len(allowed)]]
        whole = candidates[int(torch.randint(len(candidates), (1,), generator=generator))]
        chosen = torch.randint(len(whole.residual), (batch,), generator=generator)
        part = Windows(*(getattr(whole, name)[chosen] for name in Windows.__dataclass_fields__))
        loss = scaled_loss(model(part), part)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        value = float(loss.detach())
        smoothed = value if np.isnan(smoothed) else 0.98 * smoothed + 0.02 * value
    return smoothed
