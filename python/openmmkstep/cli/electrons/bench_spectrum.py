"""``kstep bench-spectrum``: electron dynamics with the reduction beside the reference and other methods."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..results import results_file

if TYPE_CHECKING:
    from rich.table import Table


def bench_spectrum(
    config: Annotated[Path, typer.Argument(help="YAML file that says what to measure.")],
    output: Annotated[Path, typer.Option(help="JSON file for the results.")] = Path("bench_spectrum.json"),
) -> None:
    """Measure what the reduction of electron dynamics saves and costs in accuracy, beside other methods."""
    from kstep_models.configuration import load_config
    from openmmkstep.rttddft import ConvergenceError
    from openmmkstep.workflows.config.bench_spectrum import SpectrumBenchConfig
    from openmmkstep.workflows.spectra.bench.benchmark import run_spectrum_benchmark

    settings = load_config(config, SpectrumBenchConfig)
    with results_file(output) as results:
        try:
            values = run_spectrum_benchmark(settings, results.log, results.write)
        except ConvergenceError as error:
            raise ValueError(str(error)) from error
        for name, case in values["cases"].items():
            results.console.print(_table(name, case))


def _table(name: str, case: dict[str, Any]) -> Table:
    from rich.table import Table

    run = case["reference_run"]
    caption = "seconds of all steps and directions, ground state included"
    if not run["is_whole"]:
        along = ", ".join(run["directions"])
        caption += f"; the reference's from {run['steps']} steps along {along}, over which errors are taken"
    table = Table(title=f"{name}: {case['molecule']}, {case['basis_functions']} functions", caption=caption)
    for column in ("method", "s", "speed-up", "Fock builds", "saved", "dipole error", "overlap", "shift, eV"):
        table.add_column(column, justify="left" if column == "method" else "right")
    for label, result in case["methods"].items():
        if result is None:
            table.add_row(label, *["-"] * 7)
            continue
        table.add_row(
            label,
            f"{result['seconds']:.1f}",
            f"{result['speed_up']:.1f}",
            _shown(result["fock_builds"], "d"),
            _shown(result["fock_builds_saved"], ".0f"),
            _shown(result.get("dipole_error"), ".2%"),
            _shown(result.get("spectral_overlap"), ".6f"),
            _shown(result.get("peak_shift_ev"), ".4f"),
        )
    return table


def _shown(value: float | None, style: str) -> str:
    return "-" if value is None else format(value, style)
