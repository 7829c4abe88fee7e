"""Where commands write their results and print what they do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

_TABLE_WIDTH = 130


def table_console() -> Console:
    """A console whose tables are not squeezed where there is no terminal, as in a log file."""
    console = Console()
    return console if console.is_terminal else Console(width=_TABLE_WIDTH)


@dataclass(frozen=True)
class Results:
    """A file of results, and a console for what there is to see.

    Attributes:
        path: Path of the file.
        console: Console for tables and progress.
    """

    path: Path
    console: Console

    def log(self, text: str) -> None:
        """Print what is being done."""
        self.console.print(text, highlight=False)

    def write(self, values: Any) -> None:
        """Write results as JSON, atomically."""
        from kstep_models.files import write_json

        write_json(self.path, values)


@contextmanager
def results_file(path: Path, label: str = "results") -> Iterator[Results]:
    """A file that a command fills, and that nobody else writes meanwhile; named at the end.

    Args:
        path: Path of the file, which may exist.
        label: Name of what is in it.

    Raises:
        ValueError: its folder does not exist, or somebody else is writing it.
    """
    from kstep_models.locks import locked

    if not path.parent.is_dir():
        raise ValueError(f"{path.parent} is not a folder: create it, or choose another --output")
    results = Results(path, table_console())
    with locked(path):
        yield results
    results.console.print(f"{label}: {path.resolve()}", soft_wrap=True)
