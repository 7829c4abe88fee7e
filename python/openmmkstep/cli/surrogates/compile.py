"""``kstep compile``: an archive as native code for this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def compile_archive(
    archive: Annotated[Path, typer.Argument(help="Archive of kstep export.")],
    atoms: Annotated[
        int | None, typer.Option(min=1, help="Number of atoms, for an archive that was not made for one molecule.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Package to write, usually *.pt2; in the user's cache if none.")
    ] = None,
) -> None:
    """Compile a surrogate ahead of time, which halves its cost.

    Configurations with ``compiled: true`` under ``surrogate`` do this by themselves on first use.
    """
    from rich.console import Console

    from kstep_models.potential.compilation import cached_package, compile_archive
    from openmmkstep.surrogates.suitability import SurrogateError, read_surrogate_contract

    numbers = read_surrogate_contract(archive).atomic_numbers
    count = atoms if atoms is not None else len(numbers or ())
    if count == 0:
        raise SurrogateError(f"{archive} is not for one molecule: say for how many atoms with --atoms")
    package = output or cached_package(archive, count)
    with Console(stderr=True).status("compiling"):
        deviation = compile_archive(archive, count, package)
    typer.echo(f"package: {package} (forces agree with the archive's to {deviation:.1e})")
