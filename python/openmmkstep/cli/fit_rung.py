"""``kstep fit-rung``: the cheapest level of the ladder from gas-phase frames."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .errors import shown_plainly


def fit_rung(
    frames: Annotated[list[Path], typer.Argument(help="HDF5 files of gas-phase frames.")],
    output: Annotated[Path, typer.Option(help="JSON file for the fitted rung.")] = Path("rung.json"),
    max_frames: Annotated[int, typer.Option("--max-frames", min=10, help="Frames are thinned to this number.")] = 3000,
) -> None:
    """Fit bonds, angles and dihedrals of the QM region to QM forces, in seconds; the lowest rung of the ladder."""
    with shown_plainly():
        from rich.console import Console

        from openmmkstep.surrogates.bonded_fit import fitting

        console = Console()
        result = fitting.fit_rung(frames, max_frames, lambda text: console.print(text, highlight=False))
        result.model.write(output)
        held = "" if result.test_error is None else f", {result.test_error:.0f} on held-out trajectories"
        console.print(f"force error {result.train_error:.0f} meV/Å{held}; {result.frames} frames", highlight=False)
        console.print(f"rung: {output.resolve()}", soft_wrap=True)
