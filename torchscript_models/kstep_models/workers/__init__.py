"""Who applies a function to many items: this process one by one, or processes of Dask side by side."""

from kstep_models.workers.errors import NoDaskError, ProcessLostError, WorkersError
from kstep_models.workers.interface import InProcess, Workers
from kstep_models.workers.processes import CONNECTION_SECONDS, LocalProcesses, RunningScheduler

__all__ = [
    "CONNECTION_SECONDS",
    "InProcess",
    "LocalProcesses",
    "NoDaskError",
    "ProcessLostError",
    "RunningScheduler",
    "Workers",
    "WorkersError",
]
