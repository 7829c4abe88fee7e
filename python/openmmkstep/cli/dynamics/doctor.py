"""``kstep doctor``: what is installed and what is missing, or what a configuration would do."""

from __future__ import annotations

import json as json_module
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

_COLORS = {"ok": "green", "warning": "yellow", "failed": "bold red"}


def doctor(
    configuration: Annotated[
        Path | None, typer.Argument(help="YAML file of kstep run, to be looked at without running it.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Check versions, platforms, the plugin, libxtb and the extras; exit code 1 if the main job cannot run.

    With a configuration of `kstep run`: its files, system, box, QM region, levels and output, with all warnings.
    """
    from rich.console import Console
    from rich.table import Table

    if configuration is None:
        from openmmkstep.workflows.doctor.installation import check_installation

        checks = list(check_installation())
    else:
        from openmmkstep.workflows.doctor.configuration import check_configuration

        checks = list(check_configuration(configuration))
    if json:
        typer.echo(json_module.dumps([asdict(check) for check in checks], indent=1))
    else:
        table = Table(show_edge=False)
        for column in ("what", "status", "found", "remedy"):
            table.add_column(column, overflow="fold")
        for check in checks:
            status = f"[{_COLORS[check.status]}]{check.status}[/]"
            table.add_row(check.name, status, check.detail, check.remedy)
        Console().print(table)
    if any(check.status == "failed" for check in checks):
        raise typer.Exit(1)
