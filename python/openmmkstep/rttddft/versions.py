"""Which programs made a file."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

_PROGRAMS = ("openmm-kstep", "pyscf", "numpy", "h5py")


def software_versions() -> dict[str, str]:
    """Name -> version of the installed packages that results depend on."""
    versions = {}
    for name in _PROGRAMS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:  # run from a source tree that was not installed
            continue
    return versions
