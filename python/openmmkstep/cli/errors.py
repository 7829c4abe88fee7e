"""Errors and warnings that carry their explanation, shown in one line each."""

from __future__ import annotations

import errno
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console

_NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
_CONSOLE = Console(stderr=True, soft_wrap=True)


@contextmanager
def report_errors() -> Iterator[None]:
    """Show errors that explain themselves, and leave with exit code 1. Programming errors keep their traceback."""
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(message: Any, category: type[Warning], *where: Any, **options: Any) -> None:
            if issubclass(category, UserWarning):
                _show("[bold yellow]warning:[/bold yellow]", str(message))
            else:
                usual(message, category, *where, **options)

        warnings.showwarning = show
        try:
            yield
        except KeyboardInterrupt:
            _show("[bold yellow]interrupted:[/bold yellow]", "repeat the command to go on (--resume, if it has that)")
            raise
        except Exception as error:
            if not _explains_itself(error):
                raise
            room = "; make room and repeat the command" if getattr(error, "errno", None) in _NO_ROOM else ""
            text = str(error).strip() or f"{type(error).__name__} without a message"
            _show("[bold red]error:[/bold red]", f"{text}{room}")
            raise typer.Exit(1) from error


def _explains_itself(error: Exception) -> bool:
    # OpenMM is not imported for this: where it has not been, the error is not one of its own.
    openmm = sys.modules.get("openmm")
    own = () if openmm is None else (openmm.OpenMMException,)
    return isinstance(error, (ValueError, OSError, ImportError, *own))


def _show(head: str, text: str) -> None:
    _CONSOLE.print(head, end=" ")
    _CONSOLE.print(" ".join(text.split("\n")), markup=False, highlight=False)
