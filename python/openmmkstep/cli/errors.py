"""Errors of the user's input, shown in one line rather than as a traceback."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

_NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
_CONSOLE = Console(stderr=True, soft_wrap=True)


@contextmanager
def report_errors() -> Iterator[None]:
    """Show errors that carry their explanation, and leave with exit code 1. Programming errors keep their traceback."""
    # Imported here: naming the error's class must not slow down `kstep --help`.
    import openmm

    try:
        yield
    except (ValueError, OSError, openmm.OpenMMException, ImportError) as error:
        room = "; make room and repeat the command" if getattr(error, "errno", None) in _NO_ROOM else ""
        _CONSOLE.print("[bold red]error:[/bold red]", end=" ")
        _CONSOLE.print(" ".join(f"{error}{room}".split("\n")), markup=False, highlight=False)
        raise typer.Exit(1) from error
