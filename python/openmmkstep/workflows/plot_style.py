"""Looks of all plots."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from kstep_models.files import replaced_atomically

BLUE, ORANGE, GREEN, RED, GREY, PURPLE = "#1f6feb", "#e36209", "#2da44e", "#cf222e", "#6e7781", "#8250df"

_PARAMETERS: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#57606a",
    "axes.labelcolor": "#24292f",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "grid.color": "#d8dee4",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "xtick.color": "#57606a",
    "ytick.color": "#57606a",
}


def common_style() -> AbstractContextManager[None]:
    """Everything drawn inside has the common style."""
    return mpl.rc_context(_PARAMETERS)


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """A figure (inches) with its axes, without a window."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def save(figure: Figure, path: Path) -> None:
    """Write a PNG file."""
    with replaced_atomically(path) as partial:
        figure.savefig(partial, dpi=150, facecolor="white")
