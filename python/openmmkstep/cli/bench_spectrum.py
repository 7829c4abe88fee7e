"""``kstep bench-spectrum``: electron dynamics with the reduction beside the reference and other methods."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import wideConsole
from .errors import shownPlainly

if TYPE_CHECKING:
    from rich.table import Table


def benchSpectrum(
    config: Annotated[Path, typer.Argument(help="YAML file that says what to measure.")],
    output: Annotated[Path, typer.Option(help="JSON file for the results.")] = Path("bench_spectrum.json"),
) -> None:
    """Measure what the reduction of electron dynamics saves and costs in accuracy, beside other methods."""
    with shownPlainly():
        from openmmkstep.io.atomic import writeAtomically
        from openmmkstep.rttddft import ConvergenceError
        from openmmkstep.workflows.config.bench_spectrum import SpectrumBenchConfig
        from openmmkstep.workflows.config.loading import loadConfig
        from openmmkstep.workflows.spectra.bench.benchmark import runSpectrumBenchmark

        settings = loadConfig(config, SpectrumBenchConfig)
        if not output.parent.is_dir():
            raise ValueError(f"{output.parent} is not a folder: create it, or choose another --output")
        console = wideConsole()
        try:
            results = runSpectrumBenchmark(
                settings,
                config.parent,
                lambda text: console.print(text, highlight=False),
                lambda partial: writeAtomically(output, json.dumps(partial, indent=1).encode()),
            )
        except ConvergenceError as error:
            raise ValueError(str(error)) from error
        for name, case in results["cases"].items():
            console.print(_table(name, case))
        console.print(f"results: {output.resolve()}", soft_wrap=True)


def _table(name: str, case: dict[str, Any]) -> Table:
    from rich.table import Table

    run = case["referenceRun"]
    caption = "seconds of all steps and directions, ground state included"
    if not run["isWhole"]:
        along = ", ".join(run["directions"])
        caption += f"; the reference's from {run['steps']} steps along {along}, over which errors are taken"
    table = Table(title=f"{name}: {case['molecule']}, {case['basisFunctions']} functions", caption=caption)
    for column in ("method", "s", "speed-up", "Fock builds", "saved", "dipole error", "overlap", "shift, eV"):
        table.add_column(column, justify="left" if column == "method" else "right")
    for label, result in case["methods"].items():
        if result is None:
            table.add_row(label, *["-"] * 7)
            continue
        table.add_row(
            label,
            f"{result['seconds']:.1f}",
            f"{result['speedUp']:.1f}",
            _shown(result["fockBuilds"], "d"),
            _shown(result["fockBuildsSaved"], ".0f"),
            _shown(result.get("dipoleError"), ".2%"),
            _shown(result.get("spectralOverlap"), ".6f"),
            _shown(result.get("peakShift_eV"), ".4f"),
        )
    return table


def _shown(value: float | None, style: str) -> str:
    return "-" if value is None else format(value, style)
