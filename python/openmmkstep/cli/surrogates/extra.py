"""Commands that need the training extra."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kstep_training.potential.evaluation import Evaluation
    from kstep_training.rttddft.evaluation import ResponseEvaluation

_MODULES = ("lightning", "kstep_training", "torchmetrics", "e3nn")


@contextmanager
def training_extra() -> Iterator[None]:
    """A missing module of the extra is an error that says how to get it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in _MODULES:
            raise ValueError(
                f"{error.name} is not installed: training needs the extra, pip install 'openmm-kstep[training]'"
            ) from error
        raise


def show_errors(evaluation: Evaluation | ResponseEvaluation) -> None:
    """Print a table of the errors of a model."""
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
