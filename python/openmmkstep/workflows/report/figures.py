"""Plots of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter
from numpy.typing import NDArray

from openmmkstep.workflows.plot_style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, common_style, new_figure, save

from .box import plot_equilibration
from .energies import plot_energies
from .learning import plot_learning
from .run_data import BackboneTrace, RunData


def plot_run(data: RunData, folder: Path) -> dict[str, str]:
    """Write all plots for which there is data; returns name -> file name."""
    files = {}
    with common_style():
        figures: dict[str, Figure | None] = {
            "energy": _energy(data),
            "correction": _correction(data),
            "ramachandran": _ramachandran(data.backbone),
            "energies": plot_energies(data.energies),
            "equilibration": plot_equilibration(data.equilibration),
            "cost": _cost(data.summary["speed"]),
            "learning": plot_learning(data.summary["learning"]),
        }
        for name, figure in figures.items():
            if figure is not None:
                save(figure, folder / f"{name}.png")
                files[name] = f"{name}.png"
    return files


def _energy(data: RunData) -> Figure | None:
    series = data.series
    if data.summary["energy"] is None or data.summary["temperature"] is None:
        return None
    time = series["time"]
    total = series["total_energy"] - series["total_energy"][0]
    heat = series["heat"] - series["heat"][0]
    figure, (upper, middle, lower) = new_figure(8.0, 7.2, 3, 1, sharex=True)
    upper.plot(time, total, color=GREY, label="total energy")
    if np.any(heat != 0):
        upper.plot(time, heat, color=ORANGE, label="heat from the thermostat", lw=1.0)
    upper.set_title("Energy")
    upper.set_ylabel("change (kJ/mol)")
    upper.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0.1)
    _conserved(middle, time, series["cumulative_energy_error"], data.summary)
    _temperatures(lower, series, data.summary["temperature"])
    return figure


def _temperatures(axes: Any, series: dict[str, NDArray[np.float64]], summary: dict[str, Any]) -> None:
    time = series["time"]
    width = max(1, len(time) // 40)
    for name, label, color in (("region", "QM region", BLUE), ("rest", "rest", GREEN)):
        if summary[name] is None:
            continue
        temperature = series[f"{name}_temperature"]
        smooth = len(time) >= 3 * width
        axes.plot(time, temperature, color=color, alpha=0.3, lw=0.8, label=None if smooth else label)
        if smooth:
            shown = f"{label}, running mean"
            axes.plot(_smooth(time, width), _smooth(temperature, width), color=color, lw=1.8, label=shown)
    if summary["target_k"] is not None:
        axes.axhline(summary["target_k"], color=RED, ls="--", lw=1.0, label=f"target {summary['target_k']:g} K")
    axes.set_title("Temperature")
    axes.set_ylabel("K")
    axes.set_xlabel("time (ps)")
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, borderaxespad=0.1)


def _conserved(axes: Any, time: NDArray[np.float64], conserved: NDArray[np.float64], summary: dict[str, Any]) -> None:
    thermal = summary["temperature"]["kt_kj_mol"]
    axes.axhspan(-thermal / 4, thermal / 4, color=GREY, alpha=0.25, lw=0, label="±kT/4")
    axes.plot(time, conserved, color=GREEN, label="sum of errors")
    slope, error = (summary["energy"][f"conserved_drift{of}_kj_mol_ps"] for of in ("", "_error"))
    axes.plot(
        time,
        np.mean(conserved) + slope * (time - np.mean(time)),
        color=RED,
        ls="--",
        lw=1.0,
        label=f"drift {slope:+.2f}{'' if error is None else f' ± {error:.2f}'} kJ/mol/ps",
    )
    axes.set_title("Conserved quantity")
    axes.set_ylabel("change (kJ/mol)")
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, borderaxespad=0.1)


def _correction(data: RunData) -> Figure | None:
    series = data.series
    if len(series.get("time", ())) < 3 or not np.any(np.isfinite(series["correction_rms"])):
        return None
    figure, (left, right) = new_figure(8.0, 3.2, 1, 2, width_ratios=(2, 1))
    time, correction, largest = series["time"], series["correction_rms"], series["max_correction"]
    left.plot(time, largest, color=ORANGE, lw=0.8, alpha=0.7, label="largest on one atom")
    left.plot(time, correction, color=BLUE, label="RMS per coordinate")
    new = np.flatnonzero(np.diff(series["fallbacks"]) > 0)
    if len(new):
        left.plot(time[new + 1], correction[new + 1], "v", color=RED, label="step was redone")
    left.set_yscale("log")
    left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    left.yaxis.set_major_formatter(ScalarFormatter())
    left.yaxis.set_minor_formatter(NullFormatter())
    left.set_ylim(top=2.5 * float(np.nanmax(largest)))
    left.set_title("Correction F(QM) − F(surrogate)")
    left.set_xlabel("time (ps)")
    left.set_ylabel("kJ/mol/nm")
    left.legend(loc="upper right", fontsize=8)
    right.hist(series["energy_error"], bins=40, color=PURPLE, alpha=0.85)
    right.set_title("Energy error per step")
    right.set_xlabel("kJ/mol")
    right.set_ylabel("count")
    return figure


def _ramachandran(traces: list[BackboneTrace]) -> Figure | None:
    if not traces:
        return None
    columns = min(3, len(traces))
    rows = -(-len(traces) // columns)
    figure, grid = new_figure(4.6 * columns + 0.6, 4.2 * rows, rows, columns, squeeze=False)
    for axes, trace in zip(grid.flat, traces, strict=False):
        points = axes.scatter(trace.phi, trace.psi, c=trace.time, s=9, cmap="viridis", linewidths=0)
        axes.set_xlim(-180, 180)
        axes.set_ylim(-180, 180)
        axes.set_xticks(range(-180, 181, 60))
        axes.set_yticks(range(-180, 181, 60))
        axes.axhline(0, color=GREY, lw=0.6)
        axes.axvline(0, color=GREY, lw=0.6)
        axes.set_aspect("equal")
        axes.set_title(f"Ramachandran plot, {trace.residue}")
        axes.set_xlabel("φ (degrees)")
        axes.set_ylabel("ψ (degrees)")
        figure.colorbar(points, ax=axes, label="time (ps)", shrink=0.85)
    for axes in list(grid.flat)[len(traces) :]:
        axes.set_visible(False)
    return figure


def _cost(speed: dict[str, Any] | None) -> Figure | None:
    if speed is None:
        return None
    figure, axes = new_figure(8.0, 2.4)
    names = {"plain": f"plain QM dynamics, {1000 * speed['plain_step']:g} fs", "kstep": "k-step dynamics"}
    parts = {
        "qm": (BLUE, "QM"),
        "surrogate": (ORANGE, "surrogate"),
        "common": (GREEN, "MM"),
        "integrator": (GREY, "rest"),
    }
    for row, method in enumerate(names):
        left = 0.0
        scale = speed[method]["seconds_per_ps"] / sum(speed[method]["parts"].values())
        for part, (color, label) in parts.items():
            # Scaled to the median, because the parts are averages over all segments.
            width = speed[method]["parts"][part] * scale
            axes.barh(row, width, left=left, color=color, label=label if row == 0 else None, height=0.6)
            left += width
        axes.text(left, row, f"  {speed[method]['seconds_per_ps']:.2f} s/ps", va="center")
    axes.set_yticks(range(len(names)), list(names.values()))
    axes.invert_yaxis()
    axes.set_xlim(0, 1.16 * max(speed[method]["seconds_per_ps"] for method in names))
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("wall time per simulated ps (s)")
    axes.set_title(f"Cost: {speed['speed_up']:.2f} times faster")
    axes.legend(loc="lower right", fontsize=8)
    return figure


def _smooth(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    return np.convolve(values, np.ones(width) / width, mode="valid")
