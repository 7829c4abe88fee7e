"""Where tables are printed."""

from __future__ import annotations

from rich.console import Console

_TABLE_WIDTH = 130


def table_console() -> Console:
    """A console whose tables are not squeezed where there is no terminal, as in a log file."""
    console = Console()
    return console if console.is_terminal else Console(width=_TABLE_WIDTH)
