"""The nonlinear part of a potential between anchors: how well each method knows it from the anchors so far."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from residual_series import Channels, Trajectory, water

from kstep_training.experimental.residual import ResidualModel, train_residual_model, windows
from openmmkstep.rttddft.reduction.polynomial_regression import PolynomialRegression
from openmmkstep.rttddft.reduction.reduced_hamiltonian import Reduction

RealArray = NDArray[np.float64]

STEPS = 600
CHANNELS = 8
HORIZONS = (16, 32, 64)
TRAINING_STEPS = 900
# Of reduced Hamiltonians.
TOLERANCES = (0.1, 0.03, 0.01)
# Of the linear part, which is taken off exactly.
LINEAR_WEIGHT = 1e-6
TEST = (0.03, (0.0, 0.0, 1.0))
TRAINING = ((0.02, (0.0, 0.0, 1.0)), (0.03, (0.0, 0.5, 1.0)))

Method = Callable[[int, int], RealArray]


def residual_study() -> tuple[dict[str, Any], dict[str, RealArray]]:
    """Errors, and series to draw."""
    test = water(*TEST, STEPS)
    training = [water(*settings, STEPS) for settings in TRAINING]
    return compared(test, training)


def compared(test: Trajectory, training: list[Trajectory]) -> tuple[dict[str, Any], dict[str, RealArray]]:
    """Errors of all methods for all horizons, and the leading channel of the longest."""
    channels = Channels.of(training, CHANNELS)
    unit = channels.residual_scale.max()
    truth = test.residuals @ channels.residual_modes.T
    inside = truth @ channels.residual_modes
    begin = time.process_time()
    torch.manual_seed(0)
    model = ResidualModel(CHANNELS, channels.density_modes.shape[0], 2).to(torch.float64)
    loss = train_residual_model(model, [channels.series(each) for each in training], HORIZONS, TRAINING_STEPS)
    seconds = time.process_time() - begin
    series = channels.series(test)
    errors: dict[str, dict[str, float]] = {}
    drawn: dict[str, RealArray] = {}
    for horizon in HORIZONS:
        anchors = range(horizon, len(truth) - horizon, horizon)
        steps = np.concatenate([np.arange(anchor + 1, anchor + horizon + 1) for anchor in anchors])
        with torch.no_grad():
            learned = model(windows(series, horizon, horizon)).numpy().reshape(-1, CHANNELS) * unit
        found = {
            "hold": np.concatenate([np.repeat(truth[[anchor]], horizon, 0) for anchor in anchors]),
            "linear extrapolation": np.concatenate([_line(truth, anchor, horizon, horizon) for anchor in anchors]),
            "linear extrapolation, two adjacent anchors": np.concatenate(
                [_line(truth, anchor, horizon, 1) for anchor in anchors]
            ),
            "Mamba with FiLM": learned,
            "regression": np.concatenate([_regression(test, anchor, horizon, []) for anchor in anchors])
            @ channels.residual_modes.T,
            "regression that knows the training": np.concatenate(
                [_regression(test, anchor, horizon, training) for anchor in anchors]
            )
            @ channels.residual_modes.T,
        }
        scale = np.linalg.norm(truth[steps])
        errors[str(horizon)] = {
            name: float(np.linalg.norm(values - truth[steps]) / scale) for name, values in found.items()
        }
        drawn = {"step": steps, "truth": truth[steps, 0], **{name: values[:, 0] for name, values in found.items()}}
    return {
        "steps": STEPS,
        "time_step": 0.2,
        "channels": CHANNELS,
        "test": TEST,
        "training": TRAINING,
        "residual_relative_to_potential": float(np.linalg.norm(test.residuals) / np.linalg.norm(test.potentials)),
        "largest_density_change": float(np.linalg.norm(test.changes, axis=1).max()),
        "outside_of_channels": float(np.linalg.norm(test.residuals - inside) / np.linalg.norm(test.residuals)),
        "training_loss": loss,
        "training_seconds": seconds,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "errors": errors,
        "regression_by_spacing": {str(spacing): _dense(test, spacing) for spacing in (4, 8, 16)},
        "anchors_where_new": [_where_new(test, tolerance) for tolerance in TOLERANCES],
    }, drawn


def _line(truth: RealArray, anchor: int, horizon: int, spacing: int) -> RealArray:
    slope = (truth[anchor] - truth[anchor - spacing]) / spacing
    return truth[anchor] + np.arange(1, horizon + 1)[:, None] * slope


def _regression(test: Trajectory, anchor: int, horizon: int, known: list[Trajectory]) -> RealArray:
    """Over the anchors so far, and those at the same distances in trajectories that are known."""
    regression = PolynomialRegression(Reduction().nonlinearity, LINEAR_WEIGHT)
    for trajectory, end in ((test, anchor + 1), *((each, len(each.changes)) for each in known)):
        for step in range(horizon, end, horizon):
            regression.add(trajectory.changes[step], trajectory.residuals[step])
    return np.stack([regression.predict(test.changes[anchor + step]).value for step in range(1, horizon + 1)])


def _dense(test: Trajectory, spacing: int) -> dict[str, float]:
    """Regression with nothing but anchors of the same trajectory, closer to each other."""
    anchors = range(spacing, len(test.changes) - spacing, spacing)
    found = np.concatenate([_regression(test, anchor, spacing, []) for anchor in anchors])
    truth = test.residuals[spacing + 1 : spacing + 1 + len(found)]
    return {"anchors": len(anchors), "error": float(np.linalg.norm(found - truth) / np.linalg.norm(truth))}


def _where_new(test: Trajectory, tolerance: float) -> dict[str, float]:
    """As a reduced Hamiltonian does it, without a prior: the whole potential, with anchors where the density is new."""
    regression = PolynomialRegression(Reduction().nonlinearity)
    largest, found = 1e-9, []
    for change, potential in zip(test.changes, test.potentials, strict=True):
        prediction = regression.predict(change)
        largest = max(largest, prediction.size)
        if prediction.deviation > tolerance * largest:
            regression.add(change, potential)
            prediction = regression.predict(change)
        found.append(prediction.value)
    error = np.linalg.norm(np.stack(found) - test.potentials) / np.linalg.norm(test.residuals)
    return {"tolerance": tolerance, "anchors": len(regression), "error": float(error)}
