"""What the potential energy is made of, over production."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from openmmkstep.analysis.averages import block_average
from openmmkstep.workflows.plot_style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, new_figure

_NO_PARTS = ("step", "time")
_TITLES = {
    "qm": "QM region in its field",
    "qm_coulomb": "of it, its charges in the field",
    "qm_vacuum": "of it, in vacuum",
    "permanent_coulomb": "of it, density of vacuum in the field",
    "polarisation": "of it, polarisation",
    "lennard_jones": "Lennard-Jones, region with surroundings",
    "long_range": "force-field charges of the region beyond the embedding",
    "mm_nonbonded": "nonbonded, surroundings",
    "potential_energy": "sum",
}
# Parts that are large and say little of the region stay in the table.
_OF_THE_REGION = {
    "qm": BLUE,
    "qm_coulomb": ORANGE,
    "polarisation": RED,
    "lennard_jones": GREEN,
    "long_range": PURPLE,
}


def energy_parts(series: dict[str, NDArray[np.float64]]) -> dict[str, dict[str, float]] | None:
    """Mean, its error and the standard deviation of each part, kJ/mol; None without a table of at least two lines.

    Args:
        series: column name -> values, of an EnergyReporter.
    """
    if len(series.get("time", ())) < 2:
        return None
    parts = {}
    for name, values in series.items():
        # A level that failed somewhere has no mean.
        if name not in _NO_PARTS and np.all(np.isfinite(values)):
            average = block_average(values)
            parts[name] = {
                "mean_kj_mol": average.mean,
                "error_kj_mol": average.error,
                "standard_deviation_kj_mol": float(np.std(values)),
            }
    return parts


def shown_parts(parts: dict[str, dict[str, float]]) -> list[tuple[str, str]]:
    """Rows of a table for people."""
    return [
        (
            _TITLES.get(name, name.replace("_", " ")),
            f"{part['mean_kj_mol']:.2f} ± {part['error_kj_mol']:.2f}, "
            f"standard deviation {part['standard_deviation_kj_mol']:.2f} kJ/mol",
        )
        for name, part in parts.items()
    ]


def plot_energies(series: dict[str, NDArray[np.float64]]) -> Figure | None:
    """The parts that the region takes part in, each less its mean."""
    shown = [name for name in _OF_THE_REGION if name in series and np.ptp(series[name]) > 0]
    if len(series.get("time", ())) < 3 or not shown:
        return None
    figure, grid = new_figure(8.0, 0.6 + 1.5 * len(shown), len(shown), 1, sharex=True, squeeze=False)
    for axes, name in zip(grid.flat, shown, strict=True):
        values: Any = series[name]
        axes.plot(series["time"], values - values.mean(), color=_OF_THE_REGION[name])
        axes.axhline(0, color=GREY, lw=0.6)
        axes.set_title(f"{_TITLES[name]}: {values.mean():.1f} kJ/mol")
        axes.set_ylabel("Δ (kJ/mol)")
    grid.flat[-1].set_xlabel("time (ps)")
    return figure
