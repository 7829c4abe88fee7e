"""Progress in a terminal and in a log file."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from openmmkstep import terminal
from openmmkstep.terminal import CountedProgress, LogLines


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(terminal, "time", made)
    return made


def test_lines_of_a_log_file(clock: Clock) -> None:
    output = io.StringIO()
    with CountedProgress("frames", 10, Console(file=output, width=20), done=2, log_seconds=20) as progress:
        progress.update(2)
        for done in range(3, 11):
            clock.now += 15
            progress.update(done)
    assert output.getvalue().splitlines() == [
        "frames: 2 of 10, 0 s",
        "frames: 4 of 10, 30 s, about 90 s left",
        "frames: 6 of 10, 60 s, about 60 s left",
        "frames: 8 of 10, 90 s, about 30 s left",
        # The last one comes whenever it is.
        "frames: 10 of 10, 2 min",
    ]


def test_total_and_label_that_come_later(clock: Clock) -> None:
    output = io.StringIO()
    with CountedProgress("starting", None, Console(file=output, width=80), log_seconds=0) as progress:
        progress.update(40, 50, "a [b]")
        clock.now += 6000
        progress.update(45, 50, "c")
    assert output.getvalue().splitlines() == ["a [b]: 40 of 50, 0 s", "c: 45 of 50, 1 h 40 min, about 1 h 40 min left"]


def test_bar_of_a_terminal() -> None:
    output = io.StringIO()
    console = Console(file=output, width=100, force_terminal=True)
    with CountedProgress("frames", 4, console) as progress:
        progress.update(2)
        progress.update(4, label="done")
    assert "4/4" in output.getvalue() and "done" in output.getvalue()
    assert "of 4" not in output.getvalue()


def test_no_more_lines_than_wanted(clock: Clock) -> None:
    output = io.StringIO()
    lines = LogLines(Console(file=output), 5.0)
    for number in range(12):
        lines.log(str(number), always=number == 8)
        clock.now += 1.0
    assert output.getvalue().split() == ["0", "5", "8"]
