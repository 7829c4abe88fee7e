"""Plots of an evaluation and of a training run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray

from kstep_models.files import replaced_atomically
from kstep_models.units import MEV_PER_ANGSTROM

# Before pyplot, and without a display.
matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.figure import Figure

# Points in the scatter plot; more only make it slower and darker.
_MOST_POINTS = 5000


def plot_errors(
    path: Path, kind: str, forces: NDArray[Any], force_errors: NDArray[Any], energy_errors: NDArray[Any]
) -> None:
    """Predicted against reference forces, and histograms of force and energy errors.

    Args:
        path: the PNG to write.
        kind: for the title.
        forces: [T,n,3] kJ/mol/nm.
        force_errors: [T,n,3] kJ/mol/nm.
        energy_errors: [T] kJ/mol.
    """
    figure, axes = pyplot.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    force, error = forces.ravel() * MEV_PER_ANGSTROM / 1000, force_errors.ravel() * MEV_PER_ANGSTROM
    every = max(1, len(force) // _MOST_POINTS)
    axes[0].plot(force[::every], force[::every] + error[::every] / 1000, ".", markersize=2)
    bounds = [force.min(), force.max()]
    axes[0].plot(bounds, bounds, color="0.5", linewidth=0.8)
    axes[0].set(xlabel="reference force, eV/A", ylabel="model force, eV/A", title=f"{kind}: {len(forces)} frames")
    limit = np.quantile(np.abs(error), 0.999)
    axes[1].hist(error, bins=100, range=(-limit, limit))
    axes[1].set(xlabel="force error, meV/A", title=f"RMSE {np.sqrt(np.mean(error**2)):.1f} meV/A")
    axes[2].hist(energy_errors, bins=50)
    axes[2].set(xlabel="energy error, kJ/mol", title=f"MAE {np.abs(energy_errors).mean():.2f} kJ/mol")
    _save(figure, path)


def plot_history(path: Path, history: Sequence[dict[str, float]]) -> None:
    """Force errors over training time."""
    figure, axis = pyplot.subplots(figsize=(6, 3.6), layout="constrained")
    for kind in ("train", "gas", "embedded"):
        key = f"{kind}_force_rmse_meV_per_A"
        points = [(record["seconds"] / 60, record[key]) for record in history if key in record]
        if points:
            axis.semilogy(*zip(*points, strict=True), label=kind)
    axis.set(xlabel="training time, minutes", ylabel="force RMSE, meV/A")
    axis.legend()
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    with replaced_atomically(path) as partial:
        figure.savefig(partial, dpi=120)
    pyplot.close(figure)
