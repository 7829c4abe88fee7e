"""``kstep fit-bonded``: the cheapest level from gas-phase frames."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def fit_bonded(
    frames: Annotated[list[Path], typer.Argument(help="HDF5 files of gas-phase frames.")],
    output: Annotated[Path, typer.Option(help="JSON file for the bonded fit.")] = Path("base.json"),
    max_frames: Annotated[int, typer.Option("--max-frames", min=10, help="Frames are thinned to this number.")] = 3000,
) -> None:
    """Fit bonds, angles and dihedrals of the QM region to QM forces, in seconds; the base level."""
    from rich.console import Console

    from openmmkstep.surrogates.bonded_fit import fitting

    console = Console()
    result = fitting.fit_bonded(frames, max_frames, lambda text: console.print(text, highlight=False))
    result.model.write(output)
    held = "" if result.test_error is None else f", {result.test_error:.0f} on held-out trajectories"
    console.print(f"force error {result.train_error:.0f} meV/Å{held}; {result.frames} frames", highlight=False)
    console.print(f"bonded fit: {output.resolve()}", soft_wrap=True)
