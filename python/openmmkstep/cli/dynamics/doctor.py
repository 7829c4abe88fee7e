"""``kstep doctor``: what is installed and what is missing."""

from __future__ import annotations

import json as json_module
from dataclasses import asdict
from typing import Annotated

import typer


def doctor(json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False) -> None:
    """Check versions, platforms, the plugin, libxtb and the extras; exit code 1 if the main job cannot run."""
    from rich.console import Console
    from rich.table import Table

    from openmmkstep.workflows.doctor.checks import run_checks

    checks = list(run_checks())
    if json:
        typer.echo(json_module.dumps([asdict(check) for check in checks], indent=1))
    else:
        colors = {"ok": "green", "warning": "yellow", "failed": "bold red"}
        table = Table(show_edge=False)
        for column in ("what", "status", "found", "remedy"):
            table.add_column(column, overflow="fold")
        for check in checks:
            status = f"[{colors[check.status]}]{check.status}[/]"
            table.add_row(check.name, status, check.detail, check.remedy)
        Console().print(table)
    if any(check.status == "failed" for check in checks):
        raise typer.Exit(1)
