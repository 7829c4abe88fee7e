"""The sequence model for residuals between anchors: windows, causality, and that it learns what can be learned."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kstep_training.experimental.residual import (
    ResidualModel,
    ResidualSeries,
    Windows,
    scaled_loss,
    train_residual_model,
    windows,
)


def series(length: int = 120, seed: int = 0) -> ResidualSeries:
    """Densities that oscillate, and the squares of them as residuals."""
    generator = np.random.default_rng(seed)
    time = np.arange(length)[:, None]
    density = np.sin(np.array([0.2, 0.31]) * time + generator.uniform(0, 6, 2))
    residual = np.stack([density[:, 0] ** 2, density[:, 0] * density[:, 1]], 1)
    return ResidualSeries(residual, density, np.linalg.norm(density, axis=1)[:, None])


def model(seed: int = 0) -> ResidualModel:
    torch.manual_seed(seed)
    return ResidualModel(2, 2, 1, bundle=4, width=16).double()


def test_windows_lie_between_anchors() -> None:
    own = series(60)
    found = windows(own, 16, 5)
    for index, anchor in enumerate(range(16, 44, 5)):
        np.testing.assert_array_equal(found.anchors[index], own.residual[[anchor, anchor - 16]])
        np.testing.assert_array_equal(found.start[index], own.density[anchor])
        for name in ("density", "context", "residual"):
            expected = getattr(own, name)[anchor + 1 : anchor + 17]
            np.testing.assert_array_equal(getattr(found, name)[index], expected)
    assert len(found.residual) == 6
    with pytest.raises(ValueError, match="no window"):
        windows(own, 32, 1)


def test_untrained_model_holds_the_anchor() -> None:
    given = windows(series(), 16, 16)
    found = model()(given)
    np.testing.assert_allclose(found.detach(), given.anchors[:, :1].expand_as(found))
    assert float(scaled_loss(found, given).detach()) == pytest.approx(1.0)


def test_model_does_not_look_ahead_of_a_bundle() -> None:
    own = model()
    with torch.no_grad():
        for parameter in own.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)).double())
    given = windows(series(), 16, 16)
    density = given.density.clone()
    density[:, 8:] += 1.0
    changed = Windows(given.anchors, given.start, density, given.context, given.residual)
    before, after = own(given).detach(), own(changed).detach()
    np.testing.assert_array_equal(before[:, :8], after[:, :8])
    assert float((before[:, 8:] - after[:, 8:]).abs().min()) > 0
    with pytest.raises(ValueError, match="multiple"):
        own(windows(series(), 18, 16))


def test_training_beats_holding_at_all_horizons_on_another_series() -> None:
    own = model()
    train_residual_model(own, [series(seed=1), series(seed=2)], (8, 16), steps=250, learning_rate=1e-2)
    for horizon in (8, 16):
        given = windows(series(seed=3), horizon, horizon)
        assert float(scaled_loss(own(given), given).detach()) < 0.3
