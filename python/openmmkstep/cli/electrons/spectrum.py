"""``kstep spectrum``: absorption from real-time electron dynamics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..results import results_file

if TYPE_CHECKING:
    from rich.table import Table

    from openmmkstep.workflows.config.spectrum import SpectrumConfig

# The caption is longer than two narrow columns.
_TABLE_WIDTH = 60


def spectrum(
    config: Annotated[Path, typer.Argument(help="YAML file that says which molecule and how.")],
    output: Annotated[
        Path,
        typer.Option(help="JSON file for the results; the plot goes beside it, unfinished work into NAME.unfinished."),
    ] = Path("spectrum.json"),
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes side by side, instead of the number in the configuration.")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Running Dask scheduler, such as tcp://host:8786, instead of own processes.")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Keep the finished geometries of a run that did not end.")] = False,
) -> None:
    """Compute the absorption of a molecule, or of many geometries of it, from its electrons' motion after a kick."""
    from kstep_models.configuration import load_config
    from openmmkstep.rttddft import ConvergenceError, ElectronDynamicsError, WorkerError
    from openmmkstep.rttddft.ensembles.saved_absorptions import SavedAbsorptions
    from openmmkstep.terminal import CountedProgress
    from openmmkstep.workflows.config.spectrum import SpectrumConfig
    from openmmkstep.workflows.spectra.figure import draw_spectrum
    from openmmkstep.workflows.spectra.spectrum import prepare_spectrum

    settings = _on_workers(load_config(config, SpectrumConfig), workers, scheduler)
    with results_file(output) as results:
        run = prepare_spectrum(settings)
        saved = SavedAbsorptions(output.with_suffix(".unfinished"), run.settings, resume)
        with CountedProgress("geometries", len(run.geometries), results.console) as progress:
            try:
                values = run.compute(progress.update, saved)
            except (ConvergenceError, ElectronDynamicsError, WorkerError) as error:
                kept = "; finished geometries are kept: --resume goes on with the others" if saved.number else ""
                raise ValueError(f"{error}{kept}") from error
        results.write(values)
        saved.discard()
        draw_spectrum(values, output.with_suffix(".png"))
        results.console.print(_table(values))


def _on_workers(settings: SpectrumConfig, workers: int | None, scheduler: str | None) -> SpectrumConfig:
    """The configuration with what the command line says about workers."""
    if workers is not None and scheduler is not None:
        raise ValueError("give either --workers, which are started here, or the --scheduler of running ones")
    if workers is not None:
        return settings.model_copy(update={"workers": workers, "scheduler": None})
    if scheduler is not None:
        return settings.model_copy(update={"workers": 1, "scheduler": scheduler})
    return settings


def _table(results: dict[str, Any]) -> Table:
    from rich.table import Table

    scan = results["configuration"]["kind"] == "scan"
    cost = f"{results['seconds']:.1f} s, {results['fock_builds']} Fock builds"
    table = Table(
        title=f"{results['molecule']}, {results['label']}",
        caption=cost if scan else f"{cost}; lines of the mean spectrum",
        min_width=_TABLE_WIDTH,
    )
    if scan:
        table.add_column("geometry", justify="right")
        table.add_column("lines, eV")
        for geometry in results["geometries"]:
            table.add_row(str(geometry["number"]), "  ".join(f"{line:.3f}" for line in geometry["lines_ev"]))
        return table
    table.add_column("line, eV", justify="right")
    table.add_column("dipole strength, 1/eV", justify="right")
    for line in results["lines"]:
        table.add_row(f"{line['energy_ev']:.3f}", f"{line['strength_per_ev']:.4f}")
    return table
