"""The way to the start of production, and the density where a barostat acts."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kstep_models.units import GRAMS_PER_CM3
from openmmkstep.analysis.averages import block_average
from openmmkstep.workflows.plot_style import BLUE, GREY, ORANGE, new_figure


def box_summary(pressure: float | None, mass: float, series: dict[str, NDArray[np.float64]]) -> dict[str, Any] | None:
    """Volume and density of production at constant pressure; None at constant volume.

    Args:
        pressure: bar.
        mass: of the system, amu.
        series: with ``volume``, nm^3.
    """
    volume = series.get("volume", np.zeros(0))
    if pressure is None or len(volume) < 2:
        return None
    mean, density = block_average(volume), block_average(mass * GRAMS_PER_CM3 / volume)
    return {
        "pressure_bar": pressure,
        "volume_nm3": mean.mean,
        "volume_error_nm3": mean.error,
        "density_g_cm3": density.mean,
        "density_error_g_cm3": density.error,
    }


def plot_equilibration(series: dict[str, NDArray[np.float64]]) -> Figure | None:
    """Temperature, and density of a box, over the stages of the force field; None if there were none."""
    if len(series.get("time", ())) < 2:
        return None
    time, stage = series["time"], series["stage"]
    panels = [("Temperature", "K", series["temperature"], ORANGE)]
    if np.all(np.isfinite(series["density"])) and np.ptp(series["density"]) > 0:
        panels.append(("Density", "g/cm³", series["density"], BLUE))
    figure, grid = new_figure(8.0, 0.8 + 2.2 * len(panels), len(panels), 1, sharex=True, squeeze=False)
    for axes, (title, unit, values, color) in zip(grid.flat, panels, strict=True):
        axes.plot(time, values, color=color)
        for change in np.flatnonzero(np.diff(stage) > 0):
            axes.axvline(0.5 * (time[change] + time[change + 1]), color=GREY, ls="--", lw=0.8)
        axes.set_title(title)
        axes.set_ylabel(unit)
    grid.flat[-1].set_xlabel("time with the force field (ps)")
    return figure
