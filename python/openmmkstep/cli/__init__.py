"""The ``kstep`` command line; one module per command."""

from __future__ import annotations

from .application import app, main

__all__ = ["app", "main"]
