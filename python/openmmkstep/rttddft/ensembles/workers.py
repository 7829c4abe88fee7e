"""Who computes the geometries of a scan: this process one by one, or processes of Dask side by side."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import ModuleType
from typing import Any, TypeVar

from openmmkstep.rttddft.arguments import integer_from
from openmmkstep.rttddft.errors import ConvergenceError, ElectronDynamicsError, MissingDependencyError, WorkerError

Item = TypeVar("Item")
Result = TypeVar("Result")

_CONNECTION_SECONDS = 20


class GeometryWorkers(ABC):
    """Applies a function to many items."""

    @abstractmethod
    def results(self, task: Callable[[Item], Result], items: Mapping[int, Item]) -> Iterator[tuple[int, Result]]:
        """The number and the result of each item, as they are done.

        The first error ends the iteration; items that were not begun are never begun.

        Args:
            task: a function of a module, and with it whatever Dask can send to other processes.
            items: number of the geometry -> what the task is given.

        Raises:
            ElectronDynamicsError, ConvergenceError: of the task; the number of the geometry is put before its message.
            WorkerError: processes were lost.
            MissingDependencyError: Dask is not installed.
        """


class InProcess(GeometryWorkers):
    """One after the other, in this process."""

    def results(self, task: Callable[[Item], Result], items: Mapping[int, Item]) -> Iterator[tuple[int, Result]]:
        """See the base class."""
        for number, item in items.items():
            with errors_of(number):
                result = task(item)
            yield number, result


class DaskWorkers(GeometryWorkers):
    """Side by side, in the worker processes of a scheduler of Dask."""

    def results(self, task: Callable[[Item], Result], items: Mapping[int, Item]) -> Iterator[tuple[int, Result]]:
        """See the base class."""
        if not items:
            return
        distributed = _load_distributed()
        with self._connected(distributed, len(items)) as client:
            futures = {client.submit(task, item, pure=False): number for number, item in items.items()}
            with client.as_current():
                finished = distributed.as_completed(futures)
            try:
                for future in finished:
                    with errors_of(futures[future]):
                        result = _result_of(future, distributed)
                    yield futures[future], result
                    # So that the scheduler need not keep it until the end.
                    future.release()
            finally:
                client.cancel(list(futures))

    @abstractmethod
    def _connected(self, distributed: ModuleType, count: int) -> AbstractContextManager[Any]:
        """A client of the scheduler, for so many items."""


class LocalProcesses(DaskWorkers):
    """Processes on this machine, with one thread each, which end with the iteration.

    A script must keep its own work under ``if __name__ == "__main__":``, because each process imports it.

    Args:
        number: of processes.

    Raises:
        ElectronDynamicsError: no positive number.
    """

    def __init__(self, number: int) -> None:
        self._number = integer_from("number of workers", number, 1)

    @contextmanager
    def _connected(self, distributed: ModuleType, count: int) -> Iterator[Any]:
        with (
            distributed.LocalCluster(
                n_workers=min(self._number, count),
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                # Any free port: another scheduler of this machine may have the usual one.
                dashboard_address="127.0.0.1:0",
                # Integrals that fit in memory must not be taken for a leak.
                memory_limit=None,
                # Errors of a task are raised here, too.
                silence_logs="CRITICAL",
            ) as cluster,
            distributed.Client(cluster, set_as_default=False) as client,
        ):
            yield client


class RunningScheduler(DaskWorkers):
    """The workers of a scheduler that runs already, here or elsewhere.

    They need this package with PySCF, too, and as many threads as each should compute geometries at a time.

    Args:
        address: such as tcp://host:8786.
    """

    def __init__(self, address: str) -> None:
        self._address = address

    @contextmanager
    def _connected(self, distributed: ModuleType, count: int) -> Iterator[Any]:
        try:
            client = distributed.Client(self._address, timeout=_CONNECTION_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ElectronDynamicsError(
                f"no Dask scheduler answers at {self._address} ({error}): start one with 'dask scheduler', or correct "
                "the address, such as tcp://127.0.0.1:8786"
            ) from error
        with client:
            yield client


@contextmanager
def errors_of(number: int) -> Iterator[None]:
    """Errors say which geometry they are of."""
    try:
        yield
    except (ElectronDynamicsError, ConvergenceError, WorkerError) as error:
        raise type(error)(f"geometry {number}: {error}") from error
    except Exception as error:
        error.add_note(f"in geometry {number}")
        raise


def _result_of(future: Any, distributed: ModuleType) -> Any:
    try:
        return future.result()
    except (distributed.scheduler.KilledWorker, distributed.client.FutureCancelledError) as error:
        raise WorkerError(
            f"its process was lost ({type(error).__name__}), most often for want of memory: use fewer workers, or see "
            "the system's log"
        ) from error


def _load_distributed() -> ModuleType:
    try:
        import distributed
    except ImportError as error:
        raise MissingDependencyError(
            f"more than one worker needs Dask, which cannot be imported ({error}): pip install 'openmm-kstep[rttddft]'"
        ) from error
    return distributed
