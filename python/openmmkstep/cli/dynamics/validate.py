"""``kstep validate``: accuracy checks that end in numbers and plots."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..results import Results, results_file

if TYPE_CHECKING:
    from openmmkstep.workflows.config.validate import ValidateConfig

validate = typer.Typer(
    help="Check energy conservation, temperatures and ensembles of k-step dynamics.", no_args_is_help=True
)

ConfigArgument = Annotated[Path, typer.Argument(help="YAML file that says what to check.")]
OutputOption = Annotated[Path, typer.Option(help="JSON file; the plot goes beside it.")]


@validate.command()
def nve(config: ConfigArgument, output: OutputOption = Path("nve.json")) -> None:
    """Drift of the total energy without thermostat, beside plain QM dynamics and the surrogate alone."""
    from openmmkstep.workflows.validate.figures import plot_nve
    from openmmkstep.workflows.validate.nve import validate_nve

    with _checked(config, output, validate_nve) as (results, values):
        plot_nve(values, output.with_suffix(".png"))
        columns = ("run", "ps", "drift (meV/atom/ps)", "RMS (meV)", "correction (meV/Å)", "fallbacks", "QM calls")
        rows = [
            (
                label + ("" if run["finished"] else " (broke down)"),
                f"{run['time_ps']:.3g}",
                f"{run['drift_mev_atom_ps']:+.4f}" if "drift_mev_atom_ps" in run else "",
                f"{run['rms_mev']:.2f}" if "rms_mev" in run else "",
                "" if run["mean_correction_rms_mev_a"] is None else f"{run['mean_correction_rms_mev_a']:.1f}",
                str(run["fallbacks"]),
                str(run["qm_calls"]),
            )
            for label, run in values["runs"].items()
        ]
        title = f"total energy, {values['atoms']} QM atoms, kT = {values['kt_mev']:.1f} meV"
        _print(results, title, columns, rows)
        if values["box"]:
            _print_box(results, values)


def _print_box(results: Results, values: dict[str, Any]) -> None:
    """Drifts of a whole box, k-step runs beside plain ones with the same MM time steps."""
    columns = ("run, whole box", "drift (kJ/mol/ps)", "plain, same MM steps", "by MM steps", "no more than twice")
    rows = []
    for label, part in values["box"].items():
        error = values["runs"][label]["drift_error_kj_mol_ps"]
        drift = f"{part['drift_kj_mol_ps']:+.3f}" + ("" if error is None else f" ± {error:.3f}")
        by_steps = part.get("due_to_mm_steps_kj_mol_ps")
        shown = "" if by_steps is None else f"{by_steps:+.3f}"
        rows.append((label, drift, f"{part['beside_kj_mol_ps']:+.3f}", shown, part["verdict"]))
    _print_table(results, "energy of the whole box", columns, rows)


@validate.command()
def temperature(config: ConfigArgument, output: OutputOption = Path("temperature.json")) -> None:
    """Temperature of each element of the QM region under a Langevin thermostat."""
    from openmmkstep.workflows.validate.figures import plot_temperature
    from openmmkstep.workflows.validate.temperature import validate_temperature

    with _checked(config, output, validate_temperature) as (results, values):
        plot_temperature(values, output.with_suffix(".png"))
        columns = ("element", "atoms", "temperature (K)", "error (K)", "deviation (%)", "within 1 % or 2 σ")
        rows = [
            (
                name,
                str(value["atoms"]),
                f"{value['mean_k']:.2f}",
                f"{value['error_k']:.2f}",
                f"{value['deviation_percent']:+.2f}",
                "yes" if value["passes"] else "no",
            )
            for name, value in values["elements"].items()
        ]
        _print(results, f"target {values['target_k']:g} K, k = {values['k']}", columns, rows)


@validate.command()
def ensemble(
    config: ConfigArgument,
    output: Annotated[
        Path, typer.Option(help="JSON file; trajectories, plots and the page go into a folder of its name.")
    ] = Path("ensemble.json"),
    fresh: Annotated[bool, typer.Option("--fresh", help="Throw away trajectories of earlier runs.")] = False,
) -> None:
    """Kinetic energies, energies at two temperatures, structures and spectra, beside plain QM dynamics.

    A command that was interrupted is repeated: it goes on at its last checkpoint.
    """
    from kstep_models.configuration import load_config
    from openmmkstep.workflows.config.validate import ValidateConfig
    from openmmkstep.workflows.validate.ensemble.rows import HEAD, Row
    from openmmkstep.workflows.validate.ensemble.workflow import validate_ensemble

    settings = load_config(config, ValidateConfig)
    folder = output.with_suffix("")
    if folder == output:
        raise ValueError(f"{output} has no ending, and trajectories go into a folder of this name: add .json")
    with results_file(output) as results:
        values = validate_ensemble(settings, folder, fresh, results.console, results.log)
        results.write(values)
        rows = [Row.from_json(row).cells() for row in values["verdicts"]]
        _print_table(results, f"{values['atoms']} QM atoms, {values['temperature_k']:g} K", HEAD, rows)
        results.console.print(f"page: {(folder / 'ensemble.html').resolve()}", soft_wrap=True)


@contextmanager
def _checked(
    config: Path, output: Path, check: Callable[[ValidateConfig, Callable[[str], None]], dict[str, Any]]
) -> Iterator[tuple[Results, dict[str, Any]]]:
    """Where to show the results, and the results, which are on disk already."""
    from kstep_models.configuration import load_config
    from openmmkstep.workflows.config.validate import ValidateConfig

    settings = load_config(config, ValidateConfig)
    with results_file(output) as results:
        values = check(settings, results.log)
        results.write(values)
        yield results, values


def _print(results: Results, title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    _print_table(results, title, columns, rows)
    results.console.print(f"plot: {results.path.with_suffix('.png').name}")


def _print_table(results: Results, title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from rich.table import Table

    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="left" if column == columns[0] else "right")
    for row in rows:
        table.add_row(*row)
    results.console.print(table)
