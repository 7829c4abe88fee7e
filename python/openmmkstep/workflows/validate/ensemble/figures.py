"""Plots of a check of ensembles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy import stats

from kstep_models.units import BOLTZMANN
from openmmkstep.analysis.ensemble.torsion_states import KJ_PER_KCAL
from openmmkstep.workflows.plot_style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, common_style, new_figure, save

from .analysis import ANGSTROM, AnalysedRun
from .check import EnsembleResults
from .rows import ELEMENT_PERCENT, MODE_PERCENT
from .sampling.runs import Kind

_KSTEP_COLORS = (BLUE, GREEN, PURPLE, RED, "#0a3069", "#953800")
_LARGEST_FREE_ENERGY = 6.0  # kcal/mol, beyond which nothing is sampled


def plot_ensemble(results: EnsembleResults, folder: Path) -> dict[str, str]:
    """Write all plots for which there is data; returns name -> file name."""
    plots: dict[str, Callable[[EnsembleResults], Figure | None]] = {
        "temperatures": _temperatures,
        "modes": _modes,
        "kinetic": _kinetic,
        "two_temperatures": _two_temperatures,
        "coordinates": _coordinates,
        "torsions": _torsions,
        "spectrum": _spectrum,
        "radial": _radial,
    }
    files = {}
    with common_style():
        for name, plot in plots.items():
            figure = plot(results)
            if figure is not None:
                save(figure, folder / f"{name}.png")
                files[name] = f"{name}.png"
    return files


def _styles(runs: list[AnalysedRun]) -> dict[str, dict[str, Any]]:
    """Plain runs grey, the surrogate orange, k-step runs in other colours."""
    styles: dict[str, dict[str, Any]] = {}
    kstep, plain = iter(_KSTEP_COLORS * len(runs)), iter(("-", "--") * len(runs))
    for item in runs:
        if item.run.kind is Kind.PLAIN:
            styles[item.run.name] = {"color": GREY, "ls": next(plain)}
        elif item.run.kind is Kind.SURROGATE:
            styles[item.run.name] = {"color": ORANGE, "ls": "-"}
        else:
            styles[item.run.name] = {"color": next(kstep), "ls": "-"}
    return styles


def _temperatures(results: EnsembleResults) -> Figure | None:
    runs = [item for item in results.at_target if item.kinetics is not None]
    if not runs:
        return None
    target, styles = results.config.temperature, _styles(runs)
    parts = [("elements", ELEMENT_PERCENT, "Each element")]
    if any(item.kinetics and item.kinetics.bands for item in runs):
        parts.append(("bands", MODE_PERCENT, "Normal modes, by wave number"))
    figure, grid = new_figure(4.6 * len(parts) + 0.6, 3.9, 1, len(parts), squeeze=False)
    for axes, (part, percent, title) in zip(grid.flat, parts, strict=True):
        names = list(getattr(runs[0].kinetics, part))
        axes.axhspan(
            (1 - percent / 100) * target,
            (1 + percent / 100) * target,
            color=GREEN,
            alpha=0.12,
            lw=0,
            label=f"target ± {percent:g} %",
        )
        for index, item in enumerate(runs):
            values = list(getattr(item.kinetics, part).values())
            shift = 0.6 * ((index + 0.5) / len(runs) - 0.5)
            axes.errorbar(
                np.arange(len(values)) + shift,
                [target * value.ratio for value in values],
                yerr=[2 * target * value.error for value in values],
                fmt="o",
                ms=4,
                capsize=2.5,
                color=styles[item.run.name]["color"],
                mfc="white" if styles[item.run.name]["ls"] == "--" else None,
                label=f"{item.run.label}, ± 2 σ" if index == 0 else item.run.label,
            )
        axes.set_xticks(range(len(names)), [name.replace(" cm⁻¹", "\ncm⁻¹") for name in names], fontsize=8.5)
        axes.set_ylabel("temperature (K)")
        axes.set_title(title)
    grid.flat[0].legend(fontsize=7.5)
    return figure


def _modes(results: EnsembleResults) -> Figure | None:
    modes = results.molecule.modes
    runs = [item for item in results.at_target if item.kinetics is not None and item.kinetics.modes]
    if modes is None or not runs:
        return None
    styles, target = _styles(runs), results.config.temperature
    figure, grid = new_figure(8.0, 0.7 + 1.5 * len(runs), len(runs), 1, sharex=True, sharey=True, squeeze=False)
    for axes, item in zip(grid.flat, runs, strict=True):
        assert item.kinetics is not None
        axes.axhspan(target * 0.95, target * 1.05, color=GREEN, alpha=0.12, lw=0)
        axes.axhline(target, color=GREEN, lw=0.8)
        axes.errorbar(
            modes.wave_numbers,
            [target * mode.ratio for mode in item.kinetics.modes],
            yerr=[2 * target * mode.error for mode in item.kinetics.modes],
            fmt="o",
            ms=3,
            lw=0.8,
            color=styles[item.run.name]["color"],
        )
        axes.set_title(item.run.label)
        axes.set_ylabel("K")
    grid.flat[-1].set_xlabel("wave number of the mode (cm⁻¹)")
    return figure


def _kinetic(results: EnsembleResults) -> Figure | None:
    runs = [item for item in results.at_target if item.kinetics is not None]
    if not runs:
        return None
    styles, kt = _styles(runs), BOLTZMANN * results.config.temperature
    expected = stats.gamma(1.5 * len(results.molecule.masses))
    low, high = expected.ppf((1e-4, 1 - 1e-4))
    edges = np.linspace(low, high, 41)
    middle = 0.5 * (edges[1:] + edges[:-1])
    figure, (left, right) = new_figure(9.0, 3.6, 1, 2)
    left.plot(middle, expected.pdf(middle), color=RED, lw=2.4, alpha=0.45, label="canonical ensemble")
    for item in runs:
        assert item.kinetics is not None
        values, style = item.kinetics.kinetic / kt, styles[item.run.name]
        left.plot(middle, np.histogram(values, edges, density=True)[0], label=item.run.label, **style)
        ordered = np.sort(values)
        shares = (np.arange(len(ordered)) + 0.5) / len(ordered)
        label = f"p = {item.kinetics.distribution.p_value:.2g}"
        right.plot(expected.cdf(ordered), shares - expected.cdf(ordered), label=label, **style)
    left.set_title("Kinetic energy of the QM region")
    left.set_xlabel("kinetic energy (kT)")
    left.set_ylabel("probability density")
    left.legend(fontsize=7.5)
    right.axhline(0, color=RED, lw=2.4, alpha=0.45)
    right.set_title("Difference of cumulative distributions")
    right.set_xlabel("cumulative probability of the canonical ensemble")
    right.legend(fontsize=7.5)
    return figure


def _two_temperatures(results: EnsembleResults) -> Figure | None:
    if not results.slopes:
        return None
    figure, grid = new_figure(4.6 * len(results.slopes) + 0.4, 3.6, 1, len(results.slopes), squeeze=False)
    for axes, (name, slope) in zip(grid.flat, results.slopes.items(), strict=True):
        first, second = results.runs[name], results.runs[f"{name}_second"]
        low, high = first.recording.potential, second.recording.potential
        edges = np.linspace(np.quantile(high, 0.01), np.quantile(low, 0.99), 17)
        if edges[-1] <= edges[0]:
            edges = np.linspace(low.min(), high.max(), 17)
        counts = np.array([np.histogram(values, edges)[0] for values in (low, high)], dtype=float)
        sizes = np.array([len(low), len(high)])
        worth = np.array(slope.effective_samples) / sizes
        shown = np.all(counts > 0, axis=0)
        middle = (0.5 * (edges[1:] + edges[:-1]))[shown]
        ratio = np.log(counts[1, shown] / sizes[1]) - np.log(counts[0, shown] / sizes[0])
        error = np.sqrt(1 / (counts[0, shown] * worth[0]) + 1 / (counts[1, shown] * worth[1]))
        zero = float(np.mean(low))
        axes.errorbar(middle - zero, ratio, yerr=2 * error, fmt="o", ms=4, color=BLUE, capsize=2.5, label="± 2 σ")
        weights = 1 / error**2
        centre, height = np.average(middle, weights=weights), np.average(ratio, weights=weights)
        for value, color, style, label in (
            (slope.expected, RED, "-", "expected"),
            (slope.slope, BLUE, "--", f"maximum likelihood, {slope.deviation:+.1f} σ"),
        ):
            axes.plot(middle - zero, height + value * (middle - centre), color=color, ls=style, label=label)
        axes.set_title(f"{first.run.label}: {first.run.temperature:g} and {second.run.temperature:g} K")
        axes.set_xlabel("potential energy, less its mean at the first (kJ/mol)")
        axes.set_ylabel("ln ratio of probabilities")
        axes.legend(fontsize=8)
    return figure


def _coordinates(results: EnsembleResults) -> Figure | None:
    runs = [item for item in results.at_target if item.structure is not None and item.structure.bonds is not None]
    if not runs:
        return None
    styles = _styles(results.at_target)
    figure, grid = new_figure(9.0, 6.4, 2, 2, width_ratios=(1, 1))
    for row, (name, title, unit, scale) in enumerate(
        (("bonds", "Bonds", "Å", ANGSTROM), ("angles", "Angles", "degrees", 1.0))
    ):
        left, right = grid[row]
        for index, item in enumerate(runs):
            errors, color = getattr(item.structure, name), styles[item.run.name]["color"]
            if errors is None:
                continue
            order = np.arange(len(errors.shifts)) + 0.6 * ((index + 0.5) / len(runs) - 0.5)
            fill = "white" if item.run.kind is Kind.PLAIN else None
            label = item.run.label + (" beside run 1" if item.run.kind is Kind.PLAIN else "")
            left.errorbar(
                order,
                scale * errors.shifts,
                yerr=2 * scale * errors.shift_errors,
                fmt="o",
                ms=3,
                lw=0.8,
                color=color,
                mfc=fill,
                label=label,
            )
            right.plot(order, errors.divergences, "o", ms=3.5, color=color, mfc=fill, label=label)
        left.axhline(0, color=GREY, lw=0.6)
        left.set_title(f"{title}: shift of the mean, ± 2 σ")
        left.set_ylabel(unit)
        right.set_title(f"{title}: Jensen-Shannon divergence")
        right.set_ylabel("bits")
        right.set_ylim(bottom=0)
        for axes in (left, right):
            axes.set_xlabel(f"{name[:-1]}, in the order of the topology")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    grid[0][1].legend(fontsize=7.5)
    return figure


def _torsions(results: EnsembleResults) -> Figure | None:
    runs = [item for item in results.at_target if item.shapes is not None and item.shapes.torsions.shape[1]]
    coordinates = results.molecule.coordinates
    chosen = [index for index, is_rotor in enumerate(coordinates.rotors) if not is_rotor]
    chosen = chosen or list(range(len(coordinates.torsions)))
    if not runs or not chosen:
        return None
    styles, columns = _styles(runs), min(3, len(chosen))
    rows = -(-len(chosen) // columns)
    edges = np.linspace(-180, 180, 37)
    middle, kt = 0.5 * (edges[1:] + edges[:-1]), BOLTZMANN * results.config.temperature / KJ_PER_KCAL
    figure, grid = new_figure(3.5 * columns + 0.4, 2.7 * rows + 0.3, rows, columns, squeeze=False)
    for axes, index in zip(grid.flat, chosen, strict=False):
        for item in runs:
            assert item.shapes is not None
            values = (item.shapes.torsions[:, index] + 180) % 360 - 180
            counts = np.histogram(values, edges)[0].astype(float)
            counts[counts == 0] = np.nan
            axes.plot(
                middle,
                -kt * np.log(counts / np.nanmax(counts)),
                marker="o",
                ms=2.5,
                label=item.run.label,
                **styles[item.run.name],
            )
        axes.set_title(coordinates.names[index])
        axes.set_xlim(-180, 180)
        axes.set_xticks(range(-180, 181, 90))
        axes.set_ylim(-0.15, min(axes.get_ylim()[1], _LARGEST_FREE_ENERGY))
    for axes in grid[:, 0]:
        axes.set_ylabel("free energy (kcal/mol)")
    for axes in list(grid.flat)[max(0, len(chosen) - columns) : len(chosen)]:
        axes.set_xlabel("degrees")
    for axes in list(grid.flat)[len(chosen) :]:
        axes.set_visible(False)
    grid.flat[0].legend(fontsize=7.5)
    return figure


def _spectrum(results: EnsembleResults) -> Figure | None:
    runs = [item for item in results.at_target if item.spectrum is not None]
    if not runs:
        return None
    styles = _styles(runs)
    figure, (upper, lower) = new_figure(9.0, 5.6, 2, 1, height_ratios=(2, 1), sharex=True)
    for item in runs:
        assert item.spectrum is not None
        shown = item.spectrum.wave_numbers <= 4200
        upper.plot(
            item.spectrum.wave_numbers[shown], item.spectrum.mean[shown], label=item.run.label, **styles[item.run.name]
        )
        known = [shift for shift in item.shifts if shift.shift is not None]
        if known:
            lower.errorbar(
                [shift.reference for shift in known],
                [shift.shift for shift in known],
                yerr=[2 * (shift.error or 0) for shift in known],
                fmt="o",
                ms=3.5,
                lw=0.9,
                color=styles[item.run.name]["color"],
                mfc="white" if item.run.kind is Kind.PLAIN else None,
            )
    upper.set_title("Spectrum of mass-weighted velocities")
    upper.set_ylabel("kJ/mol cm")
    upper.set_ylim(bottom=0)
    upper.legend(fontsize=8)
    for limit, first, last in ((5, 0, 2000), (10, 2000, 4200)):
        lower.fill_between([first, last], -limit, limit, color=GREEN, alpha=0.12, lw=0)
    lower.set_title("Shifts of peaks from plain QM dynamics, ± 2 σ")
    lower.set_ylabel("cm⁻¹")
    lower.set_ylim(-30, 30)
    lower.set_xlabel("wave number (cm⁻¹)")
    lower.set_xlim(0, 4200)
    return figure


def _radial(results: EnsembleResults) -> Figure | None:
    surroundings = results.molecule.surroundings
    runs = [item for item in results.at_target if item.radial]
    if surroundings is None or not runs:
        return None
    styles, elements = _styles(runs), list(runs[0].radial)
    columns = min(3, len(elements))
    rows = -(-len(elements) // columns)
    middle = 0.5 * (surroundings.edges[1:] + surroundings.edges[:-1])
    figure, grid = new_figure(3.5 * columns + 0.4, 2.7 * rows + 0.3, rows, columns, sharex=True, squeeze=False)
    for axes, element in zip(grid.flat, elements, strict=False):
        for item in runs:
            axes.plot(middle, item.radial[element], label=item.run.label, **styles[item.run.name])
        axes.axhline(1, color=GREY, lw=0.6)
        axes.set_title(f"Water oxygen around {element}")
        axes.set_ylabel("g(r)")
        axes.set_xlabel("r (nm)")
    for axes in list(grid.flat)[len(elements) :]:
        axes.set_visible(False)
    grid.flat[0].legend(fontsize=7.5)
    return figure
