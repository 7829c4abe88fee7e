"""``kstep train``, ``kstep evaluate`` and ``kstep export``: from frames to the archive that the plugin loads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .errors import report_errors

if TYPE_CHECKING:
    from kstep_training.potential.evaluation import Evaluation
    from kstep_training.rttddft.evaluation import ResponseEvaluation


@contextmanager
def _with_training() -> Iterator[None]:
    """Errors shown plainly, and a missing extra named."""
    with report_errors():
        try:
            yield
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] in ("lightning", "kstep_training", "torchmetrics", "e3nn"):
                raise ValueError(
                    f"{error.name} is not installed: training needs the extra, pip install 'openmm-kstep[training]'"
                ) from error
            raise


def train(
    config: Annotated[Path, typer.Argument(help="YAML file that says what to train on what.")],
    output: Annotated[Path | None, typer.Option(help="Folder, instead of the one in the configuration.")] = None,
    resume: Annotated[bool, typer.Option(help="Continue from the last checkpoint.")] = False,
) -> None:
    """Train a surrogate on frames from `kstep generate`, or a response network on `kstep generate-responses`."""
    with _with_training():
        import kstep_training

        result = kstep_training.train(config, output, resume)
        _show(result.evaluation)
        typer.echo(f"checkpoint: {result.checkpoint}")


def evaluate(
    model: Annotated[Path, typer.Argument(help="Checkpoint (.ckpt) or archive (.pt).")],
    frames: Annotated[list[Path], typer.Argument(help="HDF5 files of frames.")],
    output: Annotated[Path | None, typer.Option(help="Folder for JSON and plots.")] = None,
    subset: Annotated[
        Literal["test", "validation", "train", "all"], typer.Option(help="Which trajectories of the training files.")
    ] = "test",
) -> None:
    """Measure the errors of a surrogate on labelled frames."""
    with _with_training():
        import kstep_training

        _show(kstep_training.evaluate(model, frames, output, subset))


def export(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of kstep train.")],
    path: Annotated[Path, typer.Argument(help="Archive to write, usually *.pt.")],
    dtype: Annotated[Literal["float32", "float64"], typer.Option(help="Precision of the network.")] = "float32",
    frames: Annotated[
        list[Path] | None, typer.Option(help="Frames for the stated errors; those of the training run if none.")
    ] = None,
) -> None:
    """Write the archive that TorchScriptForce loads, with its contract and a model card."""
    with _with_training():
        import kstep_training

        kstep_training.export(checkpoint, path, dtype, frames or None)
        typer.echo(f"archive: {path}")


def _show(evaluation: Evaluation | ResponseEvaluation) -> None:
    from rich.console import Console
    from rich.table import Table

    results = evaluation.to_dict()
    # Of a surrogate, gas phase and embedded; of a response network, molecules.
    kinds = results.get("kinds") or results["molecules"]
    table = Table(title=f"errors on the {evaluation.subset} frames")
    values = [(key, value) for errors in kinds.values() for key, value in errors.items()]
    rows = sorted({key for key, value in values if isinstance(value, (int, float))})
    table.add_column("quantity")
    for kind in kinds:
        table.add_column(kind, justify="right")
    for row in rows:
        table.add_row(row, *(f"{errors[row]:.4g}" if errors.get(row) is not None else "" for errors in kinds.values()))
    Console().print(table)
