"""``kstep evaluate``: errors of a model on labelled data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .extra import show_errors, training_extra


def evaluate(
    model: Annotated[Path, typer.Argument(help="Checkpoint (.ckpt) or archive (.pt).")],
    frames: Annotated[list[Path], typer.Argument(help="HDF5 files of frames.")],
    output: Annotated[Path | None, typer.Option(help="Folder for JSON and plots.")] = None,
    subset: Annotated[
        Literal["test", "validation", "train", "all"], typer.Option(help="Which trajectories of the training files.")
    ] = "test",
) -> None:
    """Measure the errors of a surrogate on labelled frames."""
    with training_extra():
        import kstep_training

        show_errors(kstep_training.evaluate(model, frames, output, subset))
