"""Which programs made a file."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

MODEL_PACKAGES = ("openmm-kstep", "torch")
"""Packages that an exported model depends on."""


def software_versions(packages: Iterable[str]) -> dict[str, str]:
    """Name -> version of those packages that are installed; a package run from its source tree is not.

    Args:
        packages: by the names they are installed by.
    """
    versions = {}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
