"""``kstep spectrum``: absorption from real-time electron dynamics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .consoles import wideConsole
from .errors import shownPlainly

if TYPE_CHECKING:
    from rich.table import Table


def spectrum(
    config: Annotated[Path, typer.Argument(help="YAML file that says which molecule and how.")],
    output: Annotated[Path, typer.Option(help="JSON file for the results; the plot goes beside it.")] = Path(
        "spectrum.json"
    ),
) -> None:
    """Compute the absorption of a molecule, or of many geometries of it, from its electrons' motion after a kick."""
    with shownPlainly():
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        from ..config.loading import loadConfig
        from ..config.spectrumConfig import SpectrumConfig
        from ..report.spectrumFigure import drawSpectrum
        from ..rttddft import ConvergenceError
        from ..rttddft.spectrumRun import prepareSpectrum

        settings = loadConfig(config, SpectrumConfig)
        if not output.parent.is_dir():
            raise ValueError(f"{output.parent} is not a folder: create it, or choose another --output")
        run = prepareSpectrum(settings, config.parent)
        console = wideConsole()
        columns = (TextColumn("geometries"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("", total=len(run.geometries))
            try:
                results = run.compute(lambda: progress.advance(task))
            except ConvergenceError as error:
                raise ValueError(str(error)) from error
        output.write_text(json.dumps(results, indent=1), encoding="utf-8")
        drawSpectrum(results, output.with_suffix(".png"))
        console.print(_table(results))
        console.print(f"results: {output.resolve()}", soft_wrap=True)


def _table(results: dict[str, Any]) -> Table:
    from rich.table import Table

    cost = f"{results['seconds']:.1f} s, {results['fockBuilds']} Fock builds"
    table = Table(title=f"{results['molecule']}, {results['label']}", caption=f"{cost}; lines of the mean spectrum")
    table.add_column("line, eV", justify="right")
    table.add_column("dipole strength, 1/eV", justify="right")
    for line in results["lines"]:
        table.add_row(f"{line['energy_eV']:.3f}", f"{line['strength_per_eV']:.4f}")
    return table
