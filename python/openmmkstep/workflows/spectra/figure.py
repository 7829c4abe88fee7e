"""The picture of ``kstep spectrum``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from numpy.typing import NDArray

from openmmkstep.workflows.plot_style import BLUE, GREY, ORANGE, common_style, new_figure, save

# Geometries of a scan that all have their names in the picture.
_NAMED = 10


def draw_spectrum(results: dict[str, Any], path: Path) -> None:
    """Absorption over photon energy, of an ensemble or of the geometries of a scan.

    Args:
        results: as written to JSON.
        path: PNG file.
    """
    energy = np.array(results["energy_ev"])
    geometries = results["geometries"]
    with common_style():
        figure, axes = new_figure(7.0, 3.6)
        if results["configuration"]["kind"] == "scan" and len(geometries) > 1:
            lowest = _draw_scan(axes, energy, geometries)
        else:
            lowest = _draw_ensemble(axes, energy, results)
        axes.set_xlim(energy[0], energy[-1])
        axes.set_ylim(bottom=min(0.0, 1.05 * lowest))
        axes.set_xlabel("photon energy, eV")
        axes.set_ylabel("dipole strength, 1/eV")
        count = f", {len(geometries)} geometries" if len(geometries) > 1 else ""
        axes.set_title(f"{results['molecule']}, {results['label']}{count}")
        save(figure, path)


def _draw_ensemble(axes: Any, energy: NDArray[np.float64], results: dict[str, Any]) -> float:
    """Every geometry thin, their mean with its standard error. Returns the lowest value."""
    mean, error = np.array(results["mean_per_ev"]), np.array(results["standard_error_per_ev"])
    several = len(results["geometries"]) > 1
    for geometry in results["geometries"] if several else []:
        axes.plot(energy, geometry["strength_per_ev"], color=GREY, linewidth=0.5, alpha=0.35)
    axes.plot(energy, mean, color=BLUE, label="mean" if several else None)
    if several:
        label = "standard error of the mean"
        axes.fill_between(energy, mean - error, mean + error, color=BLUE, alpha=0.25, linewidth=0, label=label)
        axes.legend(loc="upper left")
    return float(mean.min())


def _draw_scan(axes: Any, energy: NDArray[np.float64], geometries: list[dict[str, Any]]) -> float:
    """Each geometry in a colour between that of the first and that of the last. Returns the lowest value."""
    colors = LinearSegmentedColormap.from_list("scan", [BLUE, GREY, ORANGE])(np.linspace(0.0, 1.0, len(geometries)))
    for color, geometry in zip(colors, geometries, strict=True):
        # Numbers of all would be longer than the picture where there are many.
        named = len(geometries) <= _NAMED or geometry in (geometries[0], geometries[-1])
        label = f"geometry {geometry['number']}" if named else None
        axes.plot(energy, geometry["strength_per_ev"], color=color, label=label)
    axes.legend(loc="upper left")
    return float(min(min(geometry["strength_per_ev"]) for geometry in geometries))
