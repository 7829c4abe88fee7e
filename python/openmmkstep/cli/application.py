"""The ``kstep`` command: all its subcommands in one application."""

from __future__ import annotations

import typer

from .commands import LazyCommands

app = typer.Typer(
    name="kstep",
    cls=LazyCommands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)


@app.callback()
def _kstep() -> None:
    """QM/MM molecular dynamics for one QM call every k steps."""


def main() -> None:
    """Run the command line."""
    app()
