"""Who computes the geometries of a scan: :mod:`kstep_models.workers`, with errors that name the geometry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from kstep_models import workers
from openmmkstep.rttddft.errors import ConvergenceError, ElectronDynamicsError, MissingDependencyError, WorkerError

Item = TypeVar("Item")
Result = TypeVar("Result")

_CONNECTION_SECONDS = workers.CONNECTION_SECONDS


class GeometryWorkers:
    """Applies a function to many geometries.

    Args:
        workers: Who does it.
    """

    def __init__(self, workers: workers.Workers) -> None:
        self._workers = workers

    def results(self, task: Callable[[Item], Result], items: Mapping[int, Item]) -> Iterator[tuple[int, Result]]:
        """The number and the result of each item, as they are done.

        The first error ends the iteration; items that were not begun are never begun.

        Args:
            task: a function of a module, and with it whatever Dask can send to other processes.
            items: number of the geometry -> what the task is given.

        Raises:
            ElectronDynamicsError, ConvergenceError: of the task; the number of the geometry is put before its message.
            ElectronDynamicsError: a scheduler does not answer, or processes cannot be started.
            WorkerError: processes were lost.
            MissingDependencyError: Dask is not installed.
        """
        with _own_errors():
            yield from self._workers.results(task, items, errors_of)


class InProcess(GeometryWorkers):
    """One after the other, in this process."""

    def __init__(self) -> None:
        super().__init__(workers.InProcess())


class LocalProcesses(GeometryWorkers):
    """Processes on this machine; see :class:`kstep_models.workers.LocalProcesses`.

    Args:
        number: of processes.

    Raises:
        ElectronDynamicsError: no positive number.
    """

    def __init__(self, number: int) -> None:
        with _own_errors():
            super().__init__(workers.LocalProcesses(number))


class RunningScheduler(GeometryWorkers):
    """The workers of a scheduler that runs already, here or elsewhere.

    They need this package with PySCF, too, and as many threads as each should compute geometries at a time.

    Args:
        address: such as tcp://host:8786.
    """

    def __init__(self, address: str) -> None:
        super().__init__(workers.RunningScheduler(address, _CONNECTION_SECONDS))


@contextmanager
def errors_of(number: int) -> Iterator[None]:
    """Errors say which geometry they are of."""
    try:
        yield
    except (ElectronDynamicsError, ConvergenceError, WorkerError) as error:
        raise type(error)(f"geometry {number}: {error}") from error
    except workers.ProcessLostError as error:
        raise WorkerError(f"geometry {number}: {error}") from error
    except Exception as error:
        error.add_note(f"in geometry {number}")
        raise


@contextmanager
def _own_errors() -> Iterator[None]:
    try:
        yield
    except workers.WorkersError as error:
        raise ElectronDynamicsError(str(error)) from error
    except workers.NoDaskError as error:
        raise MissingDependencyError(
            f"more than one worker needs Dask, which cannot be imported ({error.__cause__}): "
            "pip install 'openmm-kstep[rttddft]'"
        ) from error
