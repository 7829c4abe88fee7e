"""Loading of the C++ plugin's platform libraries."""

from __future__ import annotations

from pathlib import Path

import openmm

# torch comes first: its libraries must be those of its own wheel.
import torch  # noqa: F401

PLUGIN_FOLDER = Path(__file__).parent / "lib" / "plugins"


def platform_names() -> list[str]:
    """Names of the platforms that OpenMM has loaded."""
    return [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]


def load_plugins() -> dict[str, str]:
    """Load the plugin's library for every platform that OpenMM has.

    Returns:
        Error messages of libraries that could not be loaded, by file name; empty if all is well.
    """
    failures = {}
    available = platform_names()
    for library in sorted(PLUGIN_FOLDER.glob("*.so")):
        platform = library.stem.removeprefix("libOpenMMKStep")
        if platform not in available:
            continue
        try:
            openmm.Platform.loadPluginLibrary(str(library))
        except openmm.OpenMMException as error:
            failures[library.name] = str(error)
    return failures
