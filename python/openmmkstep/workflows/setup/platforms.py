"""OpenMM platforms by name, with one thread for what is too small to gain from more."""

from __future__ import annotations

import openmm


class PlatformError(ValueError):
    """A platform that is not there."""


def find_platform(name: str, threads: int = 1) -> tuple[openmm.Platform, dict[str, str]]:
    """A platform and the properties to create a Context with.

    Args:
        name: Name of the platform.
        threads: Threads of the CPU platform; others have no such property.

    Raises:
        PlatformError: OpenMM has no such platform; names those it has.
    """
    names = [openmm.Platform.getPlatform(index).getName() for index in range(openmm.Platform.getNumPlatforms())]
    if name not in names:
        raise PlatformError(f"there is no OpenMM platform {name!r} here: use one of {', '.join(names)}")
    properties = {"Threads": str(threads)} if name == "CPU" else {}
    return openmm.Platform.getPlatformByName(name), properties
