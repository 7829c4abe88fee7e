"""The ``kstep`` command line; one module per command, loaded when it is called."""

from __future__ import annotations

from .application import app, main

__all__ = ["app", "main"]
