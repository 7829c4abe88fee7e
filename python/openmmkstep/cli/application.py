"""The ``kstep`` command: all its subcommands in one application."""

from __future__ import annotations

import typer

from .bench import bench
from .bench_spectrum import bench_spectrum
from .compile import compile_archive
from .doctor import doctor
from .fit_bonded import fit_bonded
from .generate import generate
from .generate_responses import generate_responses
from .run import run
from .spectrum import spectrum
from .training import evaluate, export, train
from .validate import validate

app = typer.Typer(
    name="kstep",
    help="QM/MM molecular dynamics for one QM call every k steps.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
for command in (doctor, generate, train, evaluate, export, run, bench, spectrum):
    app.command()(command)


app.command("compile")(compile_archive)
app.command("fit-bonded")(fit_bonded)
app.command("generate-responses")(generate_responses)
app.command("bench-spectrum")(bench_spectrum)
app.add_typer(validate, name="validate")


def main() -> None:
    """Run the command line."""
    app()
