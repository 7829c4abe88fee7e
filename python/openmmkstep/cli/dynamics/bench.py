"""``kstep bench``: speed beside plain QM dynamics and stock OpenMM."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..results import results_file

if TYPE_CHECKING:
    from rich.table import Table


def bench(
    config: Annotated[Path, typer.Argument(help="YAML file that says what to measure.")],
    output: Annotated[Path, typer.Option(help="JSON file for the results.")] = Path("bench.json"),
    repeats: Annotated[int | None, typer.Option(min=1, help="Instead of the number in the configuration.")] = None,
) -> None:
    """Measure the speed-up of k-step dynamics over plain QM dynamics and over stock OpenMM, interleaved in one run."""
    from kstep_models.configuration import load_config
    from openmmkstep.workflows.bench.benchmark import run_benchmark
    from openmmkstep.workflows.config.bench import BenchConfig

    settings = load_config(config, BenchConfig)
    if repeats is not None:
        settings = settings.model_copy(update={"repeats": repeats})
    with results_file(output) as results:
        values = run_benchmark(settings, results.log)
        results.write(values)
        for name, case in values["cases"].items():
            results.console.print(_table(name, case, values))


def _table(name: str, case: dict[str, Any], results: dict[str, Any]) -> Table:
    from rich.table import Table

    title = f"{name}: {case['particles']} particles, {case['method']}, k = {results['k']}"
    table = Table(title=title, caption="s/ps: wall seconds per simulated ps, median; parts: means")
    for column in ("method", "s/ps", "ns/day", "speed-up", "range", "QM", "surrogate", "MM", "rest", "QM calls/ps"):
        table.add_column(column, justify="left" if column == "method" else "right")
    for label, result in case["methods"].items():
        speed, parts = result["speed_up"], result["parts"]
        table.add_row(
            label,
            f"{result['seconds_per_ps']['median']:.2f}",
            f"{result['ns_per_day']:.3f}",
            f"{speed['median']:.2f}",
            f"{speed['lowest']:.2f}-{speed['highest']:.2f}",
            *(f"{parts[part]:.2f}" for part in ("qm", "surrogate", "common", "rest")),
            f"{result['qm_calls_per_ps']:.0f}",
        )
    return table
