"""What other packages offer by entry points, by name: which package it was, and what goes wrong when it is loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint
from typing import Any


class OfferError(ValueError):
    """An entry point that cannot be loaded, or a name that several packages offer."""


def package_of(entry: EntryPoint) -> str:
    """Name of the package that offers something; of its module where that is all that is known."""
    return entry.dist.name if entry.dist is not None else entry.value.split(":")[0]


def by_name(entries: Iterable[EntryPoint], key: Callable[[str], str] = str.strip) -> dict[str, list[EntryPoint]]:
    """All offers of each name, in the order of the names; one that is found twice counts once.

    Args:
        entries: The entry points of one group.
        key: Makes the name that is compared of the one that is given.
    """
    found: dict[str, dict[tuple[str, str], EntryPoint]] = {}
    for entry in sorted(entries, key=lambda entry: key(entry.name)):
        found.setdefault(key(entry.name), {})[package_of(entry), entry.value] = entry
    return {name: list(offers.values()) for name, offers in found.items()}


def named(entries: Iterable[EntryPoint]) -> str:
    """Packages with what they offer, for a message."""
    return " and ".join(f"{package_of(entry)} ({entry.value})" for entry in entries)


def load(what: str, entries: list[EntryPoint]) -> Any:
    """What the only package behind a name offers.

    Args:
        what: Kind and name of what is offered, for messages.
        entries: All offers of the name.

    Raises:
        OfferError: Several packages offer it, or its module fails in any way while it is imported.
    """
    if len(entries) > 1:
        raise OfferError(f"{what} is offered by several packages, {named(entries)}: uninstall all but one")
    (entry,) = entries
    try:
        return entry.load()
    except (Exception, SystemExit) as error:
        # Whatever another package does while it is imported, short of an interruption by the user.
        told = f": {error}" if str(error) else ""
        raise OfferError(
            f"{what} of the package {named(entries)} cannot be loaded ({type(error).__name__}{told}): repair or "
            "uninstall that package"
        ) from error
