"""``kstep export``: the archive that the plugin loads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .extra import training_extra


def export(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of kstep train.")],
    path: Annotated[Path, typer.Argument(help="Archive to write, usually *.pt.")],
    dtype: Annotated[Literal["float32", "float64"], typer.Option(help="Precision of the network.")] = "float32",
    frames: Annotated[
        list[Path] | None, typer.Option(help="Frames for the stated errors; those of the training run if none.")
    ] = None,
) -> None:
    """Write the archive that TorchScriptForce loads, with its contract and a model card."""
    with training_extra():
        import kstep_training

        kstep_training.export(checkpoint, path, dtype, frames or None)
        typer.echo(f"archive: {path}")
