"""Entry point of the ``kstep`` command."""

from __future__ import annotations

import typer

from .generate import generate
from .run import run

app = typer.Typer(
    name="kstep",
    help="QM/MM molecular dynamics for one QM call every k steps.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
app.command()(generate)
app.command()(run)


def main() -> None:
    """Run the command line."""
    app()
