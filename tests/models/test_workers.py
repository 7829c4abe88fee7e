"""Many items by this process or by others: all of them, by their numbers, with errors that can be named."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import distributed
import pytest

from kstep_models.workers import (
    InProcess,
    LocalProcesses,
    NoDaskError,
    RunningScheduler,
    Workers,
    WorkersError,
)


@pytest.fixture(params=["here", "scheduler"])
def workers(request: pytest.FixtureRequest) -> Iterator[Workers]:
    if request.param == "here":
        yield InProcess()
        return
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp://", dashboard_address=":0"
    ) as cluster:
        yield RunningScheduler(cluster.scheduler_address)


begun: list[int] = []


def inverse(item: int) -> float:
    begun.append(item)
    return 1 / item


@contextmanager
def named(number: int) -> Iterator[None]:
    try:
        yield
    except ZeroDivisionError as error:
        raise ValueError(f"item {number}") from error


def test_results_by_number(workers: Workers) -> None:
    assert dict(workers.results(inverse, {7: 2, 3: 4})) == {7: 0.5, 3: 0.25}
    assert list(workers.results(inverse, {})) == []


def test_how_many_are_under_way_at_a_time(workers: Workers) -> None:
    assert workers.count_at_a_time(0) == 0 and workers.count_at_a_time(1) == 1
    assert workers.count_at_a_time(100) == (2 if isinstance(workers, LocalProcesses) else 1)


def test_errors_are_named(workers: Workers) -> None:
    with pytest.raises(ValueError, match="item 5"):
        list(workers.results(inverse, {5: 0}, named))
    with pytest.raises(ZeroDivisionError):
        list(workers.results(inverse, {5: 0}))


def test_what_is_closed_begins_nothing_more(workers: Workers) -> None:
    begun.clear()
    with closing(workers.results(inverse, dict.fromkeys(range(2000), 1))) as results:
        next(results)
    assert len(begun) < 2000


@pytest.mark.parametrize("number", [0, 1.5, True])
def test_impossible_numbers(number: Any) -> None:
    with pytest.raises(WorkersError, match="number of workers"):
        LocalProcesses(number)


def test_nobody_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WorkersError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        list(RunningScheduler("tcp://127.0.0.1:9", 0.3).results(inverse, {1: 1}))
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(NoDaskError, match=r"openmm-kstep\[dask\]"):
        list(LocalProcesses(2).results(inverse, {1: 1}))
