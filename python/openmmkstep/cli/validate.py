"""``kstep validate``: accuracy checks that end in numbers and plots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import table_console
from .errors import report_errors

if TYPE_CHECKING:
    from rich.console import Console

    from openmmkstep.workflows.config.validate import ValidateConfig

validate = typer.Typer(help="Check energy conservation and temperatures of k-step dynamics.", no_args_is_help=True)

ConfigArgument = Annotated[Path, typer.Argument(help="YAML file that says what to check.")]
OutputOption = Annotated[Path, typer.Option(help="JSON file; the plot goes beside it.")]


@validate.command()
def nve(config: ConfigArgument, output: OutputOption = Path("nve.json")) -> None:
    """Drift of the total energy without thermostat, beside plain QM dynamics and the surrogate alone."""
    with report_errors():
        from openmmkstep.workflows.validate.figures import plot_nve
        from openmmkstep.workflows.validate.nve import validate_nve

        console, results = _run(config, output, validate_nve)
        plot_nve(results, output.with_suffix(".png"))
        columns = ("run", "ps", "drift (meV/atom/ps)", "RMS (meV)", "correction (meV/Å)", "fallbacks", "QM calls")
        rows = [
            (
                label + ("" if run["finished"] else " (broke down)"),
                f"{run['time_ps']:.3g}",
                f"{run['drift_meV_atom_ps']:+.4f}" if "drift_meV_atom_ps" in run else "",
                f"{run['rms_meV']:.2f}" if "rms_meV" in run else "",
                f"{run['meanCorrectionRMS_meV_A']:.1f}",
                str(run["fallbacks"]),
                str(run["qmCalls"]),
            )
            for label, run in results["runs"].items()
        ]
        title = f"total energy, {results['atoms']} QM atoms, kT = {results['kT_meV']:.1f} meV"
        _print(console, title, columns, rows, output)


@validate.command()
def temperature(config: ConfigArgument, output: OutputOption = Path("temperature.json")) -> None:
    """Temperature of each element of the QM region under a Langevin thermostat."""
    with report_errors():
        from openmmkstep.workflows.validate.figures import plot_temperature
        from openmmkstep.workflows.validate.temperature import validate_temperature

        console, results = _run(config, output, validate_temperature)
        plot_temperature(results, output.with_suffix(".png"))
        columns = ("element", "atoms", "temperature (K)", "error (K)", "deviation (%)", "within 1 % or 2 σ")
        rows = [
            (
                name,
                str(value["atoms"]),
                f"{value['mean_K']:.2f}",
                f"{value['error_K']:.2f}",
                f"{value['deviation_percent']:+.2f}",
                "yes" if value["passes"] else "no",
            )
            for name, value in results["elements"].items()
        ]
        _print(console, f"target {results['target_K']:g} K, k = {results['k']}", columns, rows, output)


def _run(
    config: Path, output: Path, check: Callable[[ValidateConfig, Callable[[str], None]], dict[str, Any]]
) -> tuple[Console, dict[str, Any]]:
    from kstep_models.configuration import load_config
    from kstep_models.files import write_json
    from openmmkstep.workflows.config.validate import ValidateConfig

    settings = load_config(config, ValidateConfig)
    if not output.parent.is_dir():
        raise ValueError(f"{output.parent} is not a folder: create it, or choose another --output")
    console = table_console()
    results = check(settings, lambda text: console.print(text, highlight=False))
    write_json(output, results)
    return console, results


def _print(
    console: Console, title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]], output: Path
) -> None:
    from rich.table import Table

    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="left" if column == columns[0] else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    console.print(f"results: {output.resolve()}, plot: {output.with_suffix('.png').name}", soft_wrap=True)
