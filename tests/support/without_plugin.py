"""An interpreter as on a machine where some packages are not installed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class BlockedImports(MetaPathFinder):
    """Finds packages before anyone else does, and says that they are not there.

    Args:
        packages: names of top-level packages.
    """

    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = frozenset(packages)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None for all other packages, which are then looked for as usual."""
        if fullname.partition(".")[0] in self._packages:
            raise ModuleNotFoundError(f"No module named {fullname!r} (blocked by KSTEP_WITHOUT_PLUGIN)", name=fullname)
        return None


def block_imports(*packages: str) -> None:
    """Let imports of packages fail in this process from here on.

    Raises:
        RuntimeError: one of them is loaded already, so that it is too late.
    """
    loaded = sorted(set(packages) & set(sys.modules))
    if loaded:
        raise RuntimeError(f"{', '.join(loaded)} cannot be blocked any more: something imported it before")
    sys.meta_path.insert(0, BlockedImports(packages))
