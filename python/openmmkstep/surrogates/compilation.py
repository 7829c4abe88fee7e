"""The compiled package of a surrogate's archive: out of the user's cache, or made on first use."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from rich.console import Console


def compiled_package(archive: str | os.PathLike[str], atoms: int) -> Path | None:
    """The package that was compiled from an archive for this machine.

    The first call for an archive compiles it, which takes about half a minute and says so on standard error.

    Args:
        archive: exported potential.
        atoms: of the region.

    Returns:
        the file; None, with a warning that says why, if it cannot be compiled here, so that the archive is interpreted.
    """
    from kstep_models.potential.compilation import CompilationError, cached_package, compile_archive

    package = cached_package(archive, atoms)
    if package.is_file():
        return package
    try:
        with Console(stderr=True).status(f"compiling {Path(archive).name} for this machine, once (half a minute)"):
            compile_archive(archive, atoms, package)
    except (CompilationError, OSError) as error:
        warnings.warn(f"the surrogate is interpreted instead of compiled: {error}", stacklevel=2)
        return None
    return package
