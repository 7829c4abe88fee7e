"""``kstep fit-regression``: an archive from some hundred labels, in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Parts = Literal["bonded", "kernel", "both"]


def fit_regression(
    frames: Annotated[list[Path], typer.Argument(help="HDF5 files of frames of one region.")],
    output: Annotated[Path, typer.Option(help="Archive for the plugin.")] = Path("regression.pt"),
    parts: Annotated[Parts | None, typer.Option(help="What is fitted; the best on held-out labels by default.")] = None,
    permutations: Annotated[int, typer.Option(min=1, help="Exchanges of like atoms that are used at most.")] = 12,
) -> None:
    """Fit bonds, angles, dihedrals and a kernel to the labels of a method, or to the difference of two."""
    from rich.console import Console

    from kstep_models.regression.exporting import fit_and_export

    console = Console()
    exported = fit_and_export(frames, output, parts, permutations, lambda text: console.print(text, highlight=False))
    result = exported.result
    best = result.errors[result.regression.parts]
    console.print(
        f"force error {best:.1f} meV/Å on held-out labels, of {result.size:.0f} without it; "
        f"{result.regression.labels} labels, {result.regression.parts}",
        highlight=False,
    )
    console.print(f"archive: {exported.archive.resolve()}", soft_wrap=True)
