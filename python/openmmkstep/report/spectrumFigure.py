"""The picture of ``kstep spectrum``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .style import BLUE, GREY, inStyle, newFigure, save


def drawSpectrum(results: dict[str, Any], path: Path) -> None:
    """Absorption over photon energy: every geometry thin, their mean with its standard error.

    Args:
        results: as written to JSON.
        path: PNG file.
    """
    energy = np.array(results["energy_eV"])
    mean, error = np.array(results["mean_per_eV"]), np.array(results["standardError_per_eV"])
    spectra = [np.array(geometry["strength_per_eV"]) for geometry in results["geometries"]]
    with inStyle():
        figure, axes = newFigure(7.0, 3.6)
        for spectrum in spectra if len(spectra) > 1 else []:
            axes.plot(energy, spectrum, color=GREY, linewidth=0.5, alpha=0.35)
        axes.plot(energy, mean, color=BLUE, label="mean" if len(spectra) > 1 else None)
        if len(spectra) > 1:
            label = "standard error of the mean"
            axes.fill_between(energy, mean - error, mean + error, color=BLUE, alpha=0.25, linewidth=0, label=label)
            axes.legend(loc="upper left")
        axes.set_xlim(energy[0], energy[-1])
        axes.set_ylim(bottom=min(0.0, 1.05 * float(mean.min())))
        axes.set_xlabel("photon energy, eV")
        axes.set_ylabel("dipole strength, 1/eV")
        count = f", {len(spectra)} geometries" if len(spectra) > 1 else ""
        axes.set_title(f"{results['molecule']}, {results['label']}{count}")
        save(figure, path)
