"""Processes of Dask: own ones on this machine, or those of a scheduler that runs already."""

from __future__ import annotations

import operator
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import ModuleType
from typing import Any

from kstep_models.workers.errors import NoDaskError, ProcessLostError, WorkersError
from kstep_models.workers.interface import ErrorsOf, Item, Result, Workers, as_they_are

CONNECTION_SECONDS = 20.0
"""In which a scheduler must answer."""


class DaskWorkers(Workers):
    """Side by side, in the worker processes of a scheduler of Dask."""

    def results(
        self, task: Callable[[Item], Result], items: Mapping[int, Item], errors_of: ErrorsOf = as_they_are
    ) -> Generator[tuple[int, Result], None, None]:
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
        number: Of processes.

    Raises:
        WorkersError: No positive number.
    """

    def __init__(self, number: int) -> None:
        self._number = _positive(number)

    def count_at_a_time(self, count: int) -> int:
        """See the base class."""
        return min(self._number, count)

    @contextmanager
    def _connected(self, distributed: ModuleType, count: int) -> Iterator[Any]:
        try:
            cluster = distributed.LocalCluster(
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
            )
        except RuntimeError as error:
            raise WorkersError(
                f"processes cannot be started ({error}): a script must keep its own work under "
                "'if __name__ == \"__main__\":', because each of them imports it"
            ) from error
        with cluster, distributed.Client(cluster, set_as_default=False) as client:
            yield client


class RunningScheduler(DaskWorkers):
    """The workers of a scheduler that runs already, here or elsewhere.

    They need whatever the task needs, too, and as many threads as each should have tasks at a time.

    Args:
        address: Such as tcp://host:8786.
        seconds: In which it must answer.
    """

    def __init__(self, address: str, seconds: float = CONNECTION_SECONDS) -> None:
        self._address = address
        self._seconds = seconds

    def count_at_a_time(self, count: int) -> int:
        """See the base class."""
        with self._connected(_load_distributed(), count) as client:
            return min(sum(client.nthreads().values()), count)

    @contextmanager
    def _connected(self, distributed: ModuleType, count: int) -> Iterator[Any]:
        try:
            client = distributed.Client(self._address, timeout=self._seconds, set_as_default=False)
        except (OSError, ValueError) as error:
            raise WorkersError(
                f"no Dask scheduler answers at {self._address} ({error}): start one with 'dask scheduler', or correct "
                "the address, such as tcp://127.0.0.1:8786"
            ) from error
        with client:
            yield client


def _positive(number: Any) -> int:
    try:
        if isinstance(number, bool):
            raise TypeError
        value = operator.index(number)
    except TypeError as error:
        raise WorkersError(f"number of workers must be an integer, got {number!r}") from error
    if value < 1:
        raise WorkersError(f"number of workers must be at least 1, got {value}")
    return value


def _result_of(future: Any, distributed: ModuleType) -> Any:
    try:
        return future.result()
    except (distributed.scheduler.KilledWorker, distributed.client.FutureCancelledError) as error:
        raise ProcessLostError(
            f"its process was lost ({type(error).__name__}), most often for want of memory: use fewer workers, or see "
            "the system's log"
        ) from error


def _load_distributed() -> ModuleType:
    try:
        import distributed
    except ImportError as error:
        raise NoDaskError(
            f"other processes need Dask, which cannot be imported ({error}): pip install 'openmm-kstep[dask]'"
        ) from error
    return distributed
