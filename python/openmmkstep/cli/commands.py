"""Subcommands that are imported when they are called; those of other packages come from entry points.

A package adds a command with an entry point of the group ``openmmkstep.commands``, whose name is that of the command
and whose object is a function with typer's annotations, or a typer.Typer (``examples/custom_command``). Of its errors,
those that explain themselves (ValueError, OSError) are shown in one line, as those of all commands.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from .errors import report_errors

ENTRY_POINTS = "openmmkstep.commands"

_OWN = {
    "doctor": "dynamics.doctor:doctor",
    "generate": "surrogates.generate:generate",
    "train": "surrogates.train:train",
    "evaluate": "surrogates.evaluate:evaluate",
    "export": "surrogates.export:export",
    "run": "dynamics.run:run",
    "bench": "dynamics.bench:bench",
    "spectrum": "electrons.spectrum:spectrum",
    "compile": "surrogates.compile:compile_archive",
    "fit-bonded": "surrogates.fit_bonded:fit_bonded",
    "generate-responses": "electrons.generate_responses:generate_responses",
    "bench-spectrum": "electrons.bench_spectrum:bench_spectrum",
    "validate": "dynamics.validate:validate",
}


class LazyCommands(TyperGroup):
    """The group of all commands. ``kstep --help`` loads no module of other packages."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._foreign = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS) if entry.name not in _OWN}
        # The names are in the order of `--help`, and for suggestions after a typing error.
        names: dict[str, Any] = dict.fromkeys((*_OWN, *sorted(self._foreign)))
        self.commands = names

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command; of one from another package only what ``--help`` shows."""
        if cmd_name in _OWN:
            module, name = _OWN[cmd_name].split(":")
            return _built(cmd_name, getattr(import_module(f"{__package__}.{module}"), name))
        if cmd_name in self._foreign:
            return TyperCommand(cmd_name, help=f"From the package {_package(self._foreign[cmd_name])}.")
        return None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is called."""
        name, command, rest = super().resolve_command(ctx, args)
        if name in self._foreign:
            command = _built(name, _loaded(self._foreign[name]))
        return name, command, rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command that is called."""
        with report_errors():
            return super().invoke(ctx)


def _built(name: str, command: Any) -> Any:
    application = command
    if not isinstance(command, typer.Typer):
        application = typer.Typer(add_completion=False)
        application.command(name)(command)
    built = get_command(application)
    built.name = name
    return built


def _loaded(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except Exception as error:
        # Whatever another package does while it is imported.
        problem = f"the command {entry.name} of the package {_package(entry)} cannot be loaded"
        raise ValueError(f"{problem} ({type(error).__name__}: {error}): repair or uninstall that package") from error


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value.split(":")[0]
