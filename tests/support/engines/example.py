"""The engine of examples/custom_engine."""

from __future__ import annotations

import importlib.util

from tests.support.qmmm.molecules import EXAMPLES


def register_harmonic_engine() -> None:
    """Import the example's file as a script would."""
    spec = importlib.util.spec_from_file_location("harmonic_engine", EXAMPLES / "custom_engine" / "harmonic_engine.py")
    assert spec is not None and spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
