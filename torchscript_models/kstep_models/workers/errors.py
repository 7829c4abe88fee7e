"""What can go wrong with other processes, by who can repair it."""

from __future__ import annotations


class WorkersError(ValueError):
    """What was asked for cannot be: a number of processes, or a scheduler that does not answer."""


class NoDaskError(ImportError):
    """Dask, which other processes need, is not installed."""


class ProcessLostError(RuntimeError):
    """A process at work was lost."""
