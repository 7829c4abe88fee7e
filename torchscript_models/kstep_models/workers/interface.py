"""What all workers have in common, and those that are none: this process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

ErrorsOf = Callable[[int], AbstractContextManager[None]]
"""Surrounds what is done for the item of a number, so that its errors can say which it was."""


def as_they_are(number: int) -> AbstractContextManager[None]:
    """Errors that are left alone."""
    return nullcontext()


class Workers(ABC):
    """Applies a function to many items."""

    @abstractmethod
    def count_at_a_time(self, count: int) -> int:
        """How many of so many items may be under way at a time.

        Raises:
            WorkersError: A scheduler does not answer.
            NoDaskError: Dask is not installed.
        """

    @abstractmethod
    def results(
        self, task: Callable[[Item], Result], items: Mapping[int, Item], errors_of: ErrorsOf = as_they_are
    ) -> Generator[tuple[int, Result], None, None]:
        """The number and the result of each item, as they are done.

        The first error ends the iteration; items that were not begun are never begun, nor after the iteration is
        closed.

        Args:
            task: A function of a module, and with it whatever Dask can send to other processes.
            items: Number of the item -> what the task is given.
            errors_of: Surrounds the computation of an item, errors of the task and lost processes included.

        Raises:
            WorkersError: A scheduler does not answer, or processes cannot be started.
            NoDaskError: Dask is not installed.
            ProcessLostError: Processes were lost, again and again.
            Exception: Whatever the task raises.
        """


class InProcess(Workers):
    """One after the other, in this process."""

    def count_at_a_time(self, count: int) -> int:
        """See the base class."""
        return min(1, count)

    def results(
        self, task: Callable[[Item], Result], items: Mapping[int, Item], errors_of: ErrorsOf = as_they_are
    ) -> Generator[tuple[int, Result], None, None]:
        """See the base class."""
        for number, item in items.items():
            with errors_of(number):
                result = task(item)
            yield number, result
