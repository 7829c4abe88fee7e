"""Plots of the checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from openmmkstep.workflows.plot_style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, common_style, new_figure, save

_COLORS = (BLUE, ORANGE, GREEN, PURPLE, RED, GREY, "#0a3069", "#953800")


def plot_nve(results: dict[str, Any], path: Path) -> None:
    """Total energies over time and their drifts."""
    runs = {label: run for label, run in results["runs"].items() if "trace" in run}
    with common_style():
        figure, (left, right) = new_figure(11.0, 4.2, 1, 2, width_ratios=(1.5, 1))
        for color, (label, run) in zip(_COLORS * (1 + len(runs) // len(_COLORS)), runs.items(), strict=False):
            left.plot(run["trace"]["time_ps"], run["trace"]["energy_mev"], color=color, lw=0.9, label=label)
        half = results["kt_mev"] / 2
        left.axhspan(-half, half, color=GREY, alpha=0.12, lw=0, label="±kT/2")
        left.set_title("Total energy without thermostat")
        left.set_xlabel("time (ps)")
        left.set_ylabel("change (meV)")
        left.legend(fontsize=7.5, loc="upper left")
        labels = list(runs)
        drifts = [runs[label]["drift_mev_atom_ps"] for label in labels]
        colors = [_COLORS[index % len(_COLORS)] for index in range(len(labels))]
        right.barh(range(len(labels)), drifts, color=colors, height=0.6)
        right.set_yticks(range(len(labels)), labels, fontsize=8)
        right.invert_yaxis()
        right.axvline(0, color=GREY, lw=0.8)
        right.grid(axis="y", visible=False)
        right.set_title("Drift")
        right.set_xlabel("meV/atom/ps")
        save(figure, path)


def plot_temperature(results: dict[str, Any], path: Path) -> None:
    """Temperatures of the elements with two standard errors."""
    elements = results["elements"]
    with common_style():
        figure, axes = new_figure(5.5, 3.4)
        target = results["target_k"]
        axes.axhspan(0.99 * target, 1.01 * target, color=GREEN, alpha=0.12, lw=0, label="target ± 1 %")
        axes.axhline(target, color=GREEN, lw=1.0)
        means = [value["mean_k"] for value in elements.values()]
        errors = [2 * value["error_k"] for value in elements.values()]
        axes.errorbar(range(len(means)), means, yerr=errors, fmt="o", color=BLUE, capsize=4, label="mean ± 2 σ")
        axes.set_xticks(range(len(means)), list(elements))
        axes.set_ylabel("temperature (K)")
        axes.set_title(f"Temperature of each element, k = {results['k']}")
        axes.legend()
        save(figure, path)
