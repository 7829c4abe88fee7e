"""Subcommands that are imported when they are called; those of other packages come from entry points.

A package adds a command with an entry point of the group ``openmmkstep.commands``, whose name is that of the command
and whose object is a function with typer's annotations, or a typer.Typer (``examples/custom_command``). Of its errors,
those that explain themselves (ValueError, OSError) are shown in one line, as those of all commands. The names of our
own commands cannot be taken, which a warning says, and a name that several packages offer is refused.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from openmmkstep import offers

from .errors import report_errors

ENTRY_POINTS = "openmmkstep.commands"

_OWN = {
    "doctor": "dynamics.doctor:doctor",
    "region": "dynamics.region:region",
    "generate": "surrogates.generate:generate",
    "train": "surrogates.train:train",
    "evaluate": "surrogates.evaluate:evaluate",
    "export": "surrogates.export:export",
    "run": "dynamics.run:run",
    "bench": "dynamics.bench:bench",
    "spectrum": "electrons.spectrum:spectrum",
    "compile": "surrogates.compile:compile_archive",
    "fit-bonded": "surrogates.fit_bonded:fit_bonded",
    "fit-regression": "surrogates.fit_regression:fit_regression",
    "generate-responses": "electrons.generate_responses:generate_responses",
    "bench-spectrum": "electrons.bench_spectrum:bench_spectrum",
    "validate": "dynamics.validate:validate",
}


class LazyCommands(TyperGroup):
    """The group of all commands. ``kstep --help`` loads no module of other packages."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        offered = offers.by_name(entry_points(group=ENTRY_POINTS))
        self._foreign = {name: entries for name, entries in offered.items() if name not in _OWN}
        self._refused = {name: entries for name, entries in offered.items() if name in _OWN}
        # The names are in the order of `--help`, and for suggestions after a typing error.
        names: dict[str, Any] = dict.fromkeys((*_OWN, *sorted(self._foreign)))
        self.commands = names

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command; of one from another package only what ``--help`` shows."""
        if cmd_name in _OWN:
            module, name = _OWN[cmd_name].split(":")
            return _built(cmd_name, getattr(import_module(f"{__package__}.{module}"), name))
        if cmd_name in self._foreign:
            packages = " and ".join(offers.package_of(entry) for entry in self._foreign[cmd_name])
            plural = "s" if len(self._foreign[cmd_name]) > 1 else ""
            return TyperCommand(cmd_name, help=f"From the package{plural} {packages}.")
        return None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is called."""
        name, command, rest = super().resolve_command(ctx, args)
        if name in self._foreign:
            command = _built(name, offers.load(f"the command {name!r}", self._foreign[name]))
        if name in self._refused:
            warnings.warn(
                f"the command {name!r} is kstep's own, and not that of {offers.named(self._refused[name])}, which has "
                "to offer it under another name",
                stacklevel=1,
            )
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
