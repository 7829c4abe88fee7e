"""How far a long job is: a bar that is redrawn in a terminal, a plain line every so often in a log file."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LOG_SECONDS = 20.0


class LogLines:
    """Prints at most one line in so many seconds.

    Args:
        console: where to.
        seconds: between lines.
    """

    def __init__(self, console: Console, seconds: float = LOG_SECONDS) -> None:
        self._console = console
        self._seconds = seconds
        self._last: float | None = None

    def log(self, line: str, always: bool = False) -> None:
        """Print a line, unless the last one was printed just now; ``always`` prints it nevertheless."""
        now = time.perf_counter()
        if always or self._last is None or now - self._last >= self._seconds:
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)
            self._last = now


class CountedProgress:
    """Progress of a job that consists of a known number of pieces; a context manager.

    Args:
        label: what is counted.
        total: number of pieces; None if the first update will tell it.
        console: where to show it.
        done: pieces that were there before the job began; without a total, those of the first update.
        label_width: characters of a terminal line that the label takes at least, so that the bar stays where it is.
        log_seconds: between lines where there is no terminal; the first and the last piece have theirs in any case.
    """

    def __init__(
        self,
        label: str,
        total: int | None,
        console: Console,
        done: int = 0,
        label_width: int = 0,
        log_seconds: float = LOG_SECONDS,
    ) -> None:
        self._label = label
        self._total = total
        self._first = self._done = done
        self._start = time.perf_counter()
        self._lines = LogLines(console, log_seconds)
        self._bar: Progress | None = None
        if console.is_terminal:
            columns = (
                TextColumn(f"{{task.description:<{label_width}}}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=console, refresh_per_second=2)
            self._task = self._bar.add_task(label, total=total, completed=done)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, done: int, total: int | None = None, label: str | None = None) -> None:
        """Show that so many pieces are there; the total and the label stay if they are not given."""
        if self._total is None:
            self._first = done
        finished = self._total is not None and done == self._total and done > self._done
        self._done = done
        self._total = self._total if total is None else total
        self._label = self._label if label is None else label
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=self._total, description=self._label)
        else:
            self._lines.log(self._line(), always=finished)

    def _line(self) -> str:
        elapsed = time.perf_counter() - self._start
        count = f"{self._done}" if self._total is None else f"{self._done} of {self._total}"
        parts = [f"{self._label}: {count}", _duration(elapsed)]
        new = self._done - self._first
        if self._total is not None and new > 0 and self._done < self._total:
            parts.append(f"about {_duration(elapsed / new * (self._total - self._done))} left")
        return ", ".join(parts)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
