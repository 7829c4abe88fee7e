"""Loading of the C++ plugin's platform libraries, after a look at the versions that they need."""

from __future__ import annotations

import functools
from pathlib import Path

from ._libraries import check_libraries

PLUGIN_FOLDER = Path(__file__).parent / "lib" / "plugins"


@functools.cache
def load_plugins() -> dict[str, str]:
    """Load the plugin's library for every platform that OpenMM has; once in a process.

    Returns:
        Error messages of libraries that could not be loaded, by file name; empty if all is well.

    Raises:
        IncompatibleLibrariesError: another version of OpenMM or torch would be loaded than the plugin is built for.
    """
    check_libraries()
    import openmm

    # Before the plugin: its libraries must be those of its own wheel.
    import torch  # noqa: F401

    failures = {}
    available = [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]
    for library in sorted(PLUGIN_FOLDER.glob("*.so")):
        platform = library.stem.removeprefix("libOpenMMKStep")
        if platform not in available:
            continue
        try:
            openmm.Platform.loadPluginLibrary(str(library))
        except openmm.OpenMMException as error:
            failures[library.name] = str(error)
    # Registers the classes that XML files name.
    from . import _openmmkstep  # noqa: F401

    return failures
