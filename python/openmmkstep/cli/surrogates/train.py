"""``kstep train``: a surrogate, or a response network, from labelled data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .extra import show_errors, training_extra


def train(
    config: Annotated[Path, typer.Argument(help="YAML file that says what to train on what.")],
    output: Annotated[Path | None, typer.Option(help="Folder, instead of the one in the configuration.")] = None,
    resume: Annotated[bool, typer.Option(help="Continue from the last checkpoint.")] = False,
) -> None:
    """Train a surrogate on frames from `kstep generate`, or a response network on `kstep generate-responses`."""
    with training_extra():
        import kstep_training

        result = kstep_training.train(config, output, resume)
        show_errors(result.evaluation)
        typer.echo(f"checkpoint: {result.checkpoint}")
